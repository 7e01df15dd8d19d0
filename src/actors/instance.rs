//! InstanceActor: a thin shell round the connection machine of one instance.
//!
//! It feeds events to the machine, carries the effects out through its ports, keeps one timer armed for the machine's deadline, and
//! hangs the resulting status on the board. It decides nothing.

mod conduct;
mod leash;
mod measure;
mod perform;
pub mod protocol;
pub(in crate::actors) mod scribe;
mod sending;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::{Arc, Mutex};

use actix::prelude::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, SpawnHandle,
    StreamHandler, WrapFuture,
};
use futures_util::stream::unfold;
use holdfast_core::connection::{Desired, Env, Event, Machine, Memory, Notice, Phase, Policy, Refusal, State};
use holdfast_core::event::Owner;
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::sending::allowance::Allowance;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::ExitReason;
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, info, warn};

pub use self::leash::Leash;
use self::measure::cause;
use self::protocol::{AreYouThere, Command, Ping, Pong};
pub use self::scribe::Scribe;
use self::verify::Probe;
use crate::actors::exit::ExitGuard;
use crate::actors::supervisor::protocol::{StillHere, Upward};
use crate::failpoint::reach;
use crate::ports::board::{Board, PairingView};
use crate::ports::chance;
use crate::ports::clock::Clock;
use crate::ports::link::{Link, LinkSpec, Links, Report};
use crate::ports::meter::Meter;
use crate::ports::store::Store;

/// Reports that may wait for the actor before its link has to.
const REPORTS: usize = 256;
/// Commands that may wait for the actor.
const MAILBOX: usize = 64;

/// What every instance of a service shares.
#[derive(Clone)]
pub struct InstanceParts {
    pub links: Arc<dyn Links>,
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub meter: Arc<dyn Meter>,
    pub clock: Clock,
    pub policy: Arc<Policy>,
    /// The shared runtime, on which everything that waits is done.
    pub runtime: Handle,
    pub health: Recipient<Pong>,
    pub supervisor: Upward,
}

/// What one incarnation begins with.
#[derive(Debug, Clone)]
pub struct Birth {
    pub id: InstanceId,
    pub name: String,
    pub generation: Generation,
    pub paired: bool,
    pub desired: Desired,
    pub owner: Owner,
    /// The newest link of earlier incarnations.
    pub last_link: LinkId,
    /// Writes its rows and events.
    pub scribe: Scribe,
    /// How the last process left it.
    pub memory: Option<Memory>,
    /// Where the incarnation leaves what the supervisor needs to replace it.
    pub leash: Leash,
}

/// The actor of one instance.
pub struct InstanceActor {
    id: InstanceId,
    name: String,
    generation: Generation,
    machine: Machine,
    boot: Option<(bool, Desired)>,
    since: Timestamp,
    link: Arc<dyn Link>,
    reports: Option<mpsc::Receiver<Report>>,
    scribe: Scribe,
    parts: InstanceParts,
    pairing: PairingView,
    owner: Owner,
    timer: Option<SpawnHandle>,
    refusal: Option<Refusal>,
    /// What is used of the rate at which it may send; shared with the messages under way.
    allowance: Arc<Mutex<Allowance>>,
    probe: Probe,
    /// Since when it is not open any more, although it should be.
    lost: Option<Timestamp>,
    /// What the next dial is made for, if the event that asked for it said so.
    dial_cause: Option<&'static str>,
    /// Replies that are under way.
    replies: Arc<Semaphore>,
    exit: ExitGuard,
    leash: Leash,
}

impl InstanceActor {
    /// Makes one incarnation; its link is made with it, and sealed when it is gone.
    pub fn new(birth: Birth, parts: InstanceParts) -> Self {
        let (sender, reports) = mpsc::channel(REPORTS);
        let spec = LinkSpec { instance: birth.id.clone(), name: birth.name.clone(), generation: birth.generation };
        let link = parts.links.make(spec, sender);
        birth.leash.hold(Arc::clone(&link));
        let exit = ExitGuard::new(&birth, parts.supervisor.exited.clone(), Arc::clone(&link));
        Self {
            id: birth.id,
            name: birth.name,
            generation: birth.generation,
            machine: Machine::new()
                .after_link(birth.last_link)
                .remembering(birth.memory)
                .having_told(birth.scribe.told()),
            scribe: birth.scribe,
            boot: Some((birth.paired, birth.desired)),
            since: parts.clock.now(),
            link,
            reports: Some(reports),
            parts,
            pairing: PairingView::default(),
            owner: birth.owner,
            timer: None,
            refusal: None,
            allowance: Arc::default(),
            probe: Probe::default(),
            lost: None,
            dial_cause: None,
            replies: Arc::new(Semaphore::new(conduct::REPLIES)),
            exit,
            leash: birth.leash,
        }
    }

    /// Takes one step: the event in, the effects out, the timer re-armed, the status hung up.
    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        if self.leash.is_cut() {
            // Another incarnation has taken over while this one did not turn.
            return self.end(ExitReason::Failed, false, ctx);
        }
        let now = self.parts.clock.now();
        let before = InstanceStatus::of(&self.machine, self.since);
        let result = self.probe.result(&event, now);
        let cause = cause(&event);
        let policy = Arc::clone(&self.parts.policy);
        let env = Env { now, jitter: chance::unit(), policy: &policy };
        let (machine, effects) = std::mem::take(&mut self.machine).step(event, env);
        self.machine = machine;
        self.exit.remember(&self.machine);
        let after = self.machine.state.phase();
        if before.phase != after {
            self.since = now;
            let (id, from, to, name) = (&self.id, before.phase.as_str(), after.as_str(), &self.name);
            if matches!(self.machine.state, State::Asking { .. }) {
                // A part of every dial, and mostly over at once.
                debug!(instance.id = %id, from, to, "Instance {name} waits for its turn to dial");
            } else {
                info!(instance.id = %id, from, to, "Instance {name} is {to}");
            }
        }
        self.measure(&before, &effects, cause, now);
        for effect in effects {
            self.perform(effect, ctx);
        }
        self.rearm(now, ctx);
        self.hang();
        self.settle_probe(result, now);
    }

    fn rearm(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = self.machine.deadline() {
            self.timer = Some(ctx.run_later(now.until(due), |actor, ctx| actor.feed(Event::Elapsed, ctx)));
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "at most one notice a second; a lost one would cost a healthy connection its ping"
    )]
    fn hang(&mut self) {
        if self.leash.is_cut() {
            return;
        }
        let now = self.parts.clock.now();
        let mut status = InstanceStatus::of(&self.machine, self.since);
        if status.phase != Phase::Pairing {
            self.pairing = PairingView { count: self.machine.qr_shown(), ..PairingView::default() };
        }
        let (pairing, owner) = (&self.pairing, &self.owner);
        let ping_due = status.proof.map(|proof| proof.after(self.parts.policy.health_interval));
        let stale = status.fresh_until;
        let (mut told, mut doubted) = (false, false);
        self.parts.board.update(&self.id, |entry| {
            if entry.status.phase == Phase::Suspect && status.phase_at(now) == Phase::Suspect {
                // This actor stood still and has proven nothing since: what was said of it stays.
                (status.phase, status.since) = (Phase::Suspect, entry.status.since);
            }
            if entry.status == status && entry.pairing == *pairing && entry.owner == *owner {
                return false;
            }
            told = entry.status.proof != status.proof;
            doubted = entry.status.phase == Phase::Suspect && status.phase == Phase::Online;
            entry.status = status;
            entry.pairing = pairing.clone();
            entry.owner = owner.clone();
            true
        });
        if told {
            self.parts.health.do_send(Pong { id: self.id.clone(), generation: self.generation, ping_due, stale });
        }
        if doubted {
            // While this actor stood still it was reported as suspect; now there is fresh proof.
            self.publish(Notice::Open);
        }
    }
}

impl Actor for InstanceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some(reports) = self.reports.take() {
            ctx.add_stream(unfold(reports, |mut reports| async move {
                reports.recv().await.map(|report| (report, reports))
            }));
        }
        let crashed = self.scribe.crashed();
        ctx.spawn(crashed.into_actor(self).map(|(), actor, ctx| {
            warn!(instance.id = %actor.id, "A call of the store panicked; instance {} starts afresh", actor.name);
            actor.end(ExitReason::Panicked, false, ctx);
        }));
        reach!("instance.started");
        if let Some((paired, desired)) = self.boot.take() {
            self.feed(Event::Booted { paired, desired }, ctx);
        }
    }
}

impl StreamHandler<Report> for InstanceActor {
    fn handle(&mut self, report: Report, ctx: &mut Self::Context) {
        match report {
            Report::Fact(event) => {
                self.log_save(&event);
                self.feed(event, ctx);
            }
            Report::Owner { link, owner } => {
                if self.machine.link() == Some(link) {
                    self.learn_owner(owner);
                    self.hang();
                }
            }
            Report::Reply { link, to, text } => self.reply(link, to, text),
            // Events of messages and receipts are true whichever link brought them.
            Report::Event { link, event } => {
                debug!(instance.id = %self.id, link = link.0, event = event.name.dotted(), "Event");
                self.scribe.publish(event);
            }
        }
    }

    /// The driver is gone only together with the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Command> for InstanceActor {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, Command(event): Command, ctx: &mut Self::Context) -> Self::Result {
        self.refusal = None;
        self.feed(event, ctx);
        self.refusal.take().map_or(Ok(()), Err)
    }
}

impl Handler<Ping> for InstanceActor {
    type Result = MessageResult<Ping>;

    fn handle(&mut self, _: Ping, ctx: &mut Self::Context) -> Self::Result {
        self.feed(Event::PingDue, ctx);
        MessageResult(())
    }
}

impl Handler<AreYouThere> for InstanceActor {
    type Result = ();

    #[expect(clippy::disallowed_methods, reason = "one answer to one question")]
    fn handle(&mut self, _: AreYouThere, _: &mut Self::Context) {
        self.parts.supervisor.here.do_send(StillHere { id: self.id.clone(), generation: self.generation });
    }
}

impl InstanceActor {
    fn log_save(&self, event: &Event) {
        if let Event::Saved { link, ok: true } = event {
            info!(instance.id = %self.id, link = link.0, "Session saved");
        } else if let Event::Saved { link, ok: false } = event {
            warn!(instance.id = %self.id, link = link.0, "The session could not be saved");
        }
    }

    fn end(&mut self, reason: ExitReason, clean: bool, ctx: &mut Context<Self>) {
        self.exit.leave(reason, clean);
        ctx.stop();
    }
}
