//! How long to wait before trying again: exponential, capped, with full jitter.

use std::time::Duration;

/// The shape of a backoff curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub base: Duration,
    /// Ceiling that no wait exceeds.
    pub cap: Duration,
}

impl Backoff {
    /// Returns the longest possible wait before attempt number `attempt` (the first redial is 1).
    ///
    /// It doubles with every attempt until the cap.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1_u32 << doublings).min(self.cap)
    }

    /// Returns the wait before attempt number `attempt`.
    ///
    /// `jitter` is a random number from 0 to 1 (values outside are clamped) and picks a point between nothing and the ceiling, so
    /// that a fleet that went down at one moment does not come back at one moment. A tenth of the base is the least.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        let floor = self.base / 10;
        self.ceiling(attempt).mul_f64(jitter).clamp(floor.min(self.cap), self.cap.max(floor))
    }
}
