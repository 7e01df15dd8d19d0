//! When a crashed child is started again, and when it has crashed once too often.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::time::Timestamp;

/// Why a child's actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// It had no more to do.
    Normal,
    /// It was told to stop.
    Shutdown,
    /// It gave up by itself, because what it held could not be trusted.
    Failed,
    /// A handler panicked.
    Panicked,
}

/// The rules of one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// How many restarts are allowed within the window.
    pub intensity: usize,
    /// The window.
    pub window: Duration,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// A child that ran this long has its earlier crashes forgiven.
    pub stable_after: Duration,
}

/// What the supervisor does about an ended child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Leave it ended.
    Leave,
    /// Start a new one after this wait.
    RestartAfter(Duration),
    /// Park it visibly: it crashed too often.
    Quarantine,
}

/// The crashes of one child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashRecord {
    crashes: VecDeque<Timestamp>,
    in_a_row: u32,
}

impl CrashRecord {
    /// Decides about a child that was started at `started` and ended at `now`.
    ///
    /// `jitter` is a random number from 0 to 1.
    pub fn decide(
        &mut self,
        reason: ExitReason,
        started: Timestamp,
        now: Timestamp,
        jitter: f64,
        policy: &RestartPolicy,
    ) -> Decision {
        match reason {
            ExitReason::Normal | ExitReason::Shutdown => return Decision::Leave,
            ExitReason::Failed | ExitReason::Panicked => {}
        }
        if now.since(started) >= policy.stable_after {
            self.in_a_row = 0;
        }
        self.crashes.retain(|at| now.since(*at) < policy.window);
        self.crashes.push_back(now);
        if self.crashes.len() > policy.intensity {
            return Decision::Quarantine;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        Decision::RestartAfter(policy.backoff.delay(self.in_a_row, jitter))
    }

    /// Forgets every crash, because an operator asked for a new start.
    pub fn forgive(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of crashes that still count.
    pub fn recent(&self) -> usize {
        self.crashes.len()
    }
}
