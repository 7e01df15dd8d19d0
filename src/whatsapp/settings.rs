//! What a link needs to be told, the same for every instance.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::proxy::Proxy;

use crate::ports::tenure::Tenure;

/// The settings of the driver.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// Where to dial; WhatsApp's own address unless set.
    pub url: String,
    /// Certificates in DER form that are trusted besides the usual roots.
    pub extra_roots: Vec<Vec<u8>>,
    /// The client version to claim; looked up when unset.
    pub version: Option<(u32, u32, u32)>,
    /// The proxy of instances that have none of their own.
    pub proxy: Option<Proxy>,
    /// The device's name on the phone.
    pub client_name: String,
    /// The browser that the device claims to be.
    pub browser: String,
    /// Socket to upgraded connection.
    pub connect_timeout: Duration,
    /// How long WhatsApp's acknowledgement of a message is waited for.
    pub ack_within: Duration,
    /// How long a store operation may fail or hang before the link is sealed.
    pub store_grace: Duration,
    /// Until when the process may act for its instances.
    pub tenure: Arc<Tenure>,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            url: wacore::net::WHATSAPP_WEB_WS_URL.to_owned(),
            extra_roots: Vec::new(),
            version: None,
            proxy: None,
            client_name: "Evolution API".to_owned(),
            browser: "Chrome".to_owned(),
            connect_timeout: Duration::from_secs(20),
            ack_within: Duration::from_secs(30),
            store_grace: Duration::from_secs(5),
            tenure: Arc::new(Tenure::forever()),
        }
    }
}
