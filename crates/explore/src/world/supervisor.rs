//! The simulated supervisor, the counterpart of `src/actors/supervisor`.

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, DownReason, Event, Method, Phase};
use holdfast_core::expiry::{self, Candidate};
use holdfast_core::fleet::Standing;
use holdfast_core::id::{Epoch, LinkId, Revision};
use holdfast_core::restoration::Mark;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::{CrashRecord, Decision, ExitReason};
use holdfast_core::time::Timestamp;
use std::time::Duration;

use super::World;
use super::cell::{Child, Drain, Line, Row, Stored, Truth};
use super::fate::{Due, Exit, Inbox, Stamp, Word};
use super::places::Login;
use super::scribe::{Pages, Scribe};
use crate::bugs::Bug;
use crate::history::Wish;

const GONE: u64 = 15_000;
const ANSWER: u64 = 2_000;

impl World<'_> {
    /// Puts an instance on the roster.
    pub(crate) fn enlist(&mut self, i: usize) {
        let Some(row) = self.cells[i].stored.row else { return };
        if self.cells[i].line.is_some() || self.service.draining {
            return;
        }
        self.cells[i].line = Some(Line {
            generation: 0,
            child: Child::Ended,
            crashes: CrashRecord::default(),
            last_link: LinkId(0),
            desired: row.desired,
            known: Some((row.paired, self.memory(i))),
            believed: row.paired,
            unread: 0,
            waiting: Vec::new(),
            deletion: None,
            expires: false,
        });
        let phase = match (row.paired, row.desired) {
            (false, _) => Phase::Unpaired,
            (true, Desired::Stopped) => Phase::Parked,
            (true, Desired::Connected) => Phase::Waiting,
        };
        let epoch = self.service.epoch;
        let cell = &mut self.cells[i];
        cell.board = Some(InstanceStatus::without_actor(phase, Timestamp::from_millis(self.now), row.paired, false));
        cell.scribes.push(Scribe::new(epoch, row.state));
        self.touched.push(i);
        // It dials in its turn.
        self.start_child(i);
    }

    pub(crate) fn start_child(&mut self, i: usize) {
        let (now, epoch) = (self.now, self.service.epoch);
        let Some(line) = &mut self.cells[i].line else { return };
        if matches!(line.child, Child::Running { .. }) {
            return;
        }
        let Some((paired, memory)) = line.known.take() else { return self.read_row(i) };
        line.generation += 1;
        line.child = Child::Running { since: now };
        let waiting = std::mem::take(&mut line.waiting);
        let stamp = Stamp { epoch, generation: line.generation };
        self.tell_health(i, stamp, Word::Watch);
        self.start_actor(i, stamp, paired, memory);
        for event in waiting {
            self.later(now + 2, Due::Deliver { i, stamp, what: Inbox::Command(event) });
        }
    }

    fn stamp(&self, i: usize) -> Stamp {
        let generation = self.cells[i].line.as_ref().map_or(0, |line| line.generation);
        Stamp { epoch: self.service.epoch, generation }
    }

    pub(crate) fn child_exited(&mut self, i: usize, epoch: u64, exit: Exit) {
        if epoch != self.service.epoch {
            return;
        }
        let (now, time) = (self.now, self.time());
        let jitter = self.random.unit();
        let restart = self.rules.restart;
        let (forgets, goes_on) = (self.has(Bug::CrashForgetsDesire), self.has(Bug::QuarantineRestarts));
        let Some(line) = &mut self.cells[i].line else { return };
        let Child::Running { since } = line.child else { return };
        if line.generation != exit.generation {
            return;
        }
        let stamp = Stamp { epoch, generation: exit.generation };
        line.last_link = exit.last_link;
        line.believed = exit.paired;
        line.desired = exit.desired;
        if forgets && exit.reason == ExitReason::Panicked {
            line.desired = Desired::Stopped;
        }
        line.child = Child::Ended;
        let (deletion, expires) = (line.deletion.take(), std::mem::take(&mut line.expires));
        let mut decision = line.crashes.decide(exit.reason, Timestamp::from_millis(since), time, jitter, &restart);
        if goes_on && decision == Decision::Quarantine {
            decision = Decision::RestartAfter(Duration::from_secs(1));
        }
        self.tell_health(i, stamp, Word::Unwatch);
        let paired = self.believed(i);
        if let Some(outcome) = &mut self.cells[i].drain {
            *outcome = if exit.clean { Drain::Clean } else { Drain::Cut };
        }
        if matches!(exit.reason, ExitReason::Failed | ExitReason::Panicked) && !forgets {
            // The crash may have come between the wish and its writing.
            self.submit(i, stamp, Pages::wish(exit.desired));
        }
        let wants = matches!(decision, Decision::RestartAfter(_)) && !self.service.draining;
        self.stands_without_actor(i, if wants { Standing::Down { network: false } } else { Standing::Out });
        if self.service.draining || matches!(exit.reason, ExitReason::Normal | ExitReason::Shutdown) {
            self.hang_without_actor(i, Phase::Stopped, paired, false);
        } else {
            match decision {
                Decision::Leave => self.hang_without_actor(i, Phase::Stopped, paired, false),
                Decision::RestartAfter(wait) => {
                    self.hang_without_actor(i, Phase::BackingOff, paired, false);
                    let token = self.cells[i].next_token();
                    if let Some(line) = &mut self.cells[i].line {
                        line.child = Child::Restarting { token };
                    }
                    let at = now + wait.as_millis() as u64;
                    self.later(at, Due::Restart { i, epoch, token });
                }
                Decision::Quarantine => {
                    self.story(|| format!("instance {i} is quarantined"));
                    if let Some(line) = &mut self.cells[i].line {
                        line.child = Child::Quarantined;
                    }
                    self.hang_without_actor(i, Phase::Parked, paired, true);
                    self.check_quarantine(i);
                }
            }
            if self.has(Bug::CrashSpreads) && exit.reason == ExitReason::Panicked {
                let next = (i + 1) % self.cells.len();
                self.actor_dies(next, ExitReason::Failed, false);
                self.touched.push(next);
            }
        }
        match deletion {
            Some(_) if expires => self.expired(i, exit.clean),
            Some(_) => self.strike_off(i),
            None => {}
        }
        self.look_whether_drained();
    }

    pub(crate) fn restart_due(&mut self, i: usize, epoch: u64, token: u64) {
        let waits = self.cells[i].line.as_ref().is_some_and(|line| line.child == Child::Restarting { token });
        if epoch == self.service.epoch && waits && !self.service.draining {
            self.start_child(i);
        }
    }

    fn hang_without_actor(&mut self, i: usize, phase: Phase, paired: bool, quarantined: bool) {
        self.hang_instead(i, InstanceStatus::without_actor(phase, self.time(), paired, quarantined));
    }

    /// Says of an instance that has no actor and was to get one that it is stopped.
    pub(crate) fn stop_without_actor(&mut self, i: usize) {
        if let Some(line) = &mut self.cells[i].line {
            line.child = Child::Ended;
        }
        let paired = self.believed(i);
        self.hang_without_actor(i, Phase::Stopped, paired, false);
    }

    /// Tells whether all that is to be written of an instance is.
    pub(crate) fn is_written(&self, i: usize) -> bool {
        let mut scribes = self.cells[i].scribes.iter().filter(|scribe| scribe.epoch == self.service.epoch);
        scribes.all(Scribe::is_idle)
    }

    /// Says what an instance is whose actor is gone, in its row too if that is not what was told last.
    pub(crate) fn hang_instead(&mut self, i: usize, status: InstanceStatus) {
        let (state, stamp) = (status.phase.public(), self.stamp(i));
        self.cells[i].board = Some(status);
        self.touched.push(i);
        if self.scribe(i, stamp).is_some_and(|scribe| scribe.told != state) {
            self.submit(i, stamp, Pages::state(state));
        }
    }

    /// An operator asks something over HTTP.
    pub(crate) fn ask(&mut self, i: usize, wish: Wish) {
        if wish == Wish::Create {
            return self.create(i);
        }
        if !self.service.is_up() || self.service.draining {
            return;
        }
        let Some(line) = &self.cells[i].line else { return };
        // While it is being deleted because nobody paired it, nobody reaches it.
        if line.expires || (wish == Wish::Expire && line.deletion.is_some()) {
            return;
        }
        let runs = self.cells[i].line.as_ref().is_some_and(|line| matches!(line.child, Child::Running { .. }));
        let event = match wish {
            Wish::Connect => Event::Connect { method: Method::Qr },
            Wish::ConnectWithCode => Event::Connect { method: Method::Code("5511999999999".to_owned()) },
            Wish::Restart => Event::Restart,
            Wish::LogOut => Event::LogOut,
            Wish::Delete if !runs => {
                self.cells[i].truth.delete_asked = true;
                return self.strike_off(i);
            }
            Wish::Delete => Event::Delete { within: Duration::from_millis(GONE) },
            // Of one without an actor nothing is under way: only its row decides.
            Wish::Expire if !runs => return,
            Wish::Expire if !self.is_due(i) => return,
            Wish::Expire => Event::Expire,
            Wish::Create => return,
        };
        if matches!(wish, Wish::Delete | Wish::Expire) {
            let token = self.cells[i].next_token();
            self.cells[i].truth.delete_asked |= wish == Wish::Delete;
            if let Some(line) = &mut self.cells[i].line {
                line.deletion = Some(token);
                line.expires = wish == Wish::Expire;
            }
            self.later(self.now + GONE + ANSWER, Due::GoneBy { i, epoch: self.service.epoch, token });
        }
        self.cells[i].truth.restarts.clear();
        if runs {
            let stamp = self.stamp(i);
            return self.later(self.now + 2, Due::Deliver { i, stamp, what: Inbox::Command(event) });
        }
        if let Some(line) = &mut self.cells[i].line {
            line.waiting.push(event);
        }
        self.start_child(i);
    }

    /// Tells whether an instance whose time is over is to be deleted.
    fn is_due(&self, i: usize) -> bool {
        let (cell, unheard) = (&self.cells[i], self.service.restoration.was_unheard(i));
        let ever_paired = cell.stored.row.is_none_or(|row| row.ever_paired) || self.weather.store_down(self.now);
        let phase = cell.board.as_ref().map_or(Phase::Waiting, |status| status.phase);
        expiry::decide(Candidate { ever_paired, unheard, phase }) == expiry::Decision::Delete
    }

    /// Notes what follows from a command that an actor carries out.
    pub(crate) fn notice_command(&mut self, i: usize, event: &Event) {
        let truth = &mut self.cells[i].truth;
        if matches!(event, Event::Connect { .. } | Event::Restart) {
            truth.terminal = false;
            truth.dials.clear();
        }
        truth.unlink_asked |= matches!(event, Event::LogOut | Event::Delete { .. });
    }

    fn create(&mut self, i: usize) {
        if !self.cells[i].cast
            || self.cells[i].stored.row.is_some()
            || !self.service.is_up()
            || self.weather.store_down(self.now)
        {
            return;
        }
        // The name of an instance of which there are copies is taken.
        if !self.cells[i].stored.departed && self.cells[i].copies.iter().any(Option::is_some) {
            return;
        }
        let (mark, login) = (Mark { epoch: Epoch(0), revision: Revision(0) }, Login { device: 0, chains: 0, used: 0 });
        let (desired, state) = (Desired::Stopped, PublicState::Close);
        let row = Row { paired: false, ever_paired: false, desired, state, mark, login, damaged: false };
        let cell = &mut self.cells[i];
        // It is another one, with an id of its own.
        cell.stored = Stored { row: Some(row), ..Stored::default() };
        cell.backup = Stored::default();
        cell.copies = [None; 2];
        cell.dials.clear();
        cell.truth = Truth::default();
        self.service.restoration.is_made(i);
        self.enlist(i);
    }

    pub(crate) fn deletion_over(&mut self, i: usize, epoch: u64, token: u64) {
        if epoch == self.service.epoch
            && let Some(line) = &mut self.cells[i].line
            && line.deletion == Some(token)
        {
            line.deletion = None;
            line.expires = false;
        }
    }

    /// The machine has let go of an instance that nobody paired. What is stored has the last word.
    fn expired(&mut self, i: usize, clean: bool) {
        let was_paired = self.cells[i].stored.row.is_some_and(|row| row.ever_paired);
        if !clean {
            // It crashed instead, and is restarted as after any crash.
        } else if was_paired || self.weather.store_down(self.now) {
            self.start_child(i);
        } else {
            self.check_expired(i);
            self.strike_off(i);
        }
    }

    /// It is in use, and does not expire.
    pub(crate) fn stays(&mut self, i: usize) {
        if let Some(line) = &mut self.cells[i].line
            && std::mem::take(&mut line.expires)
        {
            line.deletion = None;
        }
    }

    fn strike_off(&mut self, i: usize) {
        self.story(|| format!("instance {i} is deleted"));
        let cell = &mut self.cells[i];
        cell.line = None;
        cell.board = None;
        cell.stored = Stored { departed: true, ..Stored::default() };
        cell.scribes.clear();
        self.leaves_the_fleet(i);
        self.login_ended(i);
    }

    /// What WhatsApp says to an instance, over its connection or at the next login.
    pub(crate) fn ending(&mut self, i: usize, why: DownReason) {
        match self.connected(i) {
            Some((stamp, link)) => self.told(i, stamp, link, why),
            None => self.cells[i].plan.ending = Some(why),
        }
    }
}
