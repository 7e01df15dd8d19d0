//! The settings of an instance, read before a dial and whenever they have changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_core::conduct::Presence;
use holdfast_core::connection::DownReason;
use holdfast_core::id::LinkId;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::driver::Driver;
use crate::ports::link::SendError;

/// How long until settings are read again that could not be read.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often. A store that fails for longer ends the link, and the next dial reads them.
const TIMES: u32 = 60;

impl Driver {
    /// Reads the settings. Those that cannot be read are never taken for the defaults: there is no dial without them.
    pub(super) async fn read_settings(&self) -> Result<(), DownReason> {
        let (shared, instance) = (self.shared(), &self.spec().instance);
        // One reads at a time, so that the newest are also the last to be adopted.
        let _turn = self.settings_turn.lock().await;
        let read = timeout(shared.settings.store_grace, shared.store.settings(instance)).await;
        match read {
            Ok(Ok(row)) => {
                self.manners().adopt(row.map(|row| row.settings).unwrap_or_default().conduct());
                Ok(())
            }
            Ok(Err(error)) => {
                warn!(instance.id = %instance, error = &error as &dyn std::error::Error, "The settings of an instance could not be read");
                Err(DownReason::StoreUnavailable)
            }
            Err(_) => {
                warn!(instance.id = %instance, "The store did not tell the settings of an instance within the grace");
                Err(DownReason::StoreUnavailable)
            }
        }
    }

    /// The settings have changed: they hold when this returns, or, if they cannot be read, as soon as they can.
    pub(super) async fn reread_settings(self: Arc<Self>) {
        if self.read_settings().await.is_ok() || self.rereading.swap(true, Ordering::AcqRel) {
            return;
        }
        let driver = Arc::downgrade(&self);
        self.shared().handle.spawn(async move {
            for _ in 0..TIMES {
                sleep(AGAIN_AFTER).await;
                let Some(driver) = driver.upgrade() else { return };
                if driver.read_settings().await.is_ok() {
                    debug!(instance.id = %driver.spec().instance, "The changed settings hold now");
                    break;
                }
            }
            if let Some(driver) = driver.upgrade() {
                driver.rereading.store(false, Ordering::Release);
            }
        });
    }

    /// Shows that the account is there, or that it is not.
    pub(super) async fn show(&self, link: LinkId, presence: Presence) -> Result<(), SendError> {
        let live = self.live(link).ok_or(SendError::NotConnected)?;
        let manners = Arc::clone(self.manners());
        let showing = self.spawn_over(&live.clone(), "showing a presence", async move {
            tokio::select! {
                shown = manners.show_as(&live.client, presence) => shown,
                () = live.attempt.closing() => Err(SendError::NotConnected),
            }
        });
        match showing.await {
            Ok(Some(shown)) => shown,
            Ok(None) | Err(_) => Err(SendError::NotConnected),
        }
    }
}
