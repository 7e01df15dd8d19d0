//! The only place that reads a clock.

use chrono::{DateTime, Utc};
use holdfast_core::time::Timestamp;
use tokio::time::Instant;

/// Monotonic time for deadlines, wall time for people. Cheap to copy; every part of a process shares one origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_wall: DateTime<Utc>,
    steady: bool,
}

impl Clock {
    /// Starts a clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self { origin: Instant::now(), origin_wall: Utc::now(), steady: false }
    }

    /// Starts a clock whose wall time never jumps but follows the monotonic one, also where that one stands still or leaps.
    pub fn steady() -> Self {
        Self { steady: true, ..Self::start() }
    }

    /// Returns the milliseconds since the process began; never goes back.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(
            u64::try_from(Instant::now().duration_since(self.origin).as_millis()).unwrap_or(u64::MAX),
        )
    }

    /// Returns the wall clock's time, which may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall(&self) -> DateTime<Utc> {
        if self.steady { self.wall_at(self.now()) } else { Utc::now() }
    }

    /// Returns a moment of this clock as people write it. The same moment is always the same text, however the wall clock is set.
    pub fn wall_at(&self, moment: Timestamp) -> DateTime<Utc> {
        let since = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
        self.origin_wall + chrono::TimeDelta::try_milliseconds(since).unwrap_or_default()
    }
}
