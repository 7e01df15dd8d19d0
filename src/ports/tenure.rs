//! Until when this process may act for the instances that it owns.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::time::Timestamp;

/// The deadline that every link of the process shares, on its monotonic clock. Whoever sends a frame looks at it.
#[derive(Debug)]
pub struct Tenure(AtomicU64);

impl Tenure {
    /// Returns a tenure without an end: no other process can exist.
    pub fn forever() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// Returns a tenure that has not begun.
    pub fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Lets it end at this moment.
    pub fn hold_until(&self, until: Timestamp) {
        self.0.store(until.as_millis(), Ordering::Release);
    }

    /// Tells whether it holds.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now.as_millis() < self.0.load(Ordering::Acquire)
    }
}
