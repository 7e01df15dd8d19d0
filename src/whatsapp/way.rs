//! The way that everything of an instance takes: WebSocket, media and the look-up of the version alike.

use holdfast_core::proxy::Proxy;
use holdfast_core::time::Timestamp;
use rustls::ClientConfig;
use tokio::sync::Mutex;

use super::http::Http;

/// Directly, or through a proxy.
pub(super) struct Way {
    proxy: Option<Proxy>,
    http: Http,
    /// When the version was last looked up on this way; whoever looks it up holds it.
    pub(super) asked: Mutex<Option<Timestamp>>,
}

impl Way {
    pub(super) fn new(tls: ClientConfig, proxy: Option<Proxy>) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(tls, proxy.as_ref())?, proxy, asked: Mutex::default() })
    }

    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }
}
