//! DispatcherActor: takes deliveries out of the outbox and hands them to the sink, in order for each instance.
//!
//! The outbox is the truth: what is under way here can be lost with the process and is delivered again, under the same event id.

pub mod protocol;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, SpawnHandle, StreamHandler, WrapFuture,
};
use futures_util::stream::unfold;
use holdfast_core::backoff::Backoff;
use holdfast_core::delivery::{Next, RetryPolicy};
use holdfast_core::id::InstanceId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use self::protocol::Flush;
use crate::failpoint::reach;
use crate::ports::chance;
use crate::ports::clock::Clock;
use crate::ports::outbox::{Delivery, Settlement};
use crate::ports::sink::Sink;
use crate::ports::store::{Store, StoreError};

/// Deliveries under way at the same time, each of another instance.
const LANES: usize = 64;
/// The longest time between two looks into the outbox.
const IDLE: Duration = Duration::from_secs(60);
const STORE_RETRY: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

/// What the dispatcher works with.
pub struct DispatcherParts {
    pub store: Arc<dyn Store>,
    pub sink: Arc<dyn Sink>,
    pub policy: RetryPolicy,
    pub clock: Clock,
    pub runtime: Handle,
}

/// The dispatcher.
pub struct DispatcherActor {
    parts: DispatcherParts,
    /// Instances with a delivery under way; their next one has to wait for it.
    under_way: HashSet<InstanceId>,
    looking: bool,
    look_again: bool,
    /// Instances whose delivery was settled after the present look began: what it finds of them may be gone already.
    settled_since: HashSet<InstanceId>,
    failures: u32,
    flushing: bool,
    idle: Vec<oneshot::Sender<()>>,
    timer: Option<SpawnHandle>,
}

/// Something was queued.
struct Appended;

/// What a look into the outbox found.
struct Found {
    due: Vec<Delivery>,
    next_due_at: Option<i64>,
}

impl DispatcherActor {
    /// Makes the dispatcher; it begins to deliver when it is started.
    pub fn new(parts: DispatcherParts) -> Self {
        Self {
            parts,
            under_way: HashSet::new(),
            looking: false,
            look_again: false,
            settled_since: HashSet::new(),
            failures: 0,
            flushing: false,
            idle: Vec::new(),
            timer: None,
        }
    }

    /// Looks into the outbox, one look at a time.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.flushing {
            return;
        }
        if self.looking {
            self.look_again = true;
            return;
        }
        self.looking = true;
        self.settled_since.clear();
        let store = Arc::clone(&self.parts.store);
        let now_ms = self.parts.clock.wall().timestamp_millis();
        let limit = u32::try_from(LANES + self.under_way.len()).unwrap_or(u32::MAX);
        let look = self.parts.runtime.spawn(async move {
            let due = store.due(now_ms, limit).await?;
            Ok(Found { due, next_due_at: store.next_due_at().await? })
        });
        ctx.spawn(look.into_actor(self).map(|found, actor, ctx| {
            actor.looking = false;
            match found {
                Ok(found) => actor.take(found, ctx),
                Err(crash) => {
                    error!(error = %crash, "Looking into the outbox ended in a crash");
                    actor.look_in(IDLE, ctx);
                }
            }
        }));
    }

    fn take(&mut self, found: Result<Found, StoreError>, ctx: &mut Context<Self>) {
        match found {
            Ok(Found { due, next_due_at }) => {
                self.failures = 0;
                for delivery in due {
                    if self.settled_since.contains(&delivery.instance) {
                        self.look_again = true;
                    } else if self.under_way.len() < LANES
                        && !self.flushing
                        && self.under_way.insert(delivery.instance.clone())
                    {
                        self.deliver(delivery, ctx);
                    }
                }
                let now_ms = self.parts.clock.wall().timestamp_millis();
                let wait = next_due_at.map_or(IDLE, |at| {
                    // A delivery that is due but under way is looked for again when it is settled.
                    Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0))
                        .clamp(Duration::from_millis(50), IDLE)
                });
                self.look_in(if self.under_way.is_empty() { wait } else { wait.max(Duration::from_secs(1)) }, ctx);
            }
            Err(cause) => {
                self.failures += 1;
                if self.failures == 1 {
                    error!(error = &cause as &dyn std::error::Error, "The outbox could not be read; trying again");
                }
                self.look_in(STORE_RETRY.delay(self.failures, chance::unit()), ctx);
            }
        }
        if std::mem::take(&mut self.look_again) {
            self.look(ctx);
        }
    }

    fn look_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.look(ctx);
        }));
    }

    fn deliver(&mut self, delivery: Delivery, ctx: &mut Context<Self>) {
        let instance = delivery.instance.clone();
        let sink = Arc::clone(&self.parts.sink);
        let store = Arc::clone(&self.parts.store);
        let policy = self.parts.policy.clone();
        let clock = self.parts.clock;
        let task = self.parts.runtime.spawn(async move {
            let attempt = delivery.attempts + 1;
            reach!("deliver.before");
            let outcome = sink.deliver(&delivery).await;
            reach!("deliver.after");
            let settlement = match policy.decide(attempt, &outcome, chance::unit()) {
                Next::Done => Settlement::Delivered,
                Next::Retry { after, why } => {
                    info!(instance.id = %delivery.instance, sink = sink.name(), event = delivery.event.name.dotted(), attempt, why, "A delivery is tried again");
                    let at_ms = clock.wall().timestamp_millis() + i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 2);
                    Settlement::RetryAt { at_ms, why }
                }
                Next::Dead { why } => {
                    warn!(instance.id = %delivery.instance, sink = sink.name(), event = delivery.event.name.dotted(), attempt, why, "A delivery is given up");
                    Settlement::Dead { why }
                }
            };
            settle(&*store, delivery.seq, settlement).await;
            reach!("deliver.settled");
        });
        ctx.spawn(task.into_actor(self).map(move |crashed, actor, ctx| {
            if let Err(crash) = crashed {
                error!(instance.id = %instance, error = %crash, "A delivery ended in a crash");
            }
            actor.under_way.remove(&instance);
            actor.settled_since.insert(instance);
            if actor.under_way.is_empty() {
                for waiting in actor.idle.drain(..) {
                    let _ = waiting.send(());
                }
            }
            actor.look(ctx);
        }));
    }
}

/// Records how a delivery went. Until that is durable nothing else of the instance goes out, since it would be sent again.
async fn settle(store: &dyn Store, seq: i64, settlement: Settlement) {
    let mut failures = 0;
    while let Err(cause) = store.settle(vec![(seq, settlement.clone())]).await {
        failures += 1;
        if failures == 1 {
            error!(error = &cause as &dyn std::error::Error, "A delivery could not be recorded; trying again");
        }
        sleep(STORE_RETRY.delay(failures, chance::unit())).await;
    }
}

impl Actor for DispatcherActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let appended = self.parts.store.appended();
        ctx.add_stream(unfold(appended, |appended| async move {
            appended.notified().await;
            Some((Appended, appended))
        }));
        self.look(ctx);
    }
}

impl StreamHandler<Appended> for DispatcherActor {
    fn handle(&mut self, _: Appended, ctx: &mut Self::Context) {
        self.look(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Flush> for DispatcherActor {
    type Result = ResponseActFuture<Self, Vec<String>>;

    fn handle(&mut self, Flush { within }: Flush, _: &mut Self::Context) -> Self::Result {
        self.flushing = true;
        let (sender, idle) = oneshot::channel();
        if self.under_way.is_empty() {
            let _ = sender.send(());
        } else {
            self.idle.push(sender);
        }
        let finished = timeout(within.mul_f64(0.9), idle);
        Box::pin(finished.into_actor(self).map(|finished, actor, _| {
            if finished.is_err() {
                // They are still in the outbox and go out again after the next start.
                info!(under_way = actor.under_way.len(), "Deliveries under way were left for the next start");
            }
            Vec::new()
        }))
    }
}
