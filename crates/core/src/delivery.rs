//! The life of one delivery to a sink: sent, retried, given up.
//!
//! [`lanes`] decides which deliveries are under way at the same time, [`breaker`] when a target as a whole is left alone.

pub mod breaker;
pub mod lanes;
pub mod origin;

use std::fmt;
use std::time::Duration;

use self::breaker::Said;

/// How deliveries to a sink are retried; most names and defaults are those of Evolution's `WEBHOOK_RETRY_*`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in total; a try that only showed that the target as a whole is down is none.
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
    /// What is older than this when a try fails because of the target as a whole is not tried again.
    pub max_age: Duration,
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
            max_age: Duration::from_secs(72 * 60 * 60),
        }
    }
}

/// How one try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// The receiver answered with this HTTP status, and perhaps said when to come again.
    Status { code: u16, retry_after: Option<Duration> },
    /// There was no answer; the text says why.
    Unreachable(String),
    /// The request could not be made: the fault is here, and nothing is known of the target.
    Unsendable(String),
}

impl Outcome {
    /// Returns what the try tells about the target as a whole.
    ///
    /// No answer, and what proxies answer for a service that is away or flooded, speak against it. Every other status is about the
    /// message, and shows that somebody is there.
    pub fn said(&self) -> Said {
        match self {
            Self::Delivered => Said::Alive,
            Self::Status { code: 429 | 502 | 503 | 504, retry_after } => Said::AtFault { retry_after: *retry_after },
            Self::Status { .. } => Said::Alive,
            Self::Unreachable(_) => Said::AtFault { retry_after: None },
            Self::Unsendable(_) => Said::Nothing,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Status { code, .. } => write!(f, "the receiver answered {code}"),
            Self::Unreachable(why) | Self::Unsendable(why) => f.write_str(why),
        }
    }
}

/// What a delivery has behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Attempts that were used up before this try.
    pub attempts: u32,
    /// How long it has been waiting.
    pub age: Duration,
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Forget it: it has arrived.
    Done,
    /// Try again after this wait; what follows for the same instance waits too. `counts` tells whether an attempt is used up.
    Retry { after: Duration, counts: bool, why: String },
    /// Keep it among the dead letters. `too_old` tells that its age was the reason: what is as old has no better prospects.
    Dead { counts: bool, too_old: bool, why: String },
}

impl RetryPolicy {
    /// Decides after a try that ended with `outcome`; `jitter` is a random number from 0 to 1.
    ///
    /// `counts` tells whether a failure of the target as a whole uses an attempt up. It does not while the target is known to be down:
    /// otherwise an outage of hours would turn one message after the other into a dead letter.
    pub fn decide(&self, outcome: &Outcome, past: Past, counts: bool, jitter: f64) -> Next {
        let (why, asked) = match outcome {
            Outcome::Delivered => return Next::Done,
            Outcome::Status { code, .. } if self.non_retryable.contains(code) => {
                let why = format!("the receiver answered {code}, which is not retried");
                return Next::Dead { counts: true, too_old: false, why };
            }
            Outcome::Status { retry_after, .. } => (outcome.to_string(), *retry_after),
            Outcome::Unreachable(_) | Outcome::Unsendable(_) => (outcome.to_string(), None),
        };
        let at_fault = matches!(outcome.said(), Said::AtFault { .. });
        let counts = counts || !at_fault;
        let used = past.attempts.saturating_add(u32::from(counts));
        // Only where attempts may set no limit: what a living target answers to one message says nothing about others as old.
        if at_fault && past.age >= self.max_age {
            let hours = self.max_age.as_secs() / 3600;
            return Next::Dead { counts, too_old: true, why: format!("{why}; given up after {hours} hours") };
        }
        if counts && used >= self.max_attempts {
            return Next::Dead { counts, too_old: false, why: format!("{why}; given up after {used} attempts") };
        }
        let after = self.wait(used.max(1), jitter).max(asked.unwrap_or_default().min(self.max));
        Next::Retry { after, counts, why }
    }

    /// Returns the wait after attempt number `attempt`, never less than the initial one.
    pub fn wait(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = if self.exponential { attempt.saturating_sub(1).min(31) } else { 0 };
        let plain = self.initial.saturating_mul(1_u32 << doublings).min(self.max);
        let shift = 1.0 + self.jitter_factor * (2.0 * jitter.clamp(0.0, 1.0) - 1.0);
        plain.mul_f64(shift.max(0.0)).max(self.initial)
    }
}
