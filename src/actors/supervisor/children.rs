//! Starting children, and what becomes of those that end.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, AsyncContext, Context, Handler, Message, Recipient};
use chrono::SecondsFormat;
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Phase, Refusal};
use holdfast_core::event::{EngineEvent, explained_object};
use holdfast_core::fleet::Standing;
use holdfast_core::id::InstanceId;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::{Decision, ExitReason};
use tracing::{debug, error, warn};

use super::SupervisorActor;
use super::protocol::{ChildExited, CommandError};
use super::roster::{Child, Farewell};
use crate::actors::health::protocol::{Unwatch, Watch};
use crate::actors::instance::{Birth, InstanceActor, Leash, Scribe};
use crate::failpoint::reach;
use crate::ports::chance;
use crate::ports::clock::Clock;
use crate::ports::meter::Measure;
use crate::ports::store::InstancePatch;

impl SupervisorActor {
    /// Starts the child unless it runs already or is being deleted, from its row as it is now; forgets a restart that was due later.
    pub(super) fn start_child(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        let (Some(instance), Some(line)) = (&self.instance, self.roster.get_mut(id)) else { return };
        if matches!(line.child, Child::Running { .. }) {
            return;
        }
        if line.departures > 0 {
            return line.answer(&Err(CommandError::Refused(Refusal::Stopping)));
        }
        let Some(known) = line.known.take() else { return self.read(id, ctx) };
        reach!("child.starts");
        line.generation = line.generation.next();
        let owner = instance.board.get(id).map(|entry| entry.owner).unwrap_or_default();
        let birth = Birth {
            id: id.clone(),
            name: line.name.clone(),
            generation: line.generation,
            paired: known.paired,
            desired: line.desired,
            owner,
            last_link: line.last_link,
            scribe: line.scribe(id, instance),
            memory: known.memory,
            leash: Leash::default(),
        };
        line.leash = birth.leash.clone();
        let (name, scribe) = (birth.name.clone(), birth.scribe.clone());
        let parts = instance.clone();
        let addr = match pick(&self.parts.arbiters, id, line.moves) {
            Some(arbiter) => InstanceActor::start_in_arbiter(arbiter, move |_| InstanceActor::new(birth, parts)),
            None => InstanceActor::new(birth, parts).start(),
        };
        notify(
            &self.parts.watch,
            Watch { id: id.clone(), generation: line.generation, ping: addr.clone().recipient(), name, scribe },
        );
        line.answer(&Ok(addr.clone()));
        line.child = Child::Running { addr, since: instance.clock.now(), unanswered: 0 };
        self.show();
    }

    pub(super) fn restart_after(&mut self, id: &InstanceId, wait: Duration, ctx: &mut Context<Self>) {
        let restart = id.clone();
        let timer = ctx.run_later(wait, move |supervisor, ctx| supervisor.restart_due(&restart, ctx));
        if let Some(line) = self.roster.get_mut(id) {
            line.child = Child::Restarting { timer };
        }
    }

    fn restart_due(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        if !self.draining {
            self.start_child(id, ctx);
        }
    }

    /// Tells whether the last that was said of an instance is that it has credentials.
    pub(super) fn paired(&self, id: &InstanceId) -> bool {
        self.instance.as_ref().and_then(|instance| instance.board.get(id)).is_some_and(|entry| entry.status.paired)
    }

    pub(super) fn hang_without_actor(&mut self, id: &InstanceId, phase: Phase, quarantined: bool) {
        let Some(instance) = &self.instance else { return };
        let now = instance.clock.now();
        self.hang(id, |paired| InstanceStatus::without_actor(phase, now, paired, quarantined));
    }

    /// Says what an instance is whose actor is gone: on the board and, if that is another state than was last told, in its row and as an
    /// event. What the actor wrote last goes before it.
    pub(super) fn hang(&mut self, id: &InstanceId, status: impl FnOnce(bool) -> InstanceStatus) {
        let Some(instance) = &self.instance else { return };
        let mut hung = None;
        instance.board.update(id, |entry| {
            let status = status(entry.status.paired);
            hung = Some(status.clone());
            entry.status = status;
            entry.pairing = crate::ports::board::PairingView::default();
            true
        });
        if let Some(status) = hung
            && let Some(line) = self.roster.get_mut(id)
        {
            let scribe = line.scribe(id, instance);
            if scribe.told() != status.phase.public() {
                tell(&scribe, &line.name, &status, instance.clock);
            }
        }
    }
}

/// Writes the state of an instance into its row and tells whoever listens.
fn tell(scribe: &Scribe, name: &str, status: &InstanceStatus, clock: Clock) {
    let date = |at| clock.wall_at(at).to_rfc3339_opts(SecondsFormat::Millis, true);
    let (now, state) = (clock.now(), status.phase.public());
    let why = status.explanation_at(now);
    let mut events = vec![match state {
        PublicState::Close => EngineEvent::closed(name, why.as_ref(), &date),
        PublicState::Open | PublicState::Connecting => EngineEvent::connecting(name, why.as_ref(), &date),
    }];
    if let Some(why) = why.filter(|_| status.quarantined) {
        let at = date(now);
        events.push(EngineEvent::ended(name, &why, &date, &at, &explained_object(&why, &at)));
    }
    scribe.patch(InstancePatch { connection_status: Some(state), events, ..InstancePatch::default() });
}

/// Chooses the thread of an instance: always the same one for the same id, unless it had to be moved.
fn pick<'a>(arbiters: &'a [actix::ArbiterHandle], id: &InstanceId, moves: usize) -> Option<&'a actix::ArbiterHandle> {
    let hash = id.as_str().bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    hash.wrapping_add(moves).checked_rem(arbiters.len()).and_then(|at| arbiters.get(at))
}

#[expect(clippy::disallowed_methods, reason = "few notices in a child's life; a lost one would leave it unwatched")]
pub(super) fn notify<M: Message<Result = ()> + Send + 'static>(watchdog: &Recipient<M>, notice: M) {
    watchdog.do_send(notice);
}

impl Handler<ChildExited> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, exit: ChildExited, ctx: &mut Self::Context) {
        let Some(line) = self.roster.get_mut(&exit.id) else { return };
        if line.generation != exit.generation || !matches!(line.child, Child::Running { .. }) {
            debug!(instance.id = %exit.id, generation = exit.generation.0, "An old generation has ended");
            return;
        }
        reach!("child.exited");
        line.last_link = exit.last_link;
        // What it says of the store is not taken for what is stored: the wish is written again, the credentials are read.
        line.desired = exit.desired;
        self.ended(&exit.id, exit.reason, Farewell { clean: exit.clean, listed: exit.listed }, ctx);
    }
}

impl SupervisorActor {
    /// Decides about a child whose actor has ended, or was given up.
    pub(super) fn ended(&mut self, id: &InstanceId, reason: ExitReason, last: Farewell, ctx: &mut Context<Self>) {
        let Some(instance) = &self.instance else { return };
        let (now, meter) = (instance.clock.now(), Arc::clone(&instance.meter));
        let Some(line) = self.roster.get_mut(id) else { return };
        let Child::Running { since, .. } = line.child else { return };
        let generation = line.generation;
        line.child = Child::Ended;
        for farewell in line.farewells.drain(..) {
            // Who asked may have given up; then there is nobody to tell.
            let _ = farewell.send(last);
        }
        notify(&self.parts.unwatch, Unwatch { id: id.clone(), generation });
        let decision = line.crashes.decide(reason, since, now, chance::unit(), &self.parts.policy);
        if matches!(reason, ExitReason::Failed | ExitReason::Panicked) {
            // The crash may have come between the wish and its writing.
            line.scribe(id, instance).desire(line.desired);
        }
        let wants = matches!(decision, Decision::RestartAfter(_)) && !self.draining;
        self.stands(id.clone(), if wants { Standing::Down { network: false } } else { Standing::Out }, ctx);
        if self.draining {
            return self.hang_without_actor(id, Phase::Stopped, false);
        }
        match decision {
            Decision::Leave => self.hang_without_actor(id, Phase::Stopped, false),
            Decision::RestartAfter(wait) => {
                warn!(instance.id = %id, generation = generation.0, reason = ?reason, wait_ms = wait.as_millis(), "Instance {id} crashed; it is started again");
                meter.note(Measure::Restarted);
                self.hang(id, |paired| InstanceStatus::crashed(now, now.after(wait), paired));
                self.restart_after(id, wait, ctx);
            }
            Decision::Quarantine => self.quarantine(id),
        }
        self.show();
    }

    fn quarantine(&mut self, id: &InstanceId) {
        error!(instance.id = %id, "Instance {id} crashed too often and is parked until an operator restarts it");
        let (Some(instance), Some(line)) = (&self.instance, self.roster.get_mut(id)) else { return };
        instance.meter.note(Measure::Quarantined);
        line.child = Child::Quarantined;
        self.hang_without_actor(id, Phase::Parked, true);
    }
}
