//! The life of one delivery to a sink: sent, retried, given up.

use std::time::Duration;

/// How deliveries to a sink are retried; the names and defaults are those of Evolution's `WEBHOOK_RETRY_*`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Tries in total.
    pub max_attempts: u32,
    /// Wait after the first failure.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Whether the wait doubles.
    pub exponential: bool,
    /// How far the wait may be shifted either way, as a share of it.
    pub jitter_factor: f64,
    /// HTTP statuses after which there is no other try.
    pub non_retryable: Vec<u16>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            initial: Duration::from_secs(5),
            max: Duration::from_secs(300),
            exponential: true,
            jitter_factor: 0.2,
            non_retryable: vec![400, 401, 403, 404, 422],
        }
    }
}

/// How one try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// The receiver answered with this HTTP status.
    Status(u16),
    /// There was no answer; the text says why.
    Unreachable(String),
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Forget it: it has arrived.
    Done,
    /// Try again after this wait; what follows for the same instance waits too.
    Retry { after: Duration, why: String },
    /// Keep it among the dead letters.
    Dead { why: String },
}

impl RetryPolicy {
    /// Decides after try number `attempt` (from 1) ended with `outcome`; `jitter` is a random number from 0 to 1.
    pub fn decide(&self, attempt: u32, outcome: &Outcome, jitter: f64) -> Next {
        let why = match outcome {
            Outcome::Delivered => return Next::Done,
            Outcome::Status(status) if self.non_retryable.contains(status) => {
                return Next::Dead { why: format!("the receiver answered {status}, which is not retried") };
            }
            Outcome::Status(status) => format!("the receiver answered {status}"),
            Outcome::Unreachable(why) => why.clone(),
        };
        if attempt >= self.max_attempts {
            return Next::Dead { why: format!("{why}; gave up after {attempt} tries") };
        }
        Next::Retry { after: self.wait(attempt, jitter), why }
    }

    /// Returns the wait after try number `attempt`, never less than the initial one.
    pub fn wait(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = if self.exponential { attempt.saturating_sub(1).min(31) } else { 0 };
        let plain = self.initial.saturating_mul(1_u32 << doublings).min(self.max);
        let shift = 1.0 + self.jitter_factor * (2.0 * jitter.clamp(0.0, 1.0) - 1.0);
        plain.mul_f64(shift.max(0.0)).max(self.initial)
    }
}
