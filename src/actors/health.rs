//! HealthActor: asks an instance for proof of life when its last proof is one interval old, and looks for claims without evidence.
//!
//! A proof that comes by itself re-arms the watch, so a busy instance is never pinged. The answer is judged by the instance's own
//! machine, whose deadline for it holds even if this actor is stuck.

pub mod protocol;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, AsyncContext, Context, Handler, Recipient, SpawnHandle};
use chrono::SecondsFormat;
use holdfast_core::event::EngineEvent;
use holdfast_core::health::{Due, Watchdog, mismatch};
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;
use tracing::warn;

use self::protocol::{Unwatch, Watch};
use crate::actors::instance::Scribe;
use crate::actors::instance::protocol::{Ping, Pong};
use crate::actors::keystone::Keystone;
use crate::ports::board::Board;
use crate::ports::clock::Clock;
use crate::ports::meter::{Measure, Meter};
use crate::ports::store::InstancePatch;

/// How often the whole board is searched for claims that no evidence backs, besides the look at each when its proof runs out.
const SWEEP: Duration = Duration::from_secs(30);

/// The watchdog of all instances.
pub struct HealthActor {
    clock: Clock,
    board: Arc<Board>,
    meter: Arc<dyn Meter>,
    watchdog: Watchdog,
    ways: HashMap<InstanceId, Way>,
    timer: Option<SpawnHandle>,
    mismatches: u64,
    keystone: Option<Keystone>,
}

/// How an instance is reached, and how it is spoken for.
struct Way {
    ping: Recipient<Ping>,
    name: String,
    scribe: Scribe,
}

impl HealthActor {
    /// Makes the watchdog; `interval` is how old a proof of life may become before it is asked for.
    pub fn new(clock: Clock, board: Arc<Board>, meter: Arc<dyn Meter>, interval: Duration) -> Self {
        let watchdog = Watchdog::new(interval);
        Self { clock, board, meter, watchdog, ways: HashMap::new(), timer: None, mismatches: 0, keystone: None }
    }

    /// Lets it say when it is gone.
    #[must_use]
    pub fn holding(self, keystone: Keystone) -> Self {
        Self { keystone: Some(keystone), ..self }
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = self.watchdog.deadline() {
            self.timer = Some(ctx.run_later(self.clock.now().until(at), Self::due));
        }
    }

    fn due(&mut self, ctx: &mut Context<Self>) {
        if let Some(keystone) = &self.keystone {
            keystone.passes();
        }
        let now = self.clock.now();
        for due in self.watchdog.take_due(now) {
            match due {
                Due::Ping(id) => {
                    if self.ways.get(&id).is_some_and(|way| way.ping.try_send(Ping).is_err()) {
                        warn!(instance.id = %id, "Instance {id} does not take its ping: its mailbox is full or its actor gone");
                    }
                }
                Due::Look(id) => self.look(&id, now),
            }
        }
        self.rearm(ctx);
    }

    fn sweep(&mut self, _: &mut Context<Self>) {
        let now = self.clock.now();
        for (id, entry) in self.board.all() {
            if mismatch(&entry.status, now).is_some() {
                self.look(&id, now);
            }
        }
    }

    /// Corrects an instance that still says online although its proof has run out: its actor does not turn, so board, row and event are
    /// written for it. When it turns again it takes this back, or confirms it, by itself.
    fn look(&mut self, id: &InstanceId, now: Timestamp) {
        let mut corrected = None;
        self.board.update(id, |entry| {
            corrected = mismatch(&entry.status, now);
            if let Some(status) = &corrected {
                entry.status = status.clone();
            }
            corrected.is_some()
        });
        let Some(status) = corrected else { return };
        self.mismatches += 1;
        self.meter.note(Measure::Mismatch);
        warn!(instance.id = %id, mismatches = self.mismatches, "Instance {id} claims to be online without proof; it is reported as suspect");
        if let Some(way) = self.ways.get(id) {
            let clock = self.clock;
            let date = |at| clock.wall_at(at).to_rfc3339_opts(SecondsFormat::Millis, true);
            let state = Some(status.state_at(now));
            let events = vec![EngineEvent::connecting(&way.name, status.explanation_at(now).as_ref(), &date)];
            way.scribe.patch(InstancePatch { connection_status: state, events, ..InstancePatch::default() });
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

    fn handle(&mut self, watch: Watch, ctx: &mut Self::Context) {
        self.watchdog.watch(watch.id.clone(), watch.generation);
        self.ways.insert(watch.id, Way { ping: watch.ping, name: watch.name, scribe: watch.scribe });
        self.rearm(ctx);
    }
}

impl Handler<Unwatch> for HealthActor {
    type Result = ();

    fn handle(&mut self, unwatch: Unwatch, ctx: &mut Self::Context) {
        if self.watchdog.unwatch(&unwatch.id, unwatch.generation) {
            self.ways.remove(&unwatch.id);
            self.rearm(ctx);
        }
    }
}

impl Handler<Pong> for HealthActor {
    type Result = ();

    fn handle(&mut self, pong: Pong, ctx: &mut Self::Context) {
        self.watchdog.proven(&pong.id, pong.generation, pong.ping_due, pong.stale);
        self.rearm(ctx);
    }
}
