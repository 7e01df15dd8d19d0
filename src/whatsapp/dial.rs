//! One attempt to reach the server: name, TCP, TLS, WebSocket upgrade; each stage says by itself why it failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::connection::DownReason;
use holdfast_core::proxy::Proxy;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::ORIGIN;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};
use url::{Host, Url};
use wacore::net::WHATSAPP_WEB_ORIGIN;

use super::proxy::{self, Target};
use super::settings::LinkSettings;

/// The library eagerly reserves what it is told; 4 KiB holds any ordinary stanza, and a larger one grows the buffer for its time.
const BUFFER: usize = 4 * 1024;

/// A Noise frame has a 24-bit length; one message holds at least one of the largest.
const MAX_MESSAGE: usize = 17 * 1024 * 1024;

/// How much may wait to be written before a write fails.
const MAX_UNSENT: usize = 2 * MAX_MESSAGE;

/// The library gives a dial 20 seconds and then forgets it; ours ends before that, so that the reason is known.
const LONGEST: Duration = Duration::from_secs(19);

/// The machine gives up on a dial after the whole time; ours ends before that too.
const SHARE: f64 = 0.9;

pub(super) const LOOPBACK_ONLY: &str =
    "this build has the feature `simulator` and therefore dials loopback addresses only";
const ENCRYPTED_ONLY: &str = "an unencrypted ws:// address has to be a loopback address";

pub(super) type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct DialError {
    pub(super) why: DownReason,
    what: String,
}

impl DialError {
    pub(super) fn new(why: DownReason, what: impl Into<String>) -> Self {
        Self { why, what: what.into() }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is no WebSocket address.
    #[error("the WebSocket address {0:?} is not valid: {1}")]
    Url(String, String),
    /// An extra root certificate is none.
    #[error("an extra root certificate cannot be used: {0}")]
    Root(String),
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Opens sockets to one address.
pub(super) struct Dialler {
    url: Url,
    tls: Arc<ClientConfig>,
    within: Duration,
}

impl Dialler {
    pub(super) fn new(settings: &LinkSettings) -> Result<Self, SettingsError> {
        let url =
            Url::parse(&settings.url).map_err(|error| SettingsError::Url(settings.url.clone(), error.to_string()))?;
        if !matches!(url.scheme(), "ws" | "wss") || url.host().is_none() {
            return Err(SettingsError::Url(
                settings.url.clone(),
                "it has to begin with ws:// or wss:// and name a host".to_owned(),
            ));
        }
        // A name is judged when it is resolved, an address already here.
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(SocketAddr::from((ip, 0))),
            Some(Host::Ipv6(ip)) => Some(SocketAddr::from((ip, 0))),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = literal {
            permitted(url.scheme(), &[address])
                .map_err(|error| SettingsError::Url(settings.url.clone(), error.to_string()))?;
        }
        let elsewhere = matches!(url.host(), Some(Host::Domain(name)) if name != "localhost");
        if cfg!(feature = "simulator") && elsewhere {
            return Err(SettingsError::Url(
                settings.url.clone(),
                format!("{LOOPBACK_ONLY}; set WHATSAPP_WEBSOCKET_URL to the simulator's address"),
            ));
        }
        let tls = Arc::new(tls_config(&settings.extra_roots)?);
        Ok(Self { url, tls, within: LONGEST.min(settings.connect_timeout.mul_f64(SHARE)) })
    }

    pub(super) fn tls(&self) -> ClientConfig {
        ClientConfig::clone(&self.tls)
    }

    /// Connects, through the proxy if there is one, within the time that the settings allow for all stages together.
    pub(super) async fn open(&self, proxy: Option<&Proxy>) -> Result<WebSocket, DialError> {
        self.open_within(proxy, self.within).await
    }

    /// Connects within a time of the caller's.
    #[expect(clippy::disallowed_methods, reason = "a deadline of this process, which no decision depends on")]
    pub(super) async fn open_within(&self, proxy: Option<&Proxy>, within: Duration) -> Result<WebSocket, DialError> {
        let until = Instant::now() + within;
        let late = |why: DownReason, stage: &str| DialError::new(why, format!("{stage} took too long"));

        let tcp = match proxy {
            Some(proxy) => proxy::tunnel(proxy, self.target()?, until).await?,
            None => self.directly(until).await?,
        };
        // The frames are small and each waits for an answer.
        let _ = tcp.set_nodelay(true);
        let stream = timeout_at(until, self.secure(tcp))
            .await
            .map_err(|_elapsed| late(DownReason::Tls, "the TLS handshake"))??;
        timeout_at(until, self.upgrade(stream))
            .await
            .map_err(|_elapsed| late(DownReason::Unreachable, "the WebSocket upgrade"))?
    }

    /// Returns what a proxy is asked for. The name is not resolved here.
    fn target(&self) -> Result<Target<'_>, DialError> {
        if (cfg!(feature = "simulator") || self.url.scheme() == "ws") && !is_literal_loopback(&self.url) {
            let why = if cfg!(feature = "simulator") { LOOPBACK_ONLY } else { ENCRYPTED_ONLY };
            return Err(DialError::new(DownReason::Unreachable, why));
        }
        let host = self.url.host_str().unwrap_or_default();
        Ok(Target { host, port: self.url.port_or_known_default().unwrap_or(443) })
    }

    async fn directly(&self, until: Instant) -> Result<TcpStream, DialError> {
        let late = |why: DownReason, stage: &str| DialError::new(why, format!("{stage} took too long"));
        let addresses = timeout_at(until, self.resolve())
            .await
            .map_err(|_elapsed| late(DownReason::Dns, "resolving the name"))??;
        let reached = timeout_at(until, connect(&addresses)).await;
        reached
            .map_err(|_elapsed| late(DownReason::Unreachable, "the connection"))?
            .map_err(|error| DialError::new(DownReason::Unreachable, format!("no connection: {error}")))
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let port = self.url.port_or_known_default().unwrap_or(443);
        let addresses: Vec<SocketAddr> = match self.url.host() {
            Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
            Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
            Some(Host::Domain(name)) => {
                let found = lookup_host((name, port)).await;
                found
                    .map_err(|error| DialError::new(DownReason::Dns, format!("{name} cannot be resolved: {error}")))?
                    .collect()
            }
            None => Vec::new(),
        };
        if addresses.is_empty() {
            return Err(DialError::new(DownReason::Dns, "the name has no address"));
        }
        permitted(self.url.scheme(), &addresses)?;
        Ok(addresses)
    }

    async fn secure(&self, tcp: TcpStream) -> Result<MaybeTlsStream<TcpStream>, DialError> {
        if self.url.scheme() == "ws" {
            return Ok(MaybeTlsStream::Plain(tcp));
        }
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| DialError::new(DownReason::Tls, error.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, tcp).await;
        stream
            .map(MaybeTlsStream::Rustls)
            .map_err(|error| DialError::new(DownReason::Tls, format!("TLS failed: {error}")))
    }

    async fn upgrade(&self, stream: MaybeTlsStream<TcpStream>) -> Result<WebSocket, DialError> {
        let refused = |error: WsError| {
            if let WsError::Http(response) = error {
                let status = response.status().as_u16();
                return DialError::new(
                    DownReason::UpgradeRefused { status },
                    format!("the WebSocket upgrade was answered with {status}"),
                );
            }
            DialError::new(DownReason::Unreachable, format!("the WebSocket upgrade failed: {error}"))
        };
        let mut request = self.url.as_str().into_client_request().map_err(refused)?;
        request.headers_mut().insert(ORIGIN, HeaderValue::from_static(WHATSAPP_WEB_ORIGIN));
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let (socket, _) = Box::pin(client_async_with_config(request, stream, Some(config))).await.map_err(refused)?;
        Ok(socket)
    }
}

/// Connects to the first of these addresses that answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)))
}

/// Tells whether it is on this host, as far as that is known without asking anybody.
pub(super) fn is_literal_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Refuses addresses that this build may not dial.
///
/// A build that trusts the simulator does not check WhatsApp's certificate chain, so it must never meet anything but the simulator.
/// Unencrypted WebSockets are for loopback in every build.
fn permitted(scheme: &str, addresses: &[SocketAddr]) -> Result<(), DialError> {
    let loopback = addresses.iter().all(|address| address.ip().is_loopback());
    if cfg!(feature = "simulator") && !loopback {
        return Err(DialError::new(DownReason::Unreachable, LOOPBACK_ONLY));
    }
    if scheme == "ws" && !loopback {
        return Err(DialError::new(DownReason::Unreachable, ENCRYPTED_ONLY));
    }
    Ok(())
}

fn tls_config(extra_roots: &[Vec<u8>]) -> Result<ClientConfig, SettingsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra_roots {
        roots.add(CertificateDer::from(root.clone())).map_err(|error| SettingsError::Root(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Tls(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Tells whether this build may fetch something over HTTP from there. What a proxy fetches is not resolved here.
pub(super) async fn may_fetch(url: &Url, proxy: Option<&Proxy>) -> bool {
    if !cfg!(feature = "simulator") {
        return true;
    }
    if let Some(proxy) = proxy {
        return is_literal_loopback(url) && proxy::addresses(proxy).await.is_ok();
    }
    match url.host() {
        Some(Host::Domain(name)) => {
            let port = url.port_or_known_default().unwrap_or(443);
            lookup_host((name, port)).await.is_ok_and(|mut found| found.all(|address| address.ip().is_loopback()))
        }
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => is_literal_loopback(url),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn to(url: String) -> Dialler {
        Dialler::new(&LinkSettings { url, connect_timeout: Duration::from_millis(500), ..LinkSettings::default() })
            .unwrap()
    }

    #[test]
    fn an_address_has_to_be_a_websocket_address() {
        for url in ["", "http://127.0.0.1/", "127.0.0.1:80", "wss://"] {
            assert!(Dialler::new(&LinkSettings { url: url.to_owned(), ..LinkSettings::default() }).is_err(), "{url}");
        }
        assert!(Dialler::new(&LinkSettings { url: "ws://192.0.2.1/".to_owned(), ..LinkSettings::default() }).is_err());
        assert_eq!(Dialler::new(&LinkSettings::default()).is_ok(), !cfg!(feature = "simulator"));
    }

    #[test]
    fn unencrypted_addresses_are_loopback_only() {
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let there: SocketAddr = "192.0.2.1:1".parse().unwrap();
        assert!(permitted("ws", &[here]).is_ok());
        assert!(permitted("ws", &[here, there]).is_err());
        assert_eq!(permitted("wss", &[there]).is_ok(), !cfg!(feature = "simulator"));
    }

    /// Names below `invalid` belong to nobody (RFC 2606). A dialler of this build is not made for a name of another host, so it is put together here.
    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_is_a_failure_of_dns() {
        let url = Url::parse("wss://no-such-host.invalid/ws/chat").unwrap();
        let tls = Arc::new(tls_config(&[]).unwrap());
        let unknown = Dialler { url, tls, within: Duration::from_secs(5) }.open(None).await.unwrap_err();
        assert_eq!(unknown.why, DownReason::Dns, "{unknown}");
        assert_eq!((unknown.why.code(), unknown.why.status_reason()), ("net-dns", 408));
    }

    #[tokio::test]
    async fn each_stage_names_its_own_failure() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(to(format!("ws://{free}")).open(None).await.unwrap_err().why, DownReason::Unreachable);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            // The first answers with a status, the second with something that is no TLS, the third not at all.
            let (mut first, _) = listener.accept().await.unwrap();
            let _ = first.read(&mut [0; 1024]).await;
            first.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let (mut second, _) = listener.accept().await.unwrap();
            let _ = second.read(&mut [0; 1024]).await;
            second.write_all(b"this is no TLS at all").await.unwrap();
            drop(second);
            listener.accept().await.unwrap()
        });
        assert_eq!(
            to(format!("ws://{address}")).open(None).await.unwrap_err().why,
            DownReason::UpgradeRefused { status: 403 }
        );
        assert_eq!(to(format!("wss://{address}")).open(None).await.unwrap_err().why, DownReason::Tls);
        assert_eq!(to(format!("ws://{address}")).open(None).await.unwrap_err().why, DownReason::Unreachable);
        server.abort();
    }
}
