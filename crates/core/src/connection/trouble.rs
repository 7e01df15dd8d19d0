//! What keeps an instance from being connected, and since when.

use super::down_reason::DownReason;
use super::state::{Machine, State};
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

impl Machine {
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
                State::Unpaired
                | State::Pairing { .. }
                | State::Online { .. }
                | State::Parked { .. }
                | State::LoggingOut { .. }
                | State::Draining { .. }
                | State::Stopped { .. } => self.trouble = None,
            },
        }
    }
}
