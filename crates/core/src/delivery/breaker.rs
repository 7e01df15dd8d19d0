//! The breaker of one target: it opens when the target as a whole fails, lets one probe through at a time, and closes when it lives.
//!
//! ```text
//!             threshold failures in a row            until
//!   Closed ───────────────────────────────▶ Open ─────────────▶ HalfOpen
//!     ▲                                      ▲ │                  │ │
//!     └──────────────── an answer ───────────┼─┴──────────────────┘ │
//!                                            └── the probe fails ───┘
//! ```

use std::time::Duration;

use super::RetryPolicy;
use crate::backoff::Backoff;
use crate::time::Timestamp;

/// Failures in a row after which the target counts as down.
const THRESHOLD: u32 = 5;
/// The longest time between two probes.
const LONGEST: Duration = Duration::from_secs(60);

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub threshold: u32,
    /// Waits before probes.
    pub backoff: Backoff,
}

impl BreakerPolicy {
    /// Derives the rules from those of single deliveries: it opens before the first of them has used its attempts up.
    pub fn of(retry: &RetryPolicy) -> Self {
        Self {
            threshold: retry.max_attempts.saturating_sub(1).clamp(1, THRESHOLD),
            backoff: Backoff { base: retry.initial, cap: retry.initial.max(LONGEST) },
        }
    }

    /// Returns the wait before probe number `probe`: at least half of the ceiling, and what the target asked for up to the cap.
    fn wait(&self, probe: u32, asked: Option<Duration>, jitter: f64) -> Duration {
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        let wait = self.backoff.ceiling(probe).mul_f64(0.5 + jitter / 2.0);
        wait.max(self.asked(asked))
    }

    fn asked(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or_default().min(self.backoff.cap)
    }
}

/// What a try has told about its target as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Somebody is there.
    Alive,
    /// It is not there, or asks to be left alone for a while.
    AtFault { retry_after: Option<Duration> },
    /// Nothing.
    Nothing,
}

/// Whether something may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As much as the lanes allow.
    Free,
    /// One delivery, to see whether the target is back.
    Probe,
    /// Nothing, until this moment or until the probe has ended.
    Nothing { until: Option<Timestamp> },
}

/// A change that people want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
}

/// The breaker of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Deliveries go out. `proven` tells whether the target has ever answered this process: until it has, its failures say nothing about
    /// single messages, since a restart in the middle of an outage begins here too.
    Closed { failures: u32, proven: bool },
    /// Nothing goes out before `until`. `probes` counts those that have failed.
    Open { since: Timestamp, until: Timestamp, failures: u32, probes: u32 },
    /// One delivery is under way.
    HalfOpen { since: Timestamp, failures: u32, probes: u32 },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0, proven: false }
    }
}

impl Breaker {
    /// Tells what may be sent at `now`.
    pub fn admits(self, now: Timestamp) -> Admission {
        match self {
            Self::Closed { .. } => Admission::Free,
            Self::Open { until, .. } if until <= now => Admission::Probe,
            Self::Open { until, .. } => Admission::Nothing { until: Some(until) },
            Self::HalfOpen { .. } => Admission::Nothing { until: None },
        }
    }

    /// Notes that the probe has begun.
    #[must_use]
    pub fn probing(self) -> Self {
        match self {
            Self::Open { since, failures, probes, .. } => Self::HalfOpen { since, failures, probes },
            Self::Closed { .. } | Self::HalfOpen { .. } => self,
        }
    }

    /// Notes what a try has told; `probe` tells whether it was the one that was let through.
    #[must_use]
    pub fn heard(
        self,
        said: Said,
        probe: bool,
        policy: BreakerPolicy,
        now: Timestamp,
        jitter: f64,
    ) -> (Self, Option<Change>) {
        match (self, said) {
            (Self::Closed { .. }, Said::Alive) => (Self::Closed { failures: 0, proven: true }, None),
            // Also a late answer to a try from before: it lives.
            (Self::Open { .. } | Self::HalfOpen { .. }, Said::Alive) => {
                (Self::Closed { failures: 0, proven: true }, Some(Change::Closed))
            }
            (Self::Closed { failures, proven }, Said::AtFault { retry_after }) => {
                let failures = failures.saturating_add(1);
                if failures < policy.threshold {
                    return (Self::Closed { failures, proven }, None);
                }
                let until = now.after(policy.wait(1, retry_after, jitter));
                (Self::Open { since: now, until, failures, probes: 0 }, Some(Change::Opened))
            }
            // A try from before it opened: that it failed too is no news.
            (Self::Open { since, until, failures, probes }, Said::AtFault { retry_after }) => {
                let until = until.max(now.after(policy.asked(retry_after)));
                (Self::Open { since, until, failures: failures.saturating_add(1), probes }, None)
            }
            (Self::HalfOpen { since, failures, probes }, Said::AtFault { retry_after }) => {
                let failures = failures.saturating_add(1);
                if !probe {
                    return (Self::HalfOpen { since, failures, probes }, None);
                }
                let probes = probes.saturating_add(1);
                let until = now.after(policy.wait(probes.saturating_add(1), retry_after, jitter));
                (Self::Open { since, until, failures, probes }, None)
            }
            // The probe never reached the target: the next one goes soon.
            (Self::HalfOpen { since, failures, probes }, Said::Nothing) if probe => {
                let until = now.after(policy.backoff.base / 10);
                (Self::Open { since, until, failures, probes }, None)
            }
            (Self::Closed { .. } | Self::Open { .. } | Self::HalfOpen { .. }, Said::Nothing) => (self, None),
        }
    }

    /// Tells whether a failure of the target uses an attempt of the message up.
    pub fn counts(self) -> bool {
        matches!(self, Self::Closed { proven: true, .. })
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }

    /// Returns how many tries in a row have spoken against the target.
    pub fn failures(self) -> u32 {
        match self {
            Self::Closed { failures, .. } | Self::Open { failures, .. } | Self::HalfOpen { failures, .. } => failures,
        }
    }

    /// Returns since when nothing but probes goes out.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { since, .. } | Self::HalfOpen { since, .. } => Some(since),
        }
    }

    /// Returns when the next probe goes out.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Open { until, .. } => Some(until),
            Self::Closed { .. } | Self::HalfOpen { .. } => None,
        }
    }
}
