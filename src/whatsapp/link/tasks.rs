//! What is asked of a running client: each on a task of its own, with a net under it.

use std::time::Duration;

use holdfast_core::connection::Event;
use holdfast_core::id::LinkId;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::info;
use wacore::iq::devices::RemoveCompanionDeviceSpec;
use wacore::iq::keepalive::KeepaliveSpec;

use super::driver::{Driver, Live};
use super::holder::Holder;
use crate::failpoint::reach;
use crate::whatsapp::runtime::netted;

/// How long telling WhatsApp that the device is gone may take.
const LOG_OUT_WITHIN: Duration = Duration::from_secs(8);

/// How long a save may take; the store's own grace bounds each of its steps.
const SAVE_WITHIN: Duration = Duration::from_secs(15);

impl Driver {
    /// Does something with the client of a link; `None` comes of a panic, which seals that client: its dial then ends with a panic for its
    /// reason, and the instance starts afresh.
    pub(super) fn spawn_over<T: Send + 'static>(
        &self,
        live: &Live,
        doing: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let (seal, attempt) = (live.seal.clone(), live.attempt.clone());
        self.shared().handle.spawn(async move {
            let done = netted(&seal, doing, task).await;
            if done.is_none() {
                // Also a dial that has no socket yet.
                attempt.close(false);
            }
            done
        })
    }

    pub(super) fn log_out(&self, link: LinkId) {
        let Some(live) = self.live(link) else { return self.close(link) };
        let (instance, reports) = (self.spec().instance.clone(), self.reports().clone());
        self.spawn_over(&live.clone(), "logging out", async move {
            reach!("link.log-out");
            if let Some(own) = live.client.pn() {
                let told = timeout(LOG_OUT_WITHIN, live.client.execute(RemoveCompanionDeviceSpec::new(&own))).await;
                if matches!(told, Ok(Ok(()))) {
                    // Before the end of the socket, which ends the instance too if it is deleted.
                    reports.fact(Event::Unlinked { link });
                } else {
                    info!(instance.id = %instance, "WhatsApp did not confirm the logout; the phone may still list the device");
                }
            }
            reach!("link.unlinked");
            live.attempt.close(true);
        });
    }

    pub(super) fn ping(&self, link: LinkId, live: Live, within: Duration) {
        let (reports, clock) = (self.reports().clone(), self.shared().clock);
        self.spawn_over(&live.clone(), "pinging", async move {
            reach!("link.ping");
            let answered = timeout(within, live.client.execute(KeepaliveSpec::with_timeout(within))).await;
            reports.fact(match answered {
                Ok(Ok(())) => Event::Pong { link, at: clock.now() },
                Ok(Err(_)) | Err(_) => Event::PingFailed { link },
            });
        });
    }

    pub(super) fn save(&self, link: LinkId, live: Live) {
        let reports = self.reports().clone();
        let saving = self.spawn_over(&live.clone(), "saving", async move {
            timeout(SAVE_WITHIN, Holder::save(&live.client, &live.backend)).await.unwrap_or(false)
        });
        self.shared().handle.spawn(async move {
            // Whoever saves waits for the answer before anything is closed.
            let ok = matches!(saving.await, Ok(Some(true)));
            reports.fact(Event::Saved { link, ok });
        });
    }
}
