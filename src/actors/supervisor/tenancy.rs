//! The roster follows what this node owns: instances are put on, taken off, ended for another node, and sealed when the lease has ended.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use actix::prelude::{ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, WrapFuture};
use futures_util::future::join_all;
use holdfast_core::connection::{Event, Phase};
use holdfast_core::fleet;
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;
use tracing::{debug, info, warn};

use super::SupervisorActor;
use super::children::notify;
use super::departure::farewell;
use super::protocol::{CommandError, HandOver, LetGone, Own, SealAll, TakeIn};
use super::roster::{Child, Farewell, Former};
use crate::actors::health::protocol::Unwatch;
use crate::actors::instance::protocol::Command;
use crate::ports::link::SealReason;

/// How long an instance may take to be saved and closed for another node.
const HAND_OVER: Duration = Duration::from_secs(10);
/// How long after an instance has left the roster its rows may still be found.
const ROWS_GO: Duration = Duration::from_secs(30);

impl Handler<SealAll> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: SealAll, _: &mut Self::Context) {
        for (_, line) in self.roster.iter_mut() {
            line.leash.seal(SealReason::LeaseEnded);
        }
    }
}

impl Handler<Own> for SupervisorActor {
    type Result = MessageResult<Own>;

    fn handle(&mut self, Own { asked_at, ids }: Own, ctx: &mut Self::Context) -> Self::Result {
        if self.draining {
            // What has ended is let go, and is not to come back.
            return MessageResult(Vec::new());
        }
        let owned: HashSet<&InstanceId> = ids.iter().collect();
        let mut lost = Vec::new();
        for (id, line) in self.roster.iter_mut() {
            // What came after the question is not in the answer, and whoever deletes one takes it off.
            if !owned.contains(id) && line.since < asked_at && line.departures == 0 {
                lost.push(id.clone());
            }
        }
        for id in lost {
            self.disown(&id, ctx);
        }
        self.left.retain(|_, not_before| asked_at < *not_before);
        let startable = |id: &InstanceId| !self.left.contains_key(id) && !self.parts.withheld.has(id);
        let missing = ids.iter().filter(|id| !self.roster.has(id) && startable(id));
        MessageResult(missing.cloned().collect())
    }
}

impl Handler<TakeIn> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, TakeIn { record, asked_at }: TakeIn, ctx: &mut Self::Context) {
        let id = record.id.clone();
        if self.draining || self.roster.has(&id) {
            return;
        }
        if self.parts.withheld.has(&id) {
            return info!(instance.id = %id, "Instance {} is this node's, and does not dial before its login is settled", record.name);
        }
        if self.left.get(&id).is_some_and(|not_before| asked_at < *not_before) {
            return debug!(instance.id = %id, "Instance {id} has left since it was asked whose it is");
        }
        info!(instance.id = %id, "Instance {} is this node's", record.name);
        self.enlist(record);
        self.start_child(&id, ctx);
    }
}

impl Handler<HandOver> for SupervisorActor {
    type Result = ResponseActFuture<Self, Vec<InstanceId>>;

    fn handle(&mut self, HandOver { most }: HandOver, _: &mut Self::Context) -> Self::Result {
        let chosen = if self.draining { Vec::new() } else { self.choose(most) };
        let mut endings = Vec::new();
        for id in chosen {
            match self.depart(&id, Event::Shutdown { within: HAND_OVER }) {
                Ok(ending) => endings.push(async move {
                    let Some((asked, ended)) = ending else { return (id, true) };
                    let asked = match asked.await {
                        Ok(()) | Err(CommandError::Refused(_)) => farewell(ended).await,
                        Err(error) => Err(error),
                    };
                    (id, matches!(asked, Ok(Some(Farewell { clean: true, .. }))))
                }),
                Err(error) => debug!(instance.id = %id, "Instance {id} is not handed over: {error}"),
            }
        }
        Box::pin(join_all(endings).into_actor(self).map(|endings, supervisor, ctx| {
            let mut gone = Vec::new();
            for (id, closed) in endings {
                let former = supervisor
                    .roster
                    .get_mut(&id)
                    .map(|line| Former { generation: line.generation, last_link: line.last_link });
                if closed && supervisor.strike(&id, None, ctx).is_ok() {
                    supervisor.former.extend(former.map(|former| (id.clone(), former)));
                    // Until it is known to be let go it may still look like ours.
                    supervisor.left.insert(id.clone(), Timestamp::from_millis(u64::MAX));
                    gone.push(id);
                } else {
                    // Its socket may be open, so nobody else may have it.
                    if let Some(line) = supervisor.roster.get_mut(&id) {
                        line.clings = true;
                    }
                    supervisor.stay(&id, ctx);
                }
            }
            gone
        }))
    }
}

impl Handler<LetGone> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, LetGone { ids }: LetGone, _: &mut Self::Context) {
        let Some(now) = self.instance.as_ref().map(|instance| instance.clock.now()) else { return };
        for id in ids {
            self.left.insert(id, now);
        }
    }
}

impl SupervisorActor {
    /// Chooses what another node can take with the least harm: first what is not connected, then what has been longest.
    fn choose(&mut self, most: u32) -> Vec<InstanceId> {
        let Some(instance) = &self.instance else { return Vec::new() };
        let now = instance.clock.now();
        let mut candidates = Vec::new();
        for (id, line) in self.roster.iter_mut() {
            // Who crashes does not do so on another node as well.
            let fit =
                line.departures == 0 && !line.clings && matches!(line.child, Child::Running { .. } | Child::Ended);
            let Some(entry) = instance.board.get(id).filter(|_| fit) else { continue };
            let connected = match entry.status.phase_at(now) {
                // Somebody may have the phone in hand, or is waiting for WhatsApp's answer.
                Phase::Pairing | Phase::Draining => continue,
                Phase::Unpaired | Phase::Parked | Phase::Stopped | Phase::Waiting | Phase::BackingOff => false,
                Phase::Connecting | Phase::Syncing | Phase::Online | Phase::Suspect => true,
            };
            candidates.push((connected, Reverse(now.since(entry.status.since)), id.clone()));
        }
        candidates.sort();
        candidates.into_iter().take(most as usize).map(|(.., id)| id).collect()
    }

    /// Another node owns it: what runs of it here ends at once, and nothing more is written for it.
    fn disown(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        let listed = self.paired(id);
        let Some(mut line) = self.roster.remove(id) else { return };
        self.former.insert(id.clone(), Former { generation: line.generation, last_link: line.last_link });
        warn!(instance.id = %id, "Instance {} belongs to another node now", line.name);
        line.leash.cut(SealReason::FencedOff);
        if let Some(scribe) = &line.scribe {
            scribe.give_up();
        }
        match &line.child {
            Child::Running { addr, .. } => {
                // It ends itself when it sees that it was cut; one that does not turn sees it when it does.
                let _full = addr.try_send(Command(Event::Elapsed));
                notify(&self.parts.unwatch, Unwatch { id: id.clone(), generation: line.generation });
            }
            Child::Restarting { timer: waits } | Child::Reading { reading: waits, .. } => {
                ctx.cancel_future(*waits);
            }
            Child::Quarantined | Child::Ended => {}
        }
        line.answer(&Err(CommandError::Unknown));
        for farewell in line.farewells.drain(..) {
            // Who asked may have given up; then there is nobody to tell.
            let _ = farewell.send(Farewell { clean: false, listed });
        }
        self.gate(fleet::Event::Gone { id: id.clone() }, ctx);
        if let Some(instance) = &self.instance {
            instance.board.take_down(id);
        }
        self.show();
    }

    /// Remembers that an instance has left the roster: a look at the leases that is older, or finds rows that are about to go, does not
    /// bring it back.
    pub(super) fn remember_leaving(&mut self, id: &InstanceId) {
        let Some(now) = self.instance.as_ref().map(|instance| instance.clock.now()) else { return };
        self.left.retain(|_, not_before| now < *not_before);
        self.left.insert(id.clone(), now.after(ROWS_GO));
    }
}
