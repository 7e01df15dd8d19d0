//! What must hold after every step, judged against what is true in the world.

mod credentials;
mod stopping;

use std::fmt;

use holdfast_core::connection::{Desired, Phase, State};
use holdfast_core::id::LinkId;

use crate::world::World;
use crate::world::cell::Child;

/// How long it may take until everything is as it should be once nothing goes wrong any more, in milliseconds: the longest wait of
/// a takeover, and a backoff and a login after it.
pub const SETTLES_WITHIN: u64 = 1_100_000;
/// What a crash may take to be told.
const SLACK: u64 = 1_000;
/// Dials of one instance in [`DIAL_WINDOW`] without an operator's doing: a stable connection is lost at most every half minute, and
/// the backoff allows few more.
const MOST_DIALS: usize = 60;
/// The same where no wait is longer than ten seconds.
const MOST_DIALS_SHORT: usize = 110;
const DIAL_WINDOW: u64 = 600_000;
/// Messages that an actor takes within one millisecond.
const BUSY: u32 = 200;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise, and what of it, as one word.
    pub check: &'static str,
    /// Whose, if it is about one instance.
    pub instance: Option<usize>,
    /// When, in milliseconds.
    pub at: u64,
    /// A sentence.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {:.3} s)", self.check, self.text, self.at as f64 / 1_000.0)
    }
}

impl World<'_> {
    fn broken(&mut self, check: &'static str, instance: Option<usize>, text: impl Into<String>) {
        if self.outcome.violation.is_none() {
            self.outcome.violation = Some(Violation { check, instance, at: self.now, text: text.into() });
        }
    }

    /// P1: a status says open no longer than its proof carries, and the proof is of its own link. A proof counts from when it was seen,
    /// however long its actor stood still.
    pub(crate) fn check_open(&mut self, i: usize) {
        let window = self.rules.policy.proof_window().as_millis() as u64;
        let Some(status) = self.cells[i].board.as_ref().filter(|status| status.phase == Phase::Online) else { return };
        let link = LinkId(status.link);
        let until = status.fresh_until.map_or(u64::MAX, holdfast_core::time::Timestamp::as_millis);
        match self.cells[i].truth.life.get(&link).copied() {
            None => self.broken(
                "P1-proof",
                Some(i),
                format!("instance {i} is open, and nothing was ever heard on link {link}"),
            ),
            Some(life) if until > life + window => self.broken(
                "P1-proof",
                Some(i),
                format!("instance {i} is open until {until} ms, but its last sign of life was at {life} ms"),
            ),
            Some(_) => {}
        }
    }

    /// P1: what has run out is told as such, even if its actor does not turn.
    pub(crate) fn check_told(&mut self, i: usize) {
        self.broken("P1-told", Some(i), format!("instance {i} is told to be open, and nothing backs that any more"));
    }

    /// P5: an account is not connected anew because it is quiet.
    pub(crate) fn check_quiet(&mut self, i: usize, before: &State) {
        if self.ends_for_being_quiet(i, before) {
            self.broken("P5-quiet", Some(i), format!("instance {i} ends a connection on which nothing was lost"));
        }
    }

    /// P2: at most one dial of an instance is under way whose socket could still write.
    pub(crate) fn check_one_socket(&mut self, i: usize) {
        let live = self.cells[i].dials.iter().filter(|dial| dial.may_write()).count();
        if live > 1 {
            self.broken("P2-one-socket", Some(i), format!("instance {i} has {live} sockets that could write"));
        }
    }

    /// P5: nothing waits without a deadline; and a deadline that has passed does not make the actor spin.
    pub(crate) fn check_machine(&mut self, i: usize) {
        let Some(actor) = &self.cells[i].actor else { return };
        let (state, link) = (actor.machine.state.clone(), actor.machine.link());
        let waits = match &state {
            State::Unpaired | State::Parked { .. } | State::Stopped { .. } => false,
            State::Asking { .. }
            | State::Waiting { .. }
            | State::Connecting { .. }
            | State::Pairing { .. }
            | State::Syncing { .. }
            | State::Online { .. }
            | State::BackingOff { .. }
            | State::LoggingOut { .. }
            | State::Draining { .. } => true,
        };
        if waits && actor.machine.deadline().is_none() {
            self.broken("P5-deadline", Some(i), format!("instance {i} waits without a deadline: {state:?}"));
        }
        if let State::Online { link: open, .. } = state
            && link != Some(open)
        {
            self.broken("P1-link", Some(i), format!("instance {i} is online on link {open} and holds {link:?}"));
        }
    }

    pub(crate) fn check_busy(&mut self, i: usize) {
        let now = self.now;
        let busy = &mut self.cells[i].truth.busy;
        *busy = if busy.0 == now { (now, busy.1 + 1) } else { (now, 1) };
        if busy.1 > BUSY {
            self.broken("P8-spins", Some(i), format!("the actor of instance {i} spins"));
        }
    }

    /// P8: no instance dials in a loop.
    pub(crate) fn check_dial_rate(&mut self, i: usize) {
        let now = self.now;
        let dials = &mut self.cells[i].truth.dials;
        dials.push_back(now);
        while dials.front().is_some_and(|at| at + DIAL_WINDOW < now) {
            dials.pop_front();
        }
        let count = dials.len();
        let short = self.rules.policy.redial.cap < std::time::Duration::from_secs(60);
        if count > if short { MOST_DIALS_SHORT } else { MOST_DIALS } {
            self.broken("P8-dials", Some(i), format!("instance {i} has dialled {count} times in ten minutes"));
        }
    }

    /// P8: what happens to one instance changes no other.
    pub(crate) fn check_isolation(&mut self, about: Option<usize>) {
        let Some(about) = about else { return };
        if let Some(other) = self.touched.iter().copied().find(|i| *i != about) {
            self.broken(
                "P8-isolation",
                Some(other),
                format!("instance {other} was changed by what happened to instance {about}"),
            );
        }
    }

    /// P8: a child that crashes all the time is not started for ever.
    pub(crate) fn check_restarts(&mut self, i: usize) {
        let window = self.rules.restart.window.as_millis() as u64;
        let (now, most) = (self.now, self.rules.restart.intensity);
        let recent = self.cells[i].truth.restarts.iter().filter(|at| *at + window > now).count();
        // The start that belongs to a crash may lag behind it into the next window.
        if recent > most + 1 {
            self.broken("P8-restarts", Some(i), format!("instance {i} was started {recent} times within the window"));
        }
    }

    /// P5: a quarantine has its crashes.
    pub(crate) fn check_quarantine(&mut self, i: usize) {
        let window = self.rules.restart.window.as_millis() as u64 + SLACK;
        let (now, least) = (self.now, self.rules.restart.intensity + 1);
        let recent = self.cells[i].truth.crashes.iter().filter(|at| *at + window > now).count();
        if recent < least {
            self.broken("P5-quarantine", Some(i), format!("instance {i} is quarantined after {recent} crashes"));
        }
    }

    /// P5: once nothing goes wrong any more, everything that should be connected is. Returns the first that is not.
    pub(crate) fn unsettled(&self) -> Option<Violation> {
        let broken = |check, instance, text| Some(Violation { check, instance, at: self.now, text });
        if !self.service.is_up() {
            return broken("P5-process", None, "no process runs".to_owned());
        }
        for (i, cell) in self.cells.iter().enumerate() {
            let (Some(row), Some(line)) = (cell.stored.row, &cell.line) else {
                if cell.truth.device && !cell.truth.delete_asked && !cell.stored.departed {
                    return broken(
                        "P5-restored",
                        Some(i),
                        format!("instance {i} has a login, and was not brought back"),
                    );
                }
                continue;
            };
            if cell.scribes.iter().any(|scribe| !scribe.is_idle()) {
                return broken("P5-rows", Some(i), format!("the rows of instance {i} are not written"));
            }
            if line.desired != row.desired && cell.actor.is_none() {
                return broken(
                    "P5-desire",
                    Some(i),
                    format!("instance {i} has {:?} stored, {:?} wanted", row.desired, line.desired),
                );
            }
            if let Some(actor) = &cell.actor {
                let machine = &actor.machine;
                if machine.desired != row.desired {
                    let text = format!("instance {i} has {:?} stored, {:?} wanted", row.desired, machine.desired);
                    return broken("P5-desire", Some(i), text);
                }
                if machine.paired != row.paired {
                    let text =
                        format!("instance {i}: paired is {} on disk and {} in its actor", row.paired, machine.paired);
                    return broken("P6-credentials", Some(i), text);
                }
            }
            let person = cell.truth.terminal
                || cell.truth.delete_asked
                || line.child == Child::Quarantined
                || !cell.truth.device
                || !row.paired
                || row.damaged
                || row.desired == Desired::Stopped;
            let shown = cell.board.as_ref().map(|status| status.state_at(self.time()));
            if shown.is_some_and(|shown| shown != row.state) {
                return broken(
                    "P1-row",
                    Some(i),
                    format!("instance {i} is {shown:?}, and its row says {:?}", row.state),
                );
            }
            let open = cell.board.as_ref().is_some_and(|status| status.phase_at(self.time()) == Phase::Online);
            if !person && !open {
                let state = cell.actor.as_ref().map(|actor| &actor.machine.state);
                return broken(
                    "P5-connected",
                    Some(i),
                    format!("instance {i} should be connected and is not: {state:?}"),
                );
            }
        }
        None
    }
}
