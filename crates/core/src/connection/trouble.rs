//! What keeps an instance from being connected, and since when.

use super::down_reason::DownReason;
use super::state::{Machine, ParkReason, State};
use super::step::Env;
use crate::time::Timestamp;

/// The reason that explains a state other than open.
///
/// It outlives the states between two tries: whoever asks during a redial still reads why there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Why the last link ended, or why there is none.
    pub why: DownReason,
    /// When this reason, by its code, became the present one.
    pub since: Timestamp,
}

/// What is still known of how the last connection ended, after the process that saw it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Why it ended.
    pub why: DownReason,
    /// When the next dial is due, if it was to be waited for.
    pub retry: Option<Timestamp>,
}

impl Machine {
    /// Makes the machine of an instance that was parked when the last process ended.
    #[must_use]
    pub fn remembering(mut self, memory: Option<Memory>) -> Self {
        self.memory = memory;
        self
    }

    /// Takes up at boot what is remembered, and tells whether that decides what happens: a ban is waited out to its end, and a device
    /// that WhatsApp has removed still says so. Everything else is tried anew, and explained by its end until it is online.
    pub(super) fn recall(&mut self, env: Env<'_>) -> bool {
        let Some(Memory { why, retry }) = self.memory.take() else { return false };
        let parked = match (&why, self.paired) {
            (DownReason::TemporaryBan { .. }, true) => {
                retry.filter(|until| env.now < *until).map(|until| (ParkReason::Banned(why.clone()), Some(until)))
            }
            (DownReason::LoggedOut { .. }, false) => Some((ParkReason::LoggedOut(why.clone()), None)),
            _ => None,
        };
        if let Some((why, retry)) = parked {
            self.state = State::Parked { why, retry };
            return true;
        }
        if self.paired {
            self.trouble = Some(Trouble { why, since: env.now });
        }
        false
    }

    /// Returns what keeps the instance from being connected, if anything does.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Brings the trouble in line with the state that a step has led to.
    pub(super) fn note_trouble(&mut self, env: Env<'_>) {
        match self.state.why() {
            // Not a reason, only the wait for a socket to be gone.
            Some(DownReason::Requested) => {}
            Some(why) => {
                let since = match &self.trouble {
                    Some(known) if known.why.code() == why.code() => known.since,
                    _ => env.now,
                };
                self.trouble = Some(Trouble { why, since });
            }
            None => match self.state {
                State::Asking { .. }
                | State::Connecting { .. }
                | State::Syncing { .. }
                | State::BackingOff { .. }
                | State::Waiting { .. } => {}
                // Until somebody asks again it is explained why there are no more codes.
                State::Unpaired => {
                    let kept = |told: &Trouble| told.why == DownReason::QrExhausted;
                    self.trouble = self.trouble.take().filter(kept);
                }
                State::Pairing { .. }
                | State::Online { .. }
                | State::Parked { .. }
                | State::LoggingOut { .. }
                | State::Draining { .. }
                | State::Stopped { .. } => self.trouble = None,
            },
        }
    }
}
