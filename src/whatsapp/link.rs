//! The driver: one client per actor incarnation, one `run()` per dial, one `LinkDown` per dial.

mod conduct;
mod driver;
mod holder;
mod running;
mod sending;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::conduct::Presence;
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_core::id::LinkId;
use holdfast_core::proxy::Proxy;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{info, warn};

use self::driver::Driver;
use super::dial::{Dialler, SettingsError};
use super::settings::LinkSettings;
use super::version::Versions;
use super::way::Way;
use crate::ports::clock::Clock;
use crate::ports::link::{Link, LinkSpec, Links, OutgoingText, Report, SealReason, SendError, SentMessage};
use crate::ports::proxies::{Proxies, TryOutError};
use crate::ports::store::Store;

/// How long a proxy may take to reach WhatsApp when it is tried.
const TRY_WITHIN: Duration = Duration::from_secs(10);

/// How long hanging up after a try may take.
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);

/// How many proxies are tried at once: whoever has a token can ask for it.
const TRIES_AT_ONCE: usize = 8;

/// What all drivers share.
struct Shared {
    settings: LinkSettings,
    store: Arc<dyn Store>,
    handle: Handle,
    clock: Clock,
    dialler: Arc<Dialler>,
    /// The way of instances without a proxy of their own.
    way: Arc<Way>,
    versions: Versions,
}

/// Makes the drivers; one for the whole service.
pub struct WhatsApp {
    shared: Arc<Shared>,
    tries: Arc<Semaphore>,
}

impl WhatsApp {
    /// Checks the settings and sets up what all links share. Everything runs on `handle`, a multi-thread runtime.
    pub fn new(
        settings: LinkSettings,
        store: Arc<dyn Store>,
        handle: Handle,
        clock: Clock,
    ) -> Result<Self, SettingsError> {
        let dialler = Arc::new(Dialler::new(&settings)?);
        let way = Way::new(dialler.tls(), settings.proxy.clone());
        let way = Arc::new(way.map_err(|error| SettingsError::Tls(error.to_string()))?);
        let versions = Versions::new(settings.version, clock);
        let shared = Shared { settings, store, handle, clock, dialler, way, versions };
        Ok(Self { shared: Arc::new(shared), tries: Arc::new(Semaphore::new(TRIES_AT_ONCE)) })
    }
}

impl Links for WhatsApp {
    fn make(&self, spec: LinkSpec, reports: mpsc::Sender<Report>) -> Arc<dyn Link> {
        Arc::new(Handset(Driver::start(Arc::clone(&self.shared), spec, reports)))
    }
}

#[async_trait]
impl Proxies for WhatsApp {
    async fn try_out(&self, proxy: Proxy) -> Result<(), TryOutError> {
        let turn = Arc::clone(&self.tries).try_acquire_owned().map_err(|_full_or_closed| TryOutError::Busy)?;
        let shared = Arc::clone(&self.shared);
        // On the runtime of all sockets, and to its end: whoever asked may have gone.
        let tried = self.shared.handle.spawn(async move {
            let _turn = turn;
            match Box::pin(shared.dialler.open_within(Some(&proxy), TRY_WITHIN)).await {
                Ok(mut socket) => {
                    let _ = timeout(HANG_UP_WITHIN, socket.close(None)).await;
                    Ok(())
                }
                Err(error) => {
                    info!(code = error.why.code(), "A proxy was tried and is not taken: {error}");
                    Err(TryOutError::Failed(error.why))
                }
            }
        });
        tried.await.unwrap_or(Err(TryOutError::Failed(DownReason::Panicked)))
    }
}

/// What the actor holds of a driver. Dropping it seals the link: without its actor nothing may leave.
struct Handset(Arc<Driver>);

impl Drop for Handset {
    fn drop(&mut self) {
        self.0.seal(SealReason::ActorGone);
    }
}

#[async_trait]
impl Link for Handset {
    fn dial(&self, link: LinkId, method: Option<Method>, rebuild: bool, refresh_version: bool) {
        self.0.dial(driver::Order { link, method, rebuild, refresh_version });
    }

    fn request_code(&self, link: LinkId, number: String) {
        if let Some(live) = self.0.live(link) {
            live.listener.want_code(number);
        }
    }

    fn close(&self, link: LinkId) {
        self.0.close(link);
    }

    fn log_out(&self, link: LinkId) {
        self.0.log_out(link);
    }

    fn ping(&self, link: LinkId, within: Duration) {
        match self.0.live(link) {
            Some(live) => self.0.ping(link, live, within),
            None => self.0.reports().fact(Event::PingFailed { link }),
        }
    }

    fn save(&self, link: LinkId) {
        match self.0.live(link) {
            Some(live) => self.0.save(link, live),
            // Without a client nothing is unsaved.
            None => self.0.reports().fact(Event::Saved { link, ok: true }),
        }
    }

    fn seal(&self, why: SealReason) {
        self.0.seal(why);
    }

    async fn settings_changed(&self) {
        // On its own task: what was begun is finished, whoever waits for it.
        let reading = self.0.shared().handle.spawn(Arc::clone(&self.0).reread_settings());
        if let Err(failed) = reading.await {
            warn!("Settings were not read: {failed}");
        }
    }

    async fn show(&self, link: LinkId, presence: Presence) -> Result<(), SendError> {
        self.0.show(link, presence).await
    }

    async fn send_text(&self, link: LinkId, message: OutgoingText) -> Result<SentMessage, SendError> {
        let live = self.0.live(link).ok_or(SendError::NotConnected)?;
        self.0.send_text(link, live, message).await
    }
}
