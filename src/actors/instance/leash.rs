//! What the supervisor holds of an actor that may not turn any more.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::ports::link::{Link, SealReason};

/// Shared by one incarnation and its supervisor. An actor that is stuck cannot be stopped; its link can be sealed, and itself be told
/// that it is replaced, for the case that it turns again.
#[derive(Clone, Default)]
pub struct Leash {
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    link: OnceLock<Arc<dyn Link>>,
    cut: AtomicBool,
}

impl Leash {
    /// Says which link the incarnation owns; the first one holds.
    pub(super) fn hold(&self, link: Arc<dyn Link>) {
        let _only_once = self.held.link.set(link);
    }

    /// Tells whether the incarnation was replaced.
    pub(super) fn is_cut(&self) -> bool {
        self.held.cut.load(Ordering::Acquire)
    }

    /// Ends what the incarnation can do: nothing leaves its link from here on, and it ends itself should it turn again.
    pub fn cut(&self, why: SealReason) {
        self.held.cut.store(true, Ordering::Release);
        self.seal(why);
        // Nothing is dialled any more either.
        self.seal(SealReason::ActorGone);
    }

    /// Ends the present connection: nothing leaves it from here on. The incarnation lives on and hears of it.
    pub fn seal(&self, why: SealReason) {
        if let Some(link) = self.held.link.get() {
            link.seal(why);
        }
    }
}

impl fmt::Debug for Leash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leash").field("cut", &self.is_cut()).finish_non_exhaustive()
    }
}
