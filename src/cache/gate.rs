//! Whether Redis is asked at all, and what is said of its silence: a word when it falls silent, one when it is back, little in between.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::delivery::breaker::{Admission, Breaker, BreakerPolicy, Change, Said};
use holdfast_core::time::Timestamp;

use crate::ports::chance;
use crate::ports::clock::Clock;

/// Between two lines about the same trouble.
const QUIET: Duration = Duration::from_secs(60);

const POLICY: BreakerPolicy =
    BreakerPolicy { threshold: 3, backoff: Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(15) } };

/// The breaker in front of Redis.
pub(super) struct Gate {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    breaker: Breaker,
    /// When a line was last written, and how many were kept back since.
    said_at: Option<Timestamp>,
    kept_back: u32,
}

/// The permission to ask once. One that is dropped unused says that nothing was learnt.
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    probe: bool,
    used: bool,
}

impl Gate {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Asks for permission; `None` while Redis is left alone.
    pub(super) fn pass(&self) -> Option<Pass<'_>> {
        let mut state = self.lock();
        let probe = match state.breaker.admits(self.clock.now()) {
            Admission::Free => false,
            Admission::Probe => true,
            Admission::Nothing { .. } => return None,
        };
        if probe {
            state.breaker = state.breaker.probing();
        }
        Some(Pass { gate: self, probe, used: false })
    }

    fn heard(&self, said: Said, probe: bool, why: &str) {
        let now = self.clock.now();
        let mut state = self.lock();
        let (breaker, change) = state.breaker.heard(said, probe, POLICY, now, chance::unit());
        state.breaker = breaker;
        let quiet = state.said_at.is_some_and(|at| now < at.after(QUIET));
        if change.is_none() || quiet {
            state.kept_back += u32::from(change.is_some());
            return;
        }
        state.said_at = Some(now);
        let kept_back = std::mem::take(&mut state.kept_back);
        drop(state);
        match change {
            Some(Change::Opened) => tracing::warn!(
                why,
                kept_back,
                "Redis does not answer: sessions go on without their copies there, and it is tried again from time to time"
            ),
            Some(Change::Closed) => tracing::info!(kept_back, "Redis answers again"),
            None => {}
        }
    }

    /// Says that Redis refused something, if nothing was said for a while.
    pub(super) fn complain(&self, why: &str) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.said_at.is_some_and(|at| now < at.after(QUIET)) {
            state.kept_back += 1;
            return;
        }
        state.said_at = Some(now);
        let kept_back = std::mem::take(&mut state.kept_back);
        drop(state);
        tracing::warn!(why, kept_back, "Redis refuses what it is asked");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Notes that it answered.
    pub(super) fn alive(mut self) {
        self.used = true;
        self.gate.heard(Said::Alive, self.probe, "");
    }

    /// Notes that it did not.
    pub(super) fn failed(mut self, why: &str) {
        self.used = true;
        self.gate.heard(Said::AtFault { retry_after: None }, self.probe, why);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.gate.heard(Said::Nothing, self.probe, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_closes_after_three_failures_and_lets_one_probe_through_at_a_time() {
        let gate = Gate::new(Clock::start());
        for _ in 0..3 {
            gate.pass().expect("it is asked").failed("refused");
        }
        assert!(gate.pass().is_none(), "it is left alone");
        tokio::time::advance(Duration::from_secs(1)).await;
        let probe = gate.pass().expect("a probe");
        assert!(gate.pass().is_none(), "one at a time");
        probe.failed("refused");
        assert!(gate.pass().is_none());
        tokio::time::advance(Duration::from_secs(2)).await;
        gate.pass().expect("the next probe").alive();
        assert!(gate.pass().is_some() && gate.pass().is_some(), "it is back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_has_gone_does_not_keep_it_closed() {
        let gate = Gate::new(Clock::start());
        for _ in 0..3 {
            gate.pass().expect("it is asked").failed("refused");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(gate.pass().expect("a probe"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(gate.pass().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_written_once_a_minute_at_most() {
        let gate = Gate::new(Clock::start());
        for _ in 0..3 {
            gate.pass().expect("it is asked").failed("refused");
        }
        for _ in 0..5 {
            gate.complain("no memory");
        }
        assert_eq!(gate.lock().kept_back, 5);
        tokio::time::advance(QUIET).await;
        gate.complain("no memory");
        assert_eq!(gate.lock().kept_back, 0);
    }
}
