//! The simulated process and its SystemActor: the counterpart of `src/actors/system.rs` and `src/app`.

use std::time::Duration;

use holdfast_core::connection::Event as Command;
use holdfast_core::fleet::Fleet;
use holdfast_core::shutdown::{Budgets, Effect, Event, Phase, Shutdown, ShutdownReport};

use super::cell::{Child, Drain};
use super::fate::{Due, Inbox, Stamp};
use super::health::Health;
use super::restoring::Restoration;
use super::{Rules, World};
use crate::bugs::Bug;

/// The process.
pub(crate) struct Service {
    /// Counts processes; what belongs to an earlier one is void.
    pub(crate) epoch: u64,
    machine: Option<Shutdown>,
    pub(crate) draining: bool,
    /// Who may dial.
    pub(crate) fleet: Fleet,
    /// Counts the timers of the fleet; only the newest is armed.
    pub(crate) turns: u64,
    token: u64,
    /// Instances that were told to stop and of which nothing was heard yet.
    pending: Vec<usize>,
    /// Sentences about those that had to be forced.
    forced: Vec<String>,
    back_after: u64,
    hurried: bool,
    budgets: Budgets,
    pub(crate) health: Health,
    /// What is known of the places.
    pub(crate) restoration: Restoration,
}

impl Service {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self {
            epoch: 0,
            machine: None,
            draining: false,
            fleet: Fleet::new(),
            turns: 0,
            token: 0,
            pending: Vec::new(),
            forced: Vec::new(),
            back_after: 0,
            hurried: false,
            budgets: rules.budgets,
            health: Health::new(rules.policy.health_interval),
            restoration: Restoration::default(),
        }
    }

    /// Tells whether a process runs that takes commands.
    pub(crate) fn is_up(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.phase() == Phase::Running)
    }

    /// Tells whether a process runs.
    pub(crate) fn runs(&self) -> bool {
        self.machine.is_some()
    }
}

impl World<'_> {
    pub(crate) fn process_up(&mut self) {
        if self.weather.store_down(self.now) {
            return self.later(self.weather.store_down_until + 100, Due::ProcessUp);
        }
        if self.service.runs() {
            return;
        }
        let epoch = self.service.epoch + 1;
        let machine = Some(Shutdown::new(self.rules.budgets));
        self.service = Service { epoch, machine, ..Service::new(&self.rules) };
        self.story(|| "a process starts".to_owned());
        self.feed_system(Event::Booted);
        for i in 0..self.cells.len() {
            let truth = &mut self.cells[i].truth;
            truth.terminal = false;
            truth.doubt_from = 0;
            truth.dials.clear();
            truth.crashes.clear();
            truth.restarts.clear();
            self.cells[i].copying = [false; 2];
        }
        self.ask_places();
        self.begin_what_may();
        self.sweep_later();
        self.refresh_later();
    }

    /// The process is gone, and with it everything that was not on disk.
    pub(crate) fn process_down(&mut self, back_after: u64) {
        self.service.machine = None;
        self.service.epoch += 1;
        for cell in &mut self.cells {
            cell.actor = None;
            cell.line = None;
            cell.scribes.clear();
            cell.dials.clear();
            cell.board = None;
            cell.drain = None;
            cell.plan.panics = 0;
            cell.plan.panics_when_paired = false;
            cell.plan.stuck_until = 0;
        }
        self.service.restoration = Restoration::default();
        self.nobody_can_know();
        self.later(self.now + back_after, Due::ProcessUp);
    }

    /// The service is told to stop.
    pub(crate) fn terminate(&mut self, back_after: u64) {
        let Some(machine) = &self.service.machine else { return };
        self.service.back_after = back_after;
        if machine.phase() == Phase::Running {
            let limit = self.now + self.service.budgets.total().as_millis() as u64 + 1_000;
            self.later(limit, Due::Overdue { epoch: self.service.epoch });
            self.feed_system(Event::Begin);
        } else {
            self.service.hurried = true;
            self.feed_system(Event::Force);
        }
    }

    pub(crate) fn terminate_again(&mut self) {
        if self.service.machine.as_ref().is_some_and(|machine| machine.phase() > Phase::Running) {
            self.terminate(self.service.back_after);
        }
    }

    fn feed_system(&mut self, event: Event) {
        let Some(machine) = self.service.machine.take() else { return };
        let (machine, effects) = machine.step(event, self.time());
        let due = machine.deadline();
        self.service.machine = Some(machine);
        let epoch = self.service.epoch;
        // Phases that are over at once have been entered and left before the timer of this one is armed.
        self.service.token += 1;
        let token = self.service.token;
        if let Some(at) = due
            && !self.has(Bug::ShutdownWaits)
        {
            self.later(at.as_millis(), Due::PhaseElapsed { epoch, token });
        }
        for effect in effects {
            match effect {
                Effect::Enter { phase, within } => self.enter(phase, within),
                Effect::Exit(report) => self.exit(&report),
            }
        }
    }

    fn enter(&mut self, phase: Phase, within: Duration) {
        self.story(|| format!("the service is {}, for {} ms at most", phase.as_str(), within.as_millis()));
        let epoch = self.service.epoch;
        let within = within.as_millis() as u64;
        match phase {
            Phase::Draining => self.drain_all(within),
            Phase::Quiescing => self.later(self.now, Due::PhaseDone { epoch, phase, forced: Vec::new() }),
            Phase::Flushing => {
                let takes = if self.random.chance(10) { within * 10 } else { self.random.below(within / 2) };
                self.later(self.now + takes, Due::PhaseDone { epoch, phase, forced: Vec::new() });
            }
            Phase::Closing => {
                let takes = if self.weather.store_down(self.now) { within * 20 } else { self.random.below(200) };
                self.later(self.now + takes, Due::PhaseDone { epoch, phase, forced: Vec::new() });
            }
            Phase::Boot | Phase::Running | Phase::Stopped => {}
        }
    }

    fn drain_all(&mut self, within: u64) {
        self.service.draining = true;
        let margin = within / 10;
        let epoch = self.service.epoch;
        for i in 0..self.cells.len() {
            let Some(line) = &self.cells[i].line else { continue };
            match line.child {
                Child::Running { .. } => {
                    let stamp = Stamp { epoch, generation: line.generation };
                    self.cells[i].drain = Some(Drain::Pending);
                    self.service.pending.push(i);
                    let event = Command::Shutdown { within: Duration::from_millis(within - margin) };
                    self.later(self.now + 1, Due::Deliver { i, stamp, what: Inbox::Command(event) });
                    // What is still missing is named while the phase lasts.
                    self.later(self.now + within - margin / 2, Due::DrainGivesUp { i, epoch });
                }
                Child::Restarting { .. } | Child::Reading { .. } => {
                    self.stop_without_actor(i);
                    self.await_rows(i, within - margin);
                }
                Child::Quarantined | Child::Ended => self.await_rows(i, within - margin),
            }
        }
        self.look_whether_drained();
    }

    /// Waits until what is to be written of an instance without an actor is.
    fn await_rows(&mut self, i: usize, within: u64) {
        self.cells[i].drain = Some(Drain::Writing);
        self.service.pending.push(i);
        self.later(self.now + within, Due::DrainGivesUp { i, epoch: self.service.epoch });
    }

    pub(crate) fn drain_gives_up(&mut self, i: usize, epoch: u64) {
        if epoch == self.service.epoch
            && self.service.pending.contains(&i)
            && matches!(self.cells[i].drain, Some(Drain::Pending | Drain::Writing))
        {
            self.service.pending.retain(|pending| *pending != i);
            self.service.forced.push(format!("instance {i} did not end in its time"));
            self.look_whether_drained();
        }
    }

    pub(crate) fn look_whether_drained(&mut self) {
        if !self.service.draining {
            return;
        }
        for i in std::mem::take(&mut self.service.pending) {
            let (outcome, written) = (self.cells[i].drain, self.is_written(i));
            match outcome {
                Some(Drain::Clean) => {}
                Some(Drain::Writing) if written => self.cells[i].drain = Some(Drain::Clean),
                Some(Drain::Cut) => {
                    self.service.forced.push(format!("instance {i} was cut before it was saved and closed"));
                }
                _ => self.service.pending.push(i),
            }
        }
        if self.service.pending.is_empty() {
            let forced = std::mem::take(&mut self.service.forced);
            let forced = if self.has(Bug::ReportKeepsSilent) { Vec::new() } else { forced };
            let epoch = self.service.epoch;
            self.later(self.now, Due::PhaseDone { epoch, phase: Phase::Draining, forced });
        }
    }

    pub(crate) fn phase_elapsed(&mut self, epoch: u64, token: u64) {
        if epoch == self.service.epoch && token == self.service.token {
            self.feed_system(Event::Elapsed);
        }
    }

    pub(crate) fn phase_done(&mut self, epoch: u64, phase: Phase, forced: Vec<String>) {
        if epoch == self.service.epoch {
            self.feed_system(Event::PhaseDone { phase, forced });
        }
    }

    fn exit(&mut self, report: &ShutdownReport) {
        self.story(|| format!("the process ends, {report:?}"));
        self.check_report(report, self.service.hurried);
        self.last_copies();
        self.process_down(self.service.back_after);
    }
}
