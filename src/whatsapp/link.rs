//! The driver: one client per actor incarnation, one `run()` per dial, one `LinkDown` per dial.

mod conduct;
mod driver;
mod holder;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::conduct::Presence;
use holdfast_core::connection::{Event, Method};
use holdfast_core::id::LinkId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::warn;

use self::driver::Driver;
use super::dial::{Dialler, SettingsError};
use super::http::Http;
use super::settings::LinkSettings;
use super::version::Versions;
use crate::ports::clock::Clock;
use crate::ports::link::{Link, LinkSpec, Links, OutgoingText, Report, SealReason, SendError, SentMessage};
use crate::ports::store::Store;

/// What all drivers share.
struct Shared {
    settings: LinkSettings,
    store: Arc<dyn Store>,
    handle: Handle,
    clock: Clock,
    dialler: Arc<Dialler>,
    http: Http,
    versions: Versions,
}

/// Makes the drivers; one for the whole service.
pub struct WhatsApp {
    shared: Arc<Shared>,
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
        let http = Http::new(dialler.tls()).map_err(|error| SettingsError::Tls(error.to_string()))?;
        let versions = Versions::new(settings.version, http.clone(), clock);
        Ok(Self { shared: Arc::new(Shared { settings, store, handle, clock, dialler, http, versions }) })
    }
}

impl Links for WhatsApp {
    fn make(&self, spec: LinkSpec, reports: mpsc::Sender<Report>) -> Arc<dyn Link> {
        Arc::new(Handset(Driver::start(Arc::clone(&self.shared), spec, reports)))
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
        self.0.show(link, presence).await.map_err(|failed| SendError::Failed(failed.to_string()))?
    }

    async fn send_text(&self, link: LinkId, message: OutgoingText) -> Result<SentMessage, SendError> {
        let live = self.0.live(link).ok_or(SendError::NotConnected)?;
        // On its own task: whoever asked may stop waiting, but a message is not left half sent.
        let sending = self.0.send_text(link, live, message);
        sending.await.map_err(|failed| SendError::Failed(failed.to_string()))?
    }
}
