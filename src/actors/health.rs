//! HealthActor: asks an instance for proof of life when its last proof is one interval old, and looks for claims without evidence.
//!
//! A proof that comes by itself re-arms the watch, so a busy instance is never pinged. The answer is judged by the instance's own
//! machine, whose deadline for it holds even if this actor is stuck.

pub mod protocol;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, AsyncContext, Context, Handler, Recipient, SpawnHandle};
use holdfast_core::connection::Phase;
use holdfast_core::id::{Generation, InstanceId};
use holdfast_core::time::Timestamp;
use tracing::warn;

use self::protocol::{Unwatch, Watch};
use crate::actors::instance::protocol::{Ping, Pong};
use crate::ports::board::Board;
use crate::ports::clock::Clock;

/// How often the board is searched for claims that no evidence backs.
const SWEEP: Duration = Duration::from_secs(30);

/// The watchdog of all instances.
pub struct HealthActor {
    clock: Clock,
    board: Arc<Board>,
    interval: Duration,
    watched: HashMap<InstanceId, Watched>,
    due: BTreeSet<(Timestamp, InstanceId)>,
    timer: Option<SpawnHandle>,
    mismatches: u64,
}

struct Watched {
    generation: Generation,
    ping: Recipient<Ping>,
    due: Option<Timestamp>,
}

impl HealthActor {
    /// Makes the watchdog; `interval` is how old a proof of life may become before it is asked for.
    pub fn new(clock: Clock, board: Arc<Board>, interval: Duration) -> Self {
        Self { clock, board, interval, watched: HashMap::new(), due: BTreeSet::new(), timer: None, mismatches: 0 }
    }

    fn arm(&mut self, id: &InstanceId, at: Option<Timestamp>) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        if let Some(old) = std::mem::replace(&mut watched.due, at) {
            self.due.remove(&(old, id.clone()));
        }
        if let Some(at) = at {
            self.due.insert((at, id.clone()));
        }
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some((at, _)) = self.due.first() {
            let wait = self.clock.now().until(*at);
            self.timer = Some(ctx.run_later(wait, Self::ping_due));
        }
    }

    fn ping_due(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        while let Some((at, id)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            // Asked again after another interval should the question be lost; an answer re-arms it anyway.
            self.arm(&id, Some(now.after(self.interval)));
            if let Some(watched) = self.watched.get(&id)
                && watched.ping.try_send(Ping).is_err()
            {
                warn!(instance.id = %id, "Instance {id} does not take its ping: its mailbox is full or its actor gone");
            }
        }
        self.rearm(ctx);
    }

    /// An instance that still says online although its proof has run out has an actor that does not turn.
    fn sweep(&mut self, _: &mut Context<Self>) {
        let now = self.clock.now();
        for (id, entry) in self.board.all() {
            if entry.status.phase == Phase::Online && entry.status.phase_at(now) == Phase::Suspect {
                self.mismatches += 1;
                warn!(instance.id = %id, mismatches = self.mismatches, "Instance {id} claims to be online without proof; it is reported as suspect");
            }
        }
    }
}

impl Actor for HealthActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        ctx.run_interval(SWEEP, Self::sweep);
    }
}

impl Handler<Watch> for HealthActor {
    type Result = ();

    fn handle(&mut self, watch: Watch, _: &mut Self::Context) {
        self.arm(&watch.id, None);
        self.watched.insert(watch.id, Watched { generation: watch.generation, ping: watch.ping, due: None });
    }
}

impl Handler<Unwatch> for HealthActor {
    type Result = ();

    fn handle(&mut self, unwatch: Unwatch, ctx: &mut Self::Context) {
        if self.watched.get(&unwatch.id).is_some_and(|watched| watched.generation == unwatch.generation) {
            self.arm(&unwatch.id, None);
            self.watched.remove(&unwatch.id);
            self.rearm(ctx);
        }
    }
}

impl Handler<Pong> for HealthActor {
    type Result = ();

    fn handle(&mut self, pong: Pong, ctx: &mut Self::Context) {
        if self.watched.get(&pong.id).is_some_and(|watched| watched.generation == pong.generation) {
            let at = pong.proof_due_in.map(|wait| self.clock.now().after(wait));
            self.arm(&pong.id, at);
            self.rearm(ctx);
        }
    }
}
