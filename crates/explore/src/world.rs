//! The world in which the decisions live: one queue of what is due, ordered by time, and everything that it is due for.

mod actor;
pub(crate) mod cell;
mod driver;
mod ending;
mod fate;
mod gate;
mod health;
pub(crate) mod places;
mod reading;
mod restoring;
mod scribe;
mod service;
mod supervisor;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::Policy;
use holdfast_core::fleet;
use holdfast_core::shutdown::Budgets;
use holdfast_core::supervision::RestartPolicy;
use holdfast_core::time::Timestamp;

use crate::bugs::Bug;
use crate::checks::Violation;
use crate::history::History;
use crate::random::Random;
use cell::Cell;
pub(crate) use driver::Dial;
pub(crate) use fate::{Due, Stamp};
use service::Service;

/// The rules that hold in this world.
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) restart: RestartPolicy,
    pub(crate) fleet: fleet::Policy,
    pub(crate) budgets: Budgets,
}

impl Rules {
    fn drawn(random: &mut Random) -> Self {
        let cap = if random.chance(50) { 300 } else { 10 };
        let redial = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(cap) };
        let takeover = Backoff { base: Duration::from_secs(60), cap: Duration::from_secs(600) };
        Self {
            policy: Policy { redial, takeover, ..Policy::default() },
            restart: RestartPolicy {
                intensity: 5,
                window: Duration::from_secs(60),
                backoff: redial,
                stable_after: Duration::from_secs(30),
            },
            fleet: fleet::Policy::default(),
            budgets: Budgets::within(Duration::from_secs(30)),
        }
    }
}

/// Until when what all instances share is out of order.
#[derive(Default)]
pub(crate) struct Weather {
    pub(crate) host_down_until: u64,
    pub(crate) store_down_since: u64,
    pub(crate) store_down_until: u64,
    pub(crate) store_slow_until: u64,
    pub(crate) watchdog_stuck_until: u64,
    /// Until when Redis and the files say nothing.
    pub(crate) silent_until: [u64; 2],
}

impl Weather {
    pub(crate) fn store_down(&self, now: u64) -> bool {
        now < self.store_down_until
    }
}

struct Entry {
    at: u64,
    seq: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// How a history went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// Steps that were taken: one for each thing that came due.
    pub steps: u64,
    /// Steps of machines.
    pub machine_steps: u64,
    /// The time that passed in it, in milliseconds.
    pub span: u64,
    /// Dials.
    pub dials: u64,
    /// Times at which an instance became open.
    pub opened: u64,
    /// Copies that were written into the database.
    pub adopted: u64,
    /// Decisions that had an effect, by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// A digest of everything that happened.
    pub trace: u64,
    /// The story, if it was to be told.
    pub story: Vec<String>,
}

/// The world.
pub struct World<'a> {
    pub(crate) now: u64,
    seq: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    pub(crate) history: &'a History,
    pub(crate) rules: Rules,
    pub(crate) bug: Option<Bug>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) service: Service,
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    pub(crate) outcome: Outcome,
    /// The instances whose status changed in the present step.
    pub(crate) touched: Vec<usize>,
    tells: bool,
    calm_from: u64,
    finished: bool,
}

/// Lives a history to its end, or to the first promise that is broken.
pub fn live(history: &History, bug: Option<Bug>, tells: bool) -> Outcome {
    let mut world = World::new(history, bug, tells);
    world.run();
    world.outcome.span = world.now;
    world.outcome
}

impl<'a> World<'a> {
    fn new(history: &'a History, bug: Option<Bug>, tells: bool) -> Self {
        let mut random = Random::of(history.seed, 1);
        let rules = Rules::drawn(&mut random);
        let cells = (0..history.shape.instances).map(|i| Cell::drawn(history.seed, i, history.cast.contains(&i)));
        let mut world = Self {
            now: 0,
            seq: 0,
            queue: BinaryHeap::new(),
            history,
            bug,
            cells: cells.collect(),
            service: Service::new(&rules),
            rules,
            random,
            weather: Weather::default(),
            outcome: Outcome { trace: 0xcbf2_9ce4_8422_2325, ..Outcome::default() },
            touched: Vec::new(),
            tells,
            calm_from: history.calm_from(),
            finished: false,
        };
        for (number, decision) in history.decisions.iter().enumerate() {
            world.later(decision.at, Due::Decide(number));
        }
        world.later(0, Due::ProcessUp);
        world.later(world.calm_from, Due::Calm);
        world
    }

    fn run(&mut self) {
        while let Some(Reverse(Entry { at, due, .. })) = self.queue.pop() {
            self.now = self.now.max(at);
            self.outcome.steps += 1;
            let about = due.instance();
            self.digest(&[self.now, about.map_or(u64::MAX, |i| i as u64), due.number()]);
            self.touched.clear();
            self.handle(due);
            self.check_isolation(about);
            if self.finished || self.outcome.violation.is_some() {
                return;
            }
        }
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Decide(number) => self.decide(number),
            Due::Deliver { i, stamp, what } => self.arrive(i, stamp, what),
            Due::Wake { i, stamp } => self.wake(i, stamp),
            Due::Net { i, stamp, link, step } => self.net(i, stamp, link, step),
            Due::Written { i, stamp } => self.written(i, stamp),
            Due::Exited { i, epoch, exit } => self.child_exited(i, epoch, exit),
            Due::Restart { i, epoch, token } => self.restart_due(i, epoch, token),
            Due::RowRead { i, epoch, token, late } => self.row_read(i, epoch, token, late),
            Due::Stands { i, stamp, standing } => self.stands(i, stamp, standing),
            Due::Turns { epoch, token } => self.turns_due(epoch, token),
            Due::Watched { i, stamp, word } => self.watched(i, stamp, word),
            Due::Health { epoch, token } => self.health_due(epoch, token),
            Due::Sweep { epoch } => self.sweep(epoch),
            Due::RunOut { i, epoch, fresh_until } => self.run_out(i, epoch, fresh_until),
            Due::Copied { i, layer, epoch } => self.copied(i, layer, epoch),
            Due::Refresh { epoch } => self.refresh(epoch),
            Due::Adopted { i, epoch, facts } => self.adopted(i, epoch, *facts),
            Due::Asked { epoch } => self.asked(epoch),
            Due::GoneBy { i, epoch, token } => self.deletion_over(i, epoch, token),
            Due::DrainGivesUp { i, epoch } => self.drain_gives_up(i, epoch),
            Due::PhaseElapsed { epoch, token } => self.phase_elapsed(epoch, token),
            Due::PhaseDone { epoch, phase, forced } => self.phase_done(epoch, phase, forced),
            Due::Overdue { epoch } => self.check_overdue(epoch),
            Due::ProcessUp => self.process_up(),
            Due::Calm => self.calm(),
            Due::Tick => self.tick(),
        }
    }

    fn calm(&mut self) {
        self.story(|| "from here on nothing goes wrong any more".to_owned());
        for cell in &mut self.cells {
            cell.plan = cell::Plan::default();
        }
        self.later(self.now, Due::Tick);
    }

    /// Looks whether everything is as it should be once nothing goes wrong any more.
    fn tick(&mut self) {
        let unsettled = self.unsettled();
        let Some(found) = unsettled else {
            self.finished = true;
            return;
        };
        if self.now > self.calm_from + crate::checks::SETTLES_WITHIN {
            self.outcome.violation = Some(found);
        } else {
            self.later(self.now + 5_000, Due::Tick);
        }
    }

    pub(crate) fn later(&mut self, at: u64, due: Due) {
        self.seq += 1;
        self.queue.push(Reverse(Entry { at, seq: self.seq, due }));
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn story(&mut self, line: impl FnOnce() -> String) {
        if self.tells {
            let at = self.now as f64 / 1_000.0;
            self.outcome.story.push(format!("{at:>9.3} s  {}", line()));
        }
    }

    pub(crate) fn digest(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.outcome.trace = (self.outcome.trace ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }
}
