//! What is under way, for what has to come after it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// Pieces of work that were begun and are not over.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: BTreeSet<u64>,
}

impl UnderWay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a piece of work, which is over when what is returned is dropped, however that comes about.
    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.open.insert(number);
        Begun { all: Arc::clone(self), number }
    }

    /// Waits until nothing is under way, and for so long nothing was begun.
    pub(super) async fn quiet_for(&self, time: Duration) {
        loop {
            self.begun_is_over().await;
            let last = self.state().last;
            sleep(time).await;
            let state = self.state();
            if state.last == last && state.open.is_empty() {
                return;
            }
        }
    }

    /// Waits until everything is over that was begun before this call.
    pub(super) async fn begun_is_over(&self) {
        let last = self.state().last;
        loop {
            let changed = self.changed.notified();
            if self.state().open.first().is_none_or(|oldest| *oldest > last) {
                return;
            }
            changed.await;
        }
    }
}

/// A piece of work under way.
#[derive(Debug)]
pub(in crate::whatsapp) struct Begun {
    all: Arc<UnderWay>,
    number: u64,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.all.state().open.remove(&self.number);
        self.all.changed.notify_waiters();
    }
}
