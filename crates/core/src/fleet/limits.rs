//! How many dials may begin in a second: a bucket that fills evenly and holds little, so that nothing bursts.

use std::time::Duration;

use crate::time::Timestamp;

/// One dial, in the unit of the bucket.
const DIAL: u64 = 1000;
/// What the bucket holds: one dial, and one that makes up for a timer that fired late.
const MOST: u64 = 2 * DIAL;

/// The bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    level: u64,
    at: Timestamp,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { level: DIAL, at: Timestamp::default() }
    }

    /// Takes one dial out, if there is one.
    pub(super) fn take(&mut self, now: Timestamp, per_second: u32) -> bool {
        self.level = self.level_at(now, per_second);
        self.at = self.at.max(now);
        match self.level.checked_sub(DIAL) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }

    /// Returns the first moment, from `now` on, at which there is a dial to take.
    pub(super) fn ready_at(&self, now: Timestamp, per_second: u32) -> Timestamp {
        let missing = DIAL.saturating_sub(self.level_at(now, per_second));
        now.after(Duration::from_millis(missing.div_ceil(u64::from(per_second.max(1)))))
    }

    /// A thousandth of a dial comes for each millisecond and each dial in a second.
    fn level_at(&self, now: Timestamp, per_second: u32) -> u64 {
        let passed = now.as_millis().saturating_sub(self.at.as_millis());
        self.level.saturating_add(passed.saturating_mul(u64::from(per_second.max(1)))).min(MOST)
    }
}
