//! The row of an instance and the settings in it, read before a dial and whenever they have changed.

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
use crate::ports::store::{InstanceRecord, Settings};

/// How long until settings are read again that could not be read.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often. A store that fails for longer ends the link, and the next dial reads them.
const TIMES: u32 = 60;

impl Driver {
    /// Reads the row of the instance, and adopts the settings in it. Those that cannot be read are never taken for the defaults: there is no
    /// dial without them.
    pub(super) async fn read_row(&self) -> Result<InstanceRecord, DownReason> {
        let (shared, instance) = (self.shared(), &self.spec().instance);
        // One reads at a time, so that the newest are also the last to be adopted.
        let _turn = self.settings_turn.lock().await;
        let read = timeout(shared.settings.store_grace, shared.store.get(instance)).await;
        match read {
            Ok(Ok(Some(record))) => {
                let settings = record.setting.as_ref().map(|row| &row.settings);
                self.manners().adopt(settings.unwrap_or(&Settings::default()).conduct());
                return Ok(record);
            }
            Ok(Ok(None)) => warn!(instance.id = %instance, "Instance {instance} is not in the database any more"),
            Ok(Err(error)) => {
                warn!(instance.id = %instance, error = &error as &dyn std::error::Error, "The settings of an instance could not be read");
            }
            Err(_) => {
                warn!(instance.id = %instance, "The store did not tell the settings of an instance within the grace");
            }
        }
        Err(DownReason::StoreUnavailable)
    }

    /// The settings have changed: they hold when this returns, or, if they cannot be read, as soon as they can.
    pub(super) async fn reread_settings(self: Arc<Self>) {
        if self.read_row().await.is_ok() || self.rereading.swap(true, Ordering::AcqRel) {
            return;
        }
        let driver = Arc::downgrade(&self);
        self.shared().handle.spawn(async move {
            for _ in 0..TIMES {
                sleep(AGAIN_AFTER).await;
                let Some(driver) = driver.upgrade() else { return };
                if driver.read_row().await.is_ok() {
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
