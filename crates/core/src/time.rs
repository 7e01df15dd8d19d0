//! Time as an argument: nothing in this crate reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on a monotonic clock, in milliseconds since an origin that only the shell knows.
///
/// Deadlines are measured on it, so a step of the wall clock neither fires nor delays one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Makes a moment from milliseconds since the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the moment `wait` later, at the latest the end of time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// Returns how long it has been since `earlier`, zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns how long it still takes until `later`, zero if that has passed.
    pub fn until(self, later: Self) -> Duration {
        later.since(self)
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
