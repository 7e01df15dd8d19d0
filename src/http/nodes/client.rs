//! The HTTP client with which one node speaks to another.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Url};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;
use url::Position;

/// How long a sent byte may stay unacknowledged, and how often a silent connection is probed: a host that is gone sends no reset.
const HOST_GONE: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Much shorter than an owner keeps an idle connection: what is sent into a closing one may or may not have been carried out.
const IDLE_FOR: Duration = Duration::from_secs(15);

/// Reaches the other nodes. It uses no proxy of the environment, follows no redirect, and trusts the public certificate authorities.
#[derive(Clone)]
pub struct Neighbours {
    client: Client,
    /// Connections outlive the request, and so do not belong to the worker that serves it.
    runtime: Handle,
}

/// Why the other nodes cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// TLS cannot be set up.
    #[error("TLS for other nodes cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("the HTTP client for other nodes cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no connection: nothing was sent.
    Unreachable,
    /// The request was sent, or may have been, and no whole answer came.
    Interrupted,
}

/// What another node has answered.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Bytes,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) url: Url,
    /// Path and query as they arrive: a prefix in the node's address is for whatever stands before it.
    pub(super) arrives: String,
}

impl Neighbours {
    /// Makes the client; a connection has to stand within `connect_within`.
    ///
    /// # Errors
    /// If TLS or the client cannot be set up.
    pub fn new(connect_within: Duration, runtime: Handle) -> Result<Self, NoClient> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls().map_err(NoClient::Tls)?)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(connect_within)
            .pool_idle_timeout(IDLE_FOR)
            .tcp_keepalive(PROBE_EVERY)
            .tcp_keepalive_interval(PROBE_EVERY)
            .tcp_user_timeout(HOST_GONE)
            .build()
            .map_err(NoClient::Client)?;
        Ok(Self { client, runtime })
    }

    /// Sends a request and reads an answer of up to `most` bytes. Dropping the future gives the request up.
    pub(super) async fn send(&self, request: Request, within: Duration, most: usize) -> Result<Answered, Failure> {
        let client = self.client.clone();
        let exchange = async move {
            match timeout(within, exchange(&client, request, most)).await {
                Ok(answered) => answered,
                Err(_elapsed) => Err(Failure::Interrupted),
            }
        };
        AbortOnDropHandle::new(self.runtime.spawn(exchange)).await.unwrap_or(Err(Failure::Interrupted))
    }
}

async fn exchange(client: &Client, request: Request, most: usize) -> Result<Answered, Failure> {
    let mut response = client.execute(request).await.map_err(failure)?;
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > most {
            debug!("A node has answered with more than {most} bytes");
            return Err(Failure::Interrupted);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, headers, body: body.freeze() })
}

fn failure(error: reqwest::Error) -> Failure {
    debug!(error = &error as &dyn std::error::Error, "A node could not be asked");
    if error.is_connect() || error.is_builder() { Failure::Unreachable } else { Failure::Interrupted }
}

/// Returns where a path and its query are at the node with this address; `None` if it cannot be asked for it there.
pub(super) fn address(node: &str, path_and_query: &str) -> Option<Address> {
    let base = Url::parse(node).ok()?;
    let plain = base.username().is_empty() && base.password().is_none() && base.query().is_none();
    if !matches!(base.scheme(), "http" | "https") || !plain {
        return None;
    }
    let prefix = base.path().trim_end_matches('/');
    let url = Url::parse(&format!("{}{prefix}{path_and_query}", &base[..Position::BeforePath])).ok()?;
    let arrives = url[Position::BeforePath..Position::AfterQuery].strip_prefix(prefix)?.to_owned();
    // A URL has no segments `.` and `..`, however they are written: an instance of such a name would turn into another path.
    let path = |text: &str| decoded(text.split('?').next().unwrap_or_default());
    (path(&arrives) == path(path_and_query)).then_some(Address { url, arrives })
}

fn decoded(text: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(hex.unwrap_or(byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    decoded
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Named here, so that nothing depends on a provider installed for the whole process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::address;

    fn at(node: &str, path: &str) -> Option<(String, String)> {
        address(node, path).map(|address| (address.url.to_string(), address.arrives))
    }

    #[test]
    fn a_path_is_the_same_path_at_another_node() {
        for (node, path, url, arrives) in [
            ("http://b:8080", "/x/shop?y=1", "http://b:8080/x/shop?y=1", "/x/shop?y=1"),
            ("http://b:8080/", "/x/shop", "http://b:8080/x/shop", "/x/shop"),
            ("https://host/b/", "/x/shop", "https://host/b/x/shop", "/x/shop"),
            ("http://b", "/x/a%2Fb%3Fc%23", "http://b/x/a%2Fb%3Fc%23", "/x/a%2Fb%3Fc%23"),
            ("http://b", "/x/%C3%A9//", "http://b/x/%C3%A9//", "/x/%C3%A9//"),
            ("http://b", "/x/..%2F..%2Fengine", "http://b/x/..%2F..%2Fengine", "/x/..%2F..%2Fengine"),
            ("http://b", "/x/a\"b", "http://b/x/a%22b", "/x/a%22b"),
            ("http://b", "/x/y?q=../..", "http://b/x/y?q=../..", "/x/y?q=../.."),
        ] {
            assert_eq!(at(node, path), Some((url.to_owned(), arrives.to_owned())), "{node} {path}");
        }
    }

    #[test]
    fn what_would_become_another_path_or_another_host_goes_nowhere() {
        for (node, path) in [
            ("http://b", "/x/.."),
            ("http://b", "/x/%2e%2E"),
            ("http://b", "/x/."),
            ("http://b", "/x/%2e/"),
            ("http://b", "/x\\y"),
            ("ftp://b", "/x"),
            ("b:8080", "/x"),
            ("http://user:pw@b", "/x"),
            ("http://b?x=", "/x"),
            ("", "/x"),
        ] {
            assert_eq!(at(node, path), None, "{node} {path}");
        }
    }
}
