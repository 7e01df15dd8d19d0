//! How many messages an instance may send: a bucket that fills evenly.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// How many messages one instance may send in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(NonZeroU32);

impl Rate {
    /// Makes a rate; none at all is no limit.
    pub fn per_minute(messages: u32) -> Option<Self> {
        NonZeroU32::new(messages).map(Self)
    }

    /// Returns the time in which the right to send one message comes back.
    pub fn each(self) -> Duration {
        MINUTE / self.0.get()
    }
}

/// What an instance has used of its rate. A quiet minute gives all of it back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// How long it takes from `at` until nothing is used any more.
    used: Duration,
    at: Timestamp,
}

impl Allowance {
    /// Uses up one message.
    ///
    /// # Errors
    /// Nothing is used if there is none left; the error says how long until there is.
    pub fn take(self, rate: Rate, now: Timestamp) -> Result<Self, Duration> {
        let used = self.used.saturating_sub(now.since(self.at)) + rate.each();
        match used.checked_sub(MINUTE) {
            Some(missing) if !missing.is_zero() => Err(missing),
            Some(_) | None => Ok(Self { used, at: now.max(self.at) }),
        }
    }
}
