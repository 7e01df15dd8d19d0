//! The Seal: once it is set, nothing leaves a link and nothing reaches its store.
//!
//! It is shared by the transport, the backend, the durability hook and the driver of one client. Whoever finds that the store, the
//! lease or a task has failed sets it *before* the failure is returned to the library, whose answer to an error would otherwise be a
//! nack, an acknowledgement of an unsaved message, or a key that was used without being reserved.

use std::sync::Arc;

use holdfast_core::connection::DownReason;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::ports::clock::Clock;
use crate::ports::link::SealReason;
use crate::ports::tenure::Tenure;

/// The error of everything that is tried on a sealed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is sealed")]
pub(super) struct Sealed(pub(super) SealReason);

/// Says whether a link may still act.
#[derive(Debug)]
pub(super) struct Seal {
    reason: watch::Sender<Option<SealReason>>,
    tenure: Arc<Tenure>,
    clock: Clock,
}

impl Seal {
    pub(super) fn new(clock: Clock, tenure: Arc<Tenure>) -> Self {
        Self { reason: watch::Sender::new(None), tenure, clock }
    }

    /// Sets the seal; the first reason stays. Returns whether this call has set it.
    pub(super) fn set(&self, why: SealReason) -> bool {
        let set = self.reason.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(why);
            }
            first
        });
        if set {
            match why {
                // The end of every link that was given up on purpose.
                SealReason::ActorGone | SealReason::Abandoned => debug!(reason = ?why, "A link is sealed: {why:?}"),
                SealReason::StoreUnavailable
                | SealReason::Corrupt
                | SealReason::FencedOff
                | SealReason::LeaseEnded
                | SealReason::Panicked => warn!(reason = ?why, "A link is sealed: {why:?}"),
            }
        }
        set
    }

    pub(super) fn reason(&self) -> Option<SealReason> {
        *self.reason.borrow()
    }

    pub(super) fn check(&self) -> Result<(), Sealed> {
        self.reason().map_or(Ok(()), |why| Err(Sealed(why)))
    }

    /// Checks what has to hold for a frame to leave, the tenure of the process included. This is the fence that holds after the process was suspended.
    pub(super) fn check_frame(&self) -> Result<(), Sealed> {
        if !self.tenure.holds_at(self.clock.now()) {
            self.set(SealReason::LeaseEnded);
        }
        self.check()
    }

    /// Waits until the seal is set.
    pub(super) async fn sealed(&self) -> SealReason {
        let mut reason = self.reason.subscribe();
        match reason.wait_for(Option::is_some).await {
            Ok(why) => why.unwrap_or(SealReason::Abandoned),
            // The sender is a field of `self`, which is borrowed here.
            Err(_) => SealReason::Abandoned,
        }
    }
}

/// Returns how a link ends whose seal was set.
pub(super) fn down_reason(why: SealReason) -> DownReason {
    match why {
        SealReason::StoreUnavailable => DownReason::StoreUnavailable,
        SealReason::Corrupt => DownReason::CredentialsCorrupt,
        SealReason::FencedOff | SealReason::LeaseEnded => DownReason::LeaseLost,
        SealReason::Panicked => DownReason::Panicked,
        SealReason::ActorGone | SealReason::Abandoned => DownReason::Requested,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let seal = Seal::new(Clock::start(), Arc::new(Tenure::forever()));
        assert_eq!(seal.check(), Ok(()));
        assert!(seal.set(SealReason::StoreUnavailable));
        assert!(!seal.set(SealReason::Panicked));
        assert_eq!(seal.check_frame(), Err(Sealed(SealReason::StoreUnavailable)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_after_the_lease_seals_the_link() {
        let clock = Clock::start();
        let tenure = Arc::new(Tenure::none());
        tenure.hold_until(clock.now().after(Duration::from_secs(60)));
        let seal = Seal::new(clock, Arc::clone(&tenure));
        assert_eq!(seal.check_frame(), Ok(()));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(seal.check_frame(), Err(Sealed(SealReason::LeaseEnded)));
        tenure.hold_until(clock.now().after(Duration::from_secs(60)));
        assert_eq!(seal.check_frame(), Err(Sealed(SealReason::LeaseEnded)), "a renewal does not open a seal");
    }

    #[tokio::test]
    async fn waiting_returns_when_it_is_set_before_or_after() {
        let seal = Arc::new(Seal::new(Clock::start(), Arc::new(Tenure::forever())));
        let waiting = tokio::spawn({
            let seal = Arc::clone(&seal);
            async move { seal.sealed().await }
        });
        seal.set(SealReason::FencedOff);
        assert_eq!(waiting.await.unwrap(), SealReason::FencedOff);
        assert_eq!(seal.sealed().await, SealReason::FencedOff);
    }
}
