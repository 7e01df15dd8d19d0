//! Signals of the operating system: the first begins the shutdown, the second forces it.

use std::sync::Arc;

use actix::prelude::Recipient;
use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::{error, info};

use crate::actors::system::protocol::BeginShutdown;
use crate::failpoint::reach;

/// The signals that stop the service. They are caught from the moment this is made.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl StopSignals {
    /// Begins to catch SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("signals cannot be caught");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal and returns its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }

    /// Passes every signal on, for as long as the process lives, and notifies `stopping` of the first, which `announce` tells the
    /// service manager.
    pub(super) async fn pass_on(
        mut self,
        system: Recipient<BeginShutdown>,
        stopping: Arc<Notify>,
        announce: impl Fn(),
    ) {
        loop {
            let name = self.next().await;
            info!(signal = name, "Received {name}");
            stopping.notify_one();
            announce();
            reach!("shutdown.signalled");
            if system.send(BeginShutdown).await.is_err() {
                error!("The system actor is gone; the shutdown is forced when its time is over");
            }
        }
    }
}
