//! The watchdog of all instances, over the real [`holdfast_core::health`]: the counterpart of `src/actors/health.rs`.

use holdfast_core::connection::{Phase, State};
use holdfast_core::health::{Due as Wanted, Watchdog, mismatch};
use holdfast_core::id::Generation;
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;
use std::time::Duration;

use super::World;
use super::fate::{Due, Inbox, Stamp, Word};
use super::gate::{name, number};
use super::scribe::Pages;
use crate::bugs::Bug;

/// How often the whole board is searched.
const SWEEP: u64 = 30_000;
/// What may pass beyond the look at an instance until it is told.
const TOLD_WITHIN: u64 = 1_000;

/// The watchdog's actor.
pub(crate) struct Health {
    watchdog: Watchdog,
    /// Counts its timers; only the newest is armed.
    timers: u64,
}

impl Health {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { watchdog: Watchdog::new(interval), timers: 0 }
    }
}

impl World<'_> {
    /// Sends a word to the watchdog; words arrive in order, once it turns.
    pub(crate) fn tell_health(&mut self, i: usize, stamp: Stamp, word: Word) {
        let at = (self.now + 1).max(self.weather.watchdog_stuck_until);
        self.later(at, Due::Watched { i, stamp, word });
    }

    pub(crate) fn watched(&mut self, i: usize, stamp: Stamp, word: Word) {
        if stamp.epoch != self.service.epoch {
            return;
        }
        let generation = Generation(stamp.generation);
        let watchdog = &mut self.service.health.watchdog;
        match word {
            Word::Watch => watchdog.watch(name(i), generation),
            Word::Unwatch => {
                watchdog.unwatch(&name(i), generation);
            }
            Word::Proven { ping, stale } => watchdog.proven(&name(i), generation, ping, stale),
        }
        self.rearm_health();
    }

    fn rearm_health(&mut self) {
        self.service.health.timers += 1;
        let (epoch, token) = (self.service.epoch, self.service.health.timers);
        if let Some(at) = self.service.health.watchdog.deadline() {
            let late =
                if self.has(Bug::PingLate) { 2 * self.rules.policy.proof_window().as_millis() as u64 } else { 0 };
            self.later(at.as_millis().max(self.now) + late, Due::Health { epoch, token });
        }
    }

    pub(crate) fn health_due(&mut self, epoch: u64, token: u64) {
        if epoch != self.service.epoch || token != self.service.health.timers {
            return;
        }
        if self.now < self.weather.watchdog_stuck_until {
            return self.later(self.weather.watchdog_stuck_until, Due::Health { epoch, token });
        }
        for due in self.service.health.watchdog.take_due(self.time()) {
            match due {
                Wanted::Ping(id) => {
                    let Some(i) = number(&id) else { continue };
                    let Some(line) = &self.cells[i].line else { continue };
                    let stamp = Stamp { epoch, generation: line.generation };
                    self.later(self.now + 1, Due::Deliver { i, stamp, what: Inbox::Ping });
                }
                Wanted::Look(id) => number(&id).into_iter().for_each(|i| self.look(i)),
            }
        }
        self.rearm_health();
    }

    pub(crate) fn sweep_later(&mut self) {
        self.later(self.now + SWEEP, Due::Sweep { epoch: self.service.epoch });
    }

    pub(crate) fn sweep(&mut self, epoch: u64) {
        if epoch != self.service.epoch {
            return;
        }
        if self.now >= self.weather.watchdog_stuck_until {
            (0..self.cells.len()).for_each(|i| self.look(i));
        }
        self.sweep_later();
    }

    /// Corrects an instance that still says online although its proof has run out.
    fn look(&mut self, i: usize) {
        if self.has(Bug::LookForgotten) {
            return;
        }
        let now = self.time();
        let Some(status) = self.cells[i].board.as_ref().and_then(|status| mismatch(status, now)) else { return };
        let state = status.state_at(now);
        self.cells[i].board = Some(status);
        let generation = self.cells[i].line.as_ref().map_or(0, |line| line.generation);
        self.story(|| format!("instance {i} claims to be online without proof; it is reported as suspect"));
        self.submit(i, Stamp { epoch: self.service.epoch, generation }, Pages::state(state));
    }

    /// Looks, once a claim has run out, whether it is still told.
    pub(crate) fn look_after(&mut self, i: usize, fresh_until: Timestamp) {
        let grace = holdfast_core::health::GRACE.as_millis() as u64 + TOLD_WITHIN;
        let epoch = self.service.epoch;
        self.later(fresh_until.as_millis().saturating_add(grace), Due::RunOut { i, epoch, fresh_until });
    }

    pub(crate) fn run_out(&mut self, i: usize, epoch: u64, fresh_until: Timestamp) {
        if epoch != self.service.epoch {
            return;
        }
        if self.now < self.weather.watchdog_stuck_until + TOLD_WITHIN {
            return self.later(self.weather.watchdog_stuck_until + TOLD_WITHIN, Due::RunOut { i, epoch, fresh_until });
        }
        let claims = |status: &InstanceStatus| status.phase == Phase::Online && status.fresh_until == Some(fresh_until);
        if self.cells[i].board.as_ref().is_some_and(claims) {
            self.check_told(i);
        }
    }

    /// Tells whether the present connection of an instance ends for want of proof although nothing was lost on it.
    pub(crate) fn ends_for_being_quiet(&self, i: usize, before: &State) -> bool {
        let State::Online { link, .. } = before else { return false };
        let window = self.rules.policy.proof_window().as_millis() as u64;
        let cell = &self.cells[i];
        let recent = |at: u64| self.now < at + 2 * window;
        let live = cell.dials.iter().any(|dial| dial.link == *link && dial.is_heard());
        let excused = recent(cell.plan.stuck_until)
            || recent(self.weather.watchdog_stuck_until)
            || cell.truth.ping_lost.is_some_and(recent);
        live && !excused && self.now > 2 * window
    }
}
