//! whatsapp-rust by itself, mostly with its store in memory: a second opinion on the simulator, and what the engine is measured against.

mod fetcher;
mod socket;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, StreamExt as _};
use holdfast_sim::keys::SignedKey;
use holdfast_sim::{AdoptDevice, AdoptRequest, Adopted, ScanRequest, Simulator};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::Connector;
use wacore::iq::keepalive::KeepaliveSpec;
use wacore::store::InMemoryBackend;
use wacore::store::commands::DeviceCommand;
use wacore::store::traits::Backend;
use wacore::types::events::{ChannelEventHandler, Event, Subscription};
use waproto::buffa::Message as _;
use waproto::whatsapp::ADVSignedDeviceIdentity;
use whatsapp_rust::async_channel::Receiver;
use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::{Client, IqError, TokioRuntime};

use self::fetcher::Fetcher;
use self::socket::Sockets;
use super::eventually::PATIENCE;

/// Any version does, as long as nobody is asked for it.
const VERSION: (u32, u32, u32) = (2, 3000, 1029);

/// One client with its credentials. It dials when told to; dropping it leaves the connection without a goodbye.
pub(crate) struct BareClient {
    client: Arc<Client>,
    store: Arc<dyn Backend>,
    sockets: Arc<Sockets>,
    events: Receiver<Arc<Event>>,
    run: Mutex<Option<JoinHandle<()>>>,
    _subscription: Subscription,
}

impl BareClient {
    /// Makes a client that has no account yet, for the server at this address.
    pub(crate) async fn new(url: &str) -> Result<Self> {
        Self::stored(url, Arc::new(InMemoryBackend::default())).await
    }

    /// Makes a client of what is in this store.
    pub(crate) async fn stored(url: &str, store: Arc<dyn Backend>) -> Result<Self> {
        Self::over(store, Sockets::new(url, None), Fetcher::none()).await
    }

    /// The same over TLS, to servers that this certificate (PEM) speaks for.
    pub(crate) async fn trusting(url: &str, certificate: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = Connector::Rustls(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
        let store = Arc::new(InMemoryBackend::default());
        Self::over(store, Sockets::new(url, Some(tls)), Fetcher::trusting(certificate)?).await
    }

    /// Makes a client over what this one has stored, as after a restart. It has not dialled yet.
    pub(crate) async fn anew(&self, url: &str) -> Result<Self> {
        self.flush().await?;
        Self::stored(url, Arc::clone(&self.store)).await
    }

    /// Writes what it holds of its device.
    pub(crate) async fn flush(&self) -> Result<()> {
        Ok(self.client.persistence_manager().flush().await?)
    }

    async fn over(store: Arc<dyn Backend>, sockets: Sockets, fetcher: Fetcher) -> Result<Self> {
        let sockets = Arc::new(sockets);
        let saved = PersistenceManager::new(Arc::clone(&store)).await?;
        let build = Client::builder()
            .with_runtime(TokioRuntime)
            .with_persistence_manager(Arc::new(saved))
            .with_transport_factory_arc(Arc::clone(&sockets) as _)
            .with_http_client(fetcher)
            .with_version_override(VERSION)
            .with_skip_history_sync(true)
            .build();
        let client = Box::pin(build).await?.into_client();
        let (handler, events) = ChannelEventHandler::new();
        let subscription = client.subscribe_handler(handler);
        client.enable_auto_reconnect.store(false, Ordering::Relaxed);
        Ok(Self { client, store, sockets, events, run: Mutex::default(), _subscription: subscription })
    }

    /// Makes a client and links it to this phone. It is connected.
    pub(crate) async fn pair(sim: &Simulator, phone: &str) -> Result<Self> {
        let bare = Self::new(sim.ws_url()).await?;
        bare.linked(sim, phone).await?;
        Ok(bare)
    }

    /// Makes a client that a phone links from its public keys alone. It has not dialled yet.
    pub(crate) async fn adopted(sim: &Simulator, phone: &str) -> Result<Self> {
        let bare = Self::new(sim.ws_url()).await?;
        let adopted = sim.adopt(AdoptRequest { devices: vec![bare.public(phone)?] }).await?.devices;
        bare.adopt(adopted.into_iter().next().context("nothing was adopted")?).await?;
        Ok(bare)
    }

    /// What a server is told that links it from its public keys alone, to this phone.
    pub(crate) fn public(&self, phone: &str) -> Result<AdoptDevice> {
        let saved = self.client.persistence_manager();
        let device = saved.get_device_snapshot();
        Ok(AdoptDevice {
            phone: Some(phone.to_owned()),
            noise_pub: device.noise_key.public_key.public_key_bytes().try_into()?,
            identity_pub: device.identity_key.public_key.public_key_bytes().try_into()?,
            registration_id: device.registration_id,
            skey: SignedKey {
                id: device.signed_pre_key_id,
                value: device.signed_pre_key.public_key.public_key_bytes().try_into()?,
                signature: device.signed_pre_key_signature.to_vec(),
            },
            pre_keys: Vec::new(),
        })
    }

    /// Takes in that it was linked.
    pub(crate) async fn adopt(&self, adopted: Adopted) -> Result<()> {
        let saved = self.client.persistence_manager();
        let account = ADVSignedDeviceIdentity::decode_from_slice(&STANDARD.decode(&adopted.account)?)?;
        for command in [
            DeviceCommand::SetId(Some(adopted.jid.parse()?)),
            DeviceCommand::SetLid(Some(adopted.lid.parse()?)),
            DeviceCommand::SetAccount(Some(account)),
        ] {
            saved.process_command(command).await;
        }
        Ok(())
    }

    /// Links itself to this phone. It is connected.
    pub(crate) async fn linked(&self, sim: &Simulator, phone: &str) -> Result<()> {
        // The server ends the connection after a pairing. What the client does about that can reach its next connection, and end
        // that one too: its own loop bears it.
        self.reconnects(true);
        self.dial();
        self.scanned(sim, phone).await?;
        self.connected().await?;
        while self.ping(PATIENCE).await.is_err() {
            self.connected().await?;
        }
        self.reconnects(false);
        Ok(())
    }

    /// Shows its QR code to this phone.
    pub(crate) async fn scanned(&self, sim: &Simulator, phone: &str) -> Result<()> {
        let qr = self.next("a QR code", as_qr).await?;
        sim.scan(&ScanRequest { qr, phone: Some(phone.to_owned()), ..ScanRequest::default() }).await?;
        Ok(())
    }

    /// Asks for the code that a person types on this phone.
    pub(crate) async fn code(&self, phone: &str) -> Result<String> {
        // It can ask once it could show a QR code.
        self.next("a QR code", as_qr).await?;
        let options = PairCodeOptions { phone_number: phone.to_owned(), ..PairCodeOptions::default() };
        Ok(Box::pin(self.client.pair_with_code(options)).await?)
    }

    /// Lets the client's own loop come back after a loss, or not.
    pub(crate) fn reconnects(&self, itself: bool) {
        self.client.enable_auto_reconnect.store(itself, Ordering::Relaxed);
    }

    /// Dials; the client's loop runs until the connection ends, or longer if it reconnects itself.
    pub(crate) fn dial(&self) {
        let client = Arc::clone(&self.client);
        let run = tokio::spawn(async move { Box::pin(client.run()).await });
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }

    /// Waits until the client's loop has ended.
    pub(crate) async fn ended(&self) -> Result<()> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        let run = run.context("nothing was dialled")?;
        Ok(timeout(PATIENCE, run).await.context("the client goes on")??)
    }

    /// Whether the client's loop has ended, or nothing was dialled.
    pub(crate) fn has_ended(&self) -> bool {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the connection, or the attempt, from this side, whatever the server does.
    pub(crate) fn cut(&self) {
        self.sockets.cut();
    }

    /// Waits until it is connected and has all that was waiting.
    pub(crate) async fn connected(&self) -> Result<()> {
        self.next("a connection", |event| matches!(event, Event::Connected(_)).then_some(())).await
    }

    /// The first event from now on of which `look` makes something. What comes before it is forgotten.
    pub(crate) async fn next<T>(&self, what: &str, look: impl Fn(&Event) -> Option<T>) -> Result<T> {
        let mut events = self.events();
        let found = async {
            loop {
                if let Some(found) = look(&*events.next().await.context("the client is gone")?) {
                    return Ok(found);
                }
            }
        };
        timeout(PATIENCE, found).await.with_context(|| format!("waited in vain for {what}"))?
    }

    /// What the client tells, from the first event on that was not taken yet. Each event is given to one reader.
    pub(crate) fn events(&self) -> impl Stream<Item = Arc<Event>> + Unpin + use<> {
        Box::pin(self.events.clone())
    }

    /// Asks the server for a sign of life.
    pub(crate) async fn ping(&self, within: Duration) -> Result<(), IqError> {
        self.client.execute(KeepaliveSpec::with_timeout(within)).await
    }

    /// Everything else that the client can do.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for BareClient {
    fn drop(&mut self) {
        self.client.enable_auto_reconnect.store(false, Ordering::Relaxed);
        self.client.signal_shutdown_sync();
        self.sockets.cut();
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "one event of many")]
fn as_qr(event: &Event) -> Option<String> {
    match event {
        Event::PairingQrCode(shown) => Some(shown.code.clone()),
        _ => None,
    }
}
