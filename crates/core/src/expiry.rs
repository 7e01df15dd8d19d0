//! `DEL_INSTANCE`: an instance that nobody ever paired is deleted some minutes after it was made.

use std::time::Duration;

use crate::connection::Phase;
use crate::time::Timestamp;

/// What is known of an instance when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it has, or ever had, credentials.
    pub ever_paired: bool,
    /// Whether a place that may hold credentials of it said nothing when the service began.
    pub unheard: bool,
    /// What it is doing.
    pub phase: Phase,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It was paired once, or may have been, and is never deleted but by an operator.
    Keep,
    /// Somebody is pairing it: look again later.
    Postpone,
    /// Nobody ever paired it.
    Delete,
}

/// Returns when an instance is due that is seen for the first time at `now`.
///
/// `age` is by the wall clock, which may be wrong: it never makes the wait longer than `after`. From here on only monotonic time counts,
/// so that a clock that jumps deletes nothing.
#[must_use]
pub fn due(now: Timestamp, after: Duration, age: Option<Duration>) -> Timestamp {
    now.after(after.saturating_sub(age.unwrap_or_default()))
}

/// Decides about an instance that is due.
#[must_use]
pub fn decide(candidate: Candidate) -> Decision {
    if candidate.ever_paired || candidate.unheard {
        return Decision::Keep;
    }
    match candidate.phase {
        Phase::Unpaired | Phase::Parked | Phase::Stopped => Decision::Delete,
        Phase::Waiting
        | Phase::Connecting
        | Phase::Pairing
        | Phase::Syncing
        | Phase::Online
        | Phase::Suspect
        | Phase::BackingOff
        | Phase::Draining => Decision::Postpone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 11] = [
        Phase::Unpaired,
        Phase::Waiting,
        Phase::Connecting,
        Phase::Pairing,
        Phase::Syncing,
        Phase::Online,
        Phase::Suspect,
        Phase::BackingOff,
        Phase::Parked,
        Phase::Draining,
        Phase::Stopped,
    ];

    #[test]
    fn s35_what_was_ever_paired_is_kept_and_what_is_being_paired_is_left_alone() {
        let idle = [Phase::Unpaired, Phase::Parked, Phase::Stopped];
        for phase in PHASES {
            for (ever_paired, unheard) in [(true, false), (false, true), (true, true)] {
                assert_eq!(decide(Candidate { ever_paired, unheard, phase }), Decision::Keep, "{phase:?}");
            }
            let expected = if idle.contains(&phase) { Decision::Delete } else { Decision::Postpone };
            assert_eq!(decide(Candidate { ever_paired: false, unheard: false, phase }), expected, "{phase:?}");
        }
    }

    #[test]
    fn s42_a_wrong_wall_clock_never_makes_the_wait_longer() {
        let (now, minutes) = (Timestamp::from_millis(5_000), |n: u64| Duration::from_secs(n * 60));
        let table = [(None, 15), (Some(minutes(5)), 10), (Some(minutes(15)), 0), (Some(minutes(9_000)), 0)];
        for (age, left) in table {
            assert_eq!(due(now, minutes(15), age), now.after(minutes(left)), "{age:?}");
        }
    }
}
