//! When messages left and when they arrived.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long the last of many messages may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The only clock of this bench.
#[expect(clippy::disallowed_methods, reason = "a bench measures time, and no decision hangs on it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Counts messages, by their text.
#[derive(Debug)]
pub(crate) struct Meter {
    left: Mutex<HashMap<String, Instant>>,
    took: Mutex<Vec<Duration>>,
    arrived: watch::Sender<usize>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { left: Mutex::default(), took: Mutex::default(), arrived: watch::Sender::new(0) }
    }
}

impl Meter {
    /// A message is about to leave.
    pub(crate) fn leaves(&self, text: &str) {
        lock(&self.left).insert(text.to_owned(), now());
    }

    /// A message has arrived. What arrives again, or was not expected, counts for nothing.
    pub(crate) fn arrives(&self, text: &str) {
        let at = now();
        let Some(left) = lock(&self.left).remove(text) else { return };
        lock(&self.took).push(at - left);
        self.arrived.send_modify(|count| *count += 1);
    }

    /// Waits until so many have arrived since the last call of [`Self::take`].
    pub(crate) async fn all(&self, number: usize) -> anyhow::Result<()> {
        let mut arrived = self.arrived.subscribe();
        let waiting = arrived.wait_for(|count| *count >= number);
        if timeout(PATIENCE, waiting).await.is_err() {
            bail!("{} of {number} messages have arrived", *self.arrived.borrow());
        }
        Ok(())
    }

    /// Returns how long each took, and begins anew.
    pub(crate) fn take(&self) -> Vec<Duration> {
        self.arrived.send_replace(0);
        std::mem::take(&mut *lock(&self.took))
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
