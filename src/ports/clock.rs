//! The only place that reads a clock.

use chrono::{DateTime, Utc};
use holdfast_core::time::Timestamp;
use tokio::time::Instant;

/// Monotonic time for deadlines, wall time for people. Cheap to copy; every part of a process shares one origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts a clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Returns the milliseconds since the process began; never goes back.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(u64::try_from(Instant::now().duration_since(self.origin).as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the wall clock's time, which may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// Returns the wall clock's time at a moment of this clock.
    pub fn wall_at(&self, moment: Timestamp) -> DateTime<Utc> {
        let now = self.now();
        let shift = |d: std::time::Duration| chrono::TimeDelta::from_std(d).unwrap_or_default();
        self.wall() + shift(now.until(moment)) - shift(now.since(moment))
    }
}
