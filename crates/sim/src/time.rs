//! The time as the world sees it: the machine's, or one that only moves when something happens.

use std::time::{SystemTime, UNIX_EPOCH};

/// When a logical clock begins, in milliseconds since 1970: the first of January 2026.
const BEGINNING: u64 = 1_767_225_600_000;
/// How far an event moves a logical clock on, in milliseconds.
const STEP: u64 = 10;

/// Where the time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    Machine,
    /// Each event of the log takes the same time, and nothing else takes any: two runs in which the same happens in the
    /// same order have the same times.
    Logical,
}

impl Clock {
    /// The time after this many events, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(self, events: u64) -> u64 {
        match self {
            Self::Machine => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Self::Logical => BEGINNING.saturating_add(events.saturating_mul(STEP)),
        }
    }
}
