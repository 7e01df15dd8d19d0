//! The simulated shell of an instance's machine: the counterpart of `src/actors/instance.rs`.

use std::time::Duration;

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, DownReason, Effect, Env, Event, Machine, Memory, Notice, Phase, State};
use holdfast_core::id::LinkId;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::ExitReason;
use holdfast_core::time::Timestamp;

use super::World;
use super::cell::Actor;
use super::fate::{Due, Exit, Inbox, Stamp, Word};
use super::scribe::Pages;
use crate::bugs::Bug;

/// How long the rows of an ended instance may take, in milliseconds.
const LAST_WRITES: u64 = 5_000;

impl World<'_> {
    /// Starts an incarnation, as the supervisor does.
    pub(crate) fn start_actor(&mut self, i: usize, stamp: Stamp, paired: bool, memory: Option<Memory>) {
        let now = self.now;
        let Some(told) = self.scribe(i, stamp).map(|scribe| scribe.told) else { return };
        let told = if self.has(Bug::ToldForgotten) { PublicState::Close } else { told };
        let cell = &mut self.cells[i];
        let Some(line) = &cell.line else { return };
        let (desired, last_link) = (line.desired, line.last_link);
        cell.truth.life.clear();
        cell.actor = Some(Actor {
            stamp,
            machine: Machine::new().after_link(last_link).remembering(memory).having_told(told),
            since: now,
            timer: None,
            mailbox: [Inbox::Boot { paired, desired }].into(),
            waking: false,
            opening: None,
            leaving: None,
            saving: false,
            guard: (last_link, paired, desired),
        });
        self.later(now + 1, Due::Wake { i, stamp });
    }

    pub(crate) fn is_running(&self, i: usize, stamp: Stamp) -> bool {
        self.cells[i].actor.as_ref().is_some_and(|actor| actor.stamp == stamp)
    }

    /// Sends a fact to an actor; those of one incarnation arrive in order.
    pub(crate) fn report(&mut self, i: usize, stamp: Stamp, fact: Event) {
        let cell = &mut self.cells[i];
        let at = (self.now + cell.random.between(1, 25)).max(cell.channel);
        cell.channel = at;
        if self.now < cell.plan.twice_until {
            let again = at + cell.random.between(1, 2_000);
            self.later(again, Due::Deliver { i, stamp, what: Inbox::Fact(fact.clone()) });
        }
        self.later(at, Due::Deliver { i, stamp, what: Inbox::Fact(fact) });
    }

    pub(crate) fn arrive(&mut self, i: usize, stamp: Stamp, what: Inbox) {
        if let Some(actor) = self.cells[i].actor.as_mut().filter(|actor| actor.stamp == stamp) {
            actor.mailbox.push_back(what);
            self.turn(i, stamp);
        }
    }

    pub(crate) fn wake(&mut self, i: usize, stamp: Stamp) {
        if let Some(actor) = self.cells[i].actor.as_mut().filter(|actor| actor.stamp == stamp) {
            actor.waking = false;
            self.turn(i, stamp);
        }
    }

    fn turn(&mut self, i: usize, stamp: Stamp) {
        loop {
            let (now, until) = (self.now, self.cells[i].plan.stuck_until);
            let Some(actor) = self.cells[i].actor.as_mut().filter(|actor| actor.stamp == stamp) else { return };
            if now < until {
                if !std::mem::replace(&mut actor.waking, true) {
                    self.later(until, Due::Wake { i, stamp });
                }
                return;
            }
            let Some(what) = actor.mailbox.pop_front() else { return };
            self.check_busy(i);
            if self.outcome.violation.is_some() {
                return;
            }
            let word = matches!(what, Inbox::Fact(Event::Paired { .. }));
            if word && std::mem::take(&mut self.cells[i].plan.panics_when_paired) {
                self.cells[i].truth.crashes.push(now);
                self.story(|| format!("instance {i}: its actor panics at the word of its pairing"));
                return self.actor_dies(i, ExitReason::Panicked, false);
            }
            let mut panics_after = None;
            if self.cells[i].plan.panics > 0 {
                self.cells[i].plan.panics -= 1;
                self.cells[i].truth.crashes.push(now);
                self.story(|| format!("instance {i}: its actor panics"));
                if self.cells[i].random.chance(30) {
                    return self.actor_dies(i, ExitReason::Panicked, false);
                }
                panics_after = Some(self.cells[i].random.below(3) as usize);
            }
            self.take(i, what, panics_after);
        }
    }

    fn take(&mut self, i: usize, what: Inbox, panics_after: Option<usize>) {
        let event = match what {
            Inbox::Boot { paired, desired } => {
                if paired && desired == Desired::Connected {
                    self.cells[i].truth.doubt_from = self.now;
                }
                Event::Booted { paired, desired }
            }
            Inbox::Fact(event) => {
                // Told again of a link that is gone, it means nothing.
                let present = self.cells[i].actor.as_ref().and_then(|actor| actor.machine.link());
                if matches!(event, Event::Paired { link } if Some(link) == present) {
                    self.cells[i].truth.doubt_from = self.now;
                }
                if let Event::LinkDown { why: DownReason::Outdated | DownReason::Refused { .. }, .. } = &event {
                    self.cells[i].truth.terminal = true;
                }
                event
            }
            Inbox::Command(event) => {
                self.notice_command(i, &event);
                event
            }
            Inbox::Ping => Event::PingDue,
            Inbox::Timer(token) => {
                let Some(actor) = self.cells[i].actor.as_mut().filter(|actor| actor.timer == Some(token)) else {
                    return;
                };
                actor.timer = None;
                Event::Elapsed
            }
            Inbox::OpenGivesUp(link) => {
                let Some(actor) = &mut self.cells[i].actor else { return };
                if actor.opening.take_if(|(opening, ..)| *opening == link).is_none()
                    || actor.machine.link() != Some(link)
                {
                    return;
                }
                Event::LinkDown { link, why: DownReason::StoreUnavailable }
            }
            Inbox::LeaveGivesUp => {
                if self.cells[i].actor.as_ref().is_some_and(|actor| actor.leaving.is_some()) {
                    self.actor_dies(i, ExitReason::Shutdown, false);
                }
                return;
            }
        };
        self.feed(i, event, panics_after);
    }

    /// Takes one step of the machine and carries its effects out.
    fn feed(&mut self, i: usize, event: Event, panics_after: Option<usize>) {
        let jitter = self.cells[i].random.unit();
        let now = self.time();
        let event = self.mistaken(i, event);
        let mut policy = self.rules.policy.clone();
        if self.has(Bug::FlappingResets) {
            policy.stable_after = Duration::ZERO;
        }
        let Some(actor) = &mut self.cells[i].actor else { return };
        let stamp = actor.stamp;
        let was = actor.machine.state.clone();
        let before = was.phase();
        let env = Env { now, jitter, policy: &policy };
        let (machine, effects) = std::mem::take(&mut actor.machine).step(event.clone(), env);
        actor.machine = machine;
        actor.guard = (actor.machine.last_link(), actor.machine.paired, actor.machine.desired);
        let after = actor.machine.state.phase();
        if before != after {
            actor.since = self.now;
            self.story(|| format!("instance {i}: {} -> {} on {}", before.as_str(), after.as_str(), told(&event)));
            if after == Phase::Online {
                self.outcome.opened += 1;
            }
        }
        if event == Event::Expire && effects.iter().any(|effect| matches!(effect, Effect::Refuse(_))) {
            self.stays(i);
        }
        if event == Event::Elapsed && after != Phase::Online {
            self.check_quiet(i, &was);
        }
        self.outcome.machine_steps += 1;
        self.digest(&[i as u64, after as u64, effects.len() as u64]);
        for (number, effect) in effects.into_iter().enumerate() {
            if panics_after == Some(number) {
                return self.actor_dies(i, ExitReason::Panicked, false);
            }
            self.perform(i, stamp, effect);
            if !self.is_running(i, stamp) || self.outcome.violation.is_some() {
                return;
            }
        }
        if panics_after.is_some() {
            return self.actor_dies(i, ExitReason::Panicked, false);
        }
        self.rearm(i, stamp);
        self.hang(i, stamp);
        self.check_machine(i);
    }

    /// Makes the mistakes that are planted in what a machine is told.
    fn mistaken(&mut self, i: usize, event: Event) -> Event {
        let present = self.cells[i].actor.as_ref().and_then(|actor| actor.machine.link());
        let now = self.time();
        match (self.bug, event) {
            (Some(Bug::ProofDatedLate), Event::Proof { link, .. }) => Event::Proof { link, at: now },
            (Some(Bug::ProofDatedLate), Event::Pong { link, .. }) => Event::Pong { link, at: now },
            (Some(Bug::StaleFacts), Event::LinkDown { link, why }) => {
                Event::LinkDown { link: present.unwrap_or(link), why }
            }
            (Some(Bug::StaleFacts), Event::PingFailed { link }) => Event::PingFailed { link: present.unwrap_or(link) },
            (Some(Bug::UpgradeLogsOut), Event::LinkDown { link, why: DownReason::UpgradeRefused { status: 401 } }) => {
                Event::LinkDown { link, why: DownReason::LoggedOut { code: 401 } }
            }
            (Some(Bug::AbsenceOfStore), Event::LinkDown { link, why: DownReason::StoreUnavailable }) => {
                Event::LinkDown { link, why: DownReason::LoggedOut { code: 401 } }
            }
            (Some(Bug::NetworkParks), Event::LinkDown { link, why: DownReason::Unreachable }) => {
                Event::LinkDown { link, why: DownReason::Refused { code: 0 } }
            }
            (Some(Bug::BanForEver), Event::LinkDown { link, why: DownReason::TemporaryBan { .. } }) => {
                Event::LinkDown { link, why: DownReason::Refused { code: 402 } }
            }
            (_, event) => event,
        }
    }

    fn perform(&mut self, i: usize, stamp: Stamp, effect: Effect) {
        match effect {
            Effect::OpenLink { link, .. } => self.open(i, stamp, link),
            Effect::Stand(standing) => self.says(i, stamp, standing),
            // Codes come with the QR codes here.
            Effect::RequestCode { .. } | Effect::Refuse(_) => {}
            Effect::CloseLink { link } => {
                self.check_saved_before_close(i, stamp, link);
                self.close(i, stamp, link);
                if self.has(Bug::DialBeforeDown) {
                    self.report(i, stamp, Event::LinkDown { link, why: DownReason::Requested });
                }
            }
            Effect::LogOutLink { link } => self.log_out(i, stamp, link),
            Effect::AbandonLink { link } => {
                self.story(|| format!("instance {i}: the close of link {link} does not end; it is cut"));
                if !self.has(Bug::AbandonedUnsealed) {
                    self.seal(i, stamp, DownReason::Requested);
                } else if let Some(dial) = self.dial(i, stamp, link) {
                    dial.overtaken = true;
                }
            }
            Effect::Ping { link, within } => self.ping(i, stamp, link, within.as_millis() as u64),
            Effect::Save { link } => {
                if let Some(actor) = &mut self.cells[i].actor {
                    actor.saving = true;
                }
                if self.has(Bug::SaveSkipped) {
                    self.report(i, stamp, Event::Saved { link, ok: true });
                } else {
                    self.save(i, stamp, link);
                }
            }
            Effect::ArchiveCredentials => {
                self.check_archive(i);
                self.submit(i, stamp, Pages { archive: true, ..Pages::default() });
            }
            Effect::SetDesired(desired) => {
                if !self.has(Bug::DesireNotStored) {
                    self.submit(i, stamp, Pages::wish(desired));
                }
            }
            Effect::Publish(notice) => self.submit(i, stamp, Pages::told(notice, self.now)),
            Effect::Exit { clean } => {
                self.hang(i, stamp);
                let upto = self.scribe(i, stamp).map_or(0, |scribe| scribe.submitted);
                let upto = if self.has(Bug::LastWordLost) { 0 } else { upto };
                if let Some(actor) = &mut self.cells[i].actor {
                    actor.leaving = Some((clean, upto));
                }
                self.later(self.now + LAST_WRITES, Due::Deliver { i, stamp, what: Inbox::LeaveGivesUp });
                self.rows_are_written(i, stamp);
            }
            Effect::Fail { .. } => {
                self.cells[i].truth.crashes.push(self.now);
                self.actor_dies(i, ExitReason::Failed, false);
            }
        }
    }

    fn open(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let scribe = self.scribe(i, stamp).map(|scribe| (scribe.written, scribe.archive_submitted));
        let Some((written, archive)) = scribe else { return };
        if written >= archive {
            return self.start_dial(i, stamp, link);
        }
        if let Some(actor) = &mut self.cells[i].actor {
            actor.opening = Some((link, archive));
        }
        self.later(self.now + LAST_WRITES, Due::Deliver { i, stamp, what: Inbox::OpenGivesUp(link) });
    }

    /// Goes on with what has waited for rows.
    pub(crate) fn rows_are_written(&mut self, i: usize, stamp: Stamp) {
        let Some(written) = self.scribe(i, stamp).map(|scribe| scribe.written) else { return };
        let Some(actor) = self.cells[i].actor.as_mut().filter(|actor| actor.stamp == stamp) else { return };
        if let Some((link, _)) = actor.opening.take_if(|(_, upto)| written >= *upto)
            && actor.machine.link() == Some(link)
        {
            self.start_dial(i, stamp, link);
        }
        let Some(actor) = self.cells[i].actor.as_mut().filter(|actor| actor.stamp == stamp) else { return };
        if let Some((clean, _)) = actor.leaving.filter(|(_, upto)| written >= *upto) {
            self.actor_dies(i, ExitReason::Shutdown, clean);
        }
    }

    fn rearm(&mut self, i: usize, stamp: Stamp) {
        let token = self.cells[i].next_token();
        let lost = self.has(Bug::TimerLost);
        let Some(actor) = &mut self.cells[i].actor else { return };
        actor.timer = None;
        let Some(due) = actor.machine.deadline() else { return };
        if lost && matches!(actor.machine.state, State::BackingOff { .. }) && actor.machine.failures() > 2 {
            return;
        }
        actor.timer = Some(token);
        let at = due.as_millis().max(self.now);
        self.later(at, Due::Deliver { i, stamp, what: Inbox::Timer(token) });
    }

    fn hang(&mut self, i: usize, stamp: Stamp) {
        let (now, ignored) = (self.time(), self.has(Bug::FreshnessIgnored));
        let interval = self.rules.policy.health_interval;
        let cell = &mut self.cells[i];
        let Some(actor) = &mut cell.actor else { return };
        let mut status = InstanceStatus::of(&actor.machine, Timestamp::from_millis(actor.since));
        if ignored && status.fresh_until.is_some() {
            status.fresh_until = Some(Timestamp::from_millis(u64::MAX));
        }
        let board = cell.board.as_ref();
        let suspect = board.is_some_and(|board| board.phase == Phase::Suspect);
        if suspect && status.phase_at(now) == Phase::Suspect {
            // It stood still and has proven nothing since: what was said of it stays.
            status.phase = Phase::Suspect;
            status.since = board.map_or(status.since, |board| board.since);
        }
        if board == Some(&status) {
            return;
        }
        let told = board.is_none_or(|board| board.proof != status.proof);
        let doubted = suspect && status.phase == Phase::Online;
        let (ping, stale) = (status.proof.map(|proof| proof.after(interval)), status.fresh_until);
        cell.board = Some(status);
        self.touched.push(i);
        if told {
            self.tell_health(i, stamp, Word::Proven { ping, stale });
        }
        if doubted {
            self.submit(i, stamp, Pages::told(Notice::Open, self.now));
        }
        if let Some(until) = stale {
            self.look_after(i, until);
        }
        self.check_open(i);
    }

    /// Ends an incarnation: its guard seals the link and tells the supervisor.
    pub(crate) fn actor_dies(&mut self, i: usize, reason: ExitReason, clean: bool) {
        let Some(actor) = self.cells[i].actor.take() else { return };
        let stamp = actor.stamp;
        self.check_exit(i, &actor, clean);
        self.seal(i, stamp, DownReason::Requested);
        let (last_link, paired, desired) = actor.guard;
        let exit = Exit { generation: stamp.generation, reason, last_link, paired, desired, clean };
        self.later(self.now + 1, Due::Exited { i, epoch: stamp.epoch, exit });
    }
}

fn told(event: &Event) -> String {
    if let Event::LinkDown { link, why } = event {
        format!("LinkDown {{ {link}, {} }}", why.code())
    } else {
        format!("{event:?}")
    }
}
