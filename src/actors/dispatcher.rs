//! DispatcherActor: takes deliveries out of the outbox and hands them to the sink, in order for each instance.
//!
//! The outbox is the truth: what is under way here can be lost with the process and is delivered again, under the same event id. In
//! memory there are the deliveries under way, and of everything else one line for each instance that waits, however much waits.
//!
//! A *look* reads those lines, and `core::delivery::lanes` chooses among them. A chosen instance has a *turn* ([`turn`]): its oldest row
//! is read, sent and recorded ([`lane`]), and the next one follows as long as nobody waits for the lane.

mod lane;
pub mod protocol;
mod quiet;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, SpawnHandle,
    StreamHandler, WrapFuture,
};
use futures_util::stream::unfold;
use holdfast_core::backoff::Backoff;
use holdfast_core::delivery::RetryPolicy;
use holdfast_core::delivery::breaker::BreakerPolicy;
use holdfast_core::delivery::lanes::{Head, Lanes, Shares};
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info};

use self::protocol::{Flush, GetSinkStatus, SinkStatus, TargetStatus};
use self::quiet::Quiet;
use crate::actors::keystone::Keystone;
use crate::ports::chance;
use crate::ports::clock::Clock;
use crate::ports::sink::Sink;
use crate::ports::store::{Store, StoreError};

/// The longest time between two looks into the outbox.
const IDLE: Duration = Duration::from_secs(10);
/// After a look, so many times as long as it took passes before the next: looking never takes more than a fifth of one reader.
const PACE: u32 = 4;
const LONGEST_PACE: Duration = Duration::from_secs(1);
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
    lanes: Lanes,
    looking: bool,
    look_again: bool,
    /// The earliest moment of the next look.
    not_before: Timestamp,
    timer: Option<(Timestamp, SpawnHandle)>,
    /// Reads that failed since the last try that was made.
    failures: u32,
    flushing: bool,
    idle: Vec<oneshot::Sender<()>>,
    counters: Counters,
    retried: Quiet,
    given_up: Quiet,
    spoilt: Quiet,
    unread: Quiet,
    keystone: Option<Keystone>,
}

/// What happened since the start.
#[derive(Debug, Default)]
struct Counters {
    delivered: u64,
    failed: u64,
    given_up: u64,
}

/// Something was queued.
struct Appended;

impl DispatcherActor {
    /// Makes the dispatcher; it begins to deliver when it is started.
    pub fn new(parts: DispatcherParts) -> Self {
        let lanes = Lanes::new(Shares::default(), BreakerPolicy::of(&parts.policy));
        Self {
            parts,
            lanes,
            looking: false,
            look_again: false,
            not_before: Timestamp::default(),
            timer: None,
            failures: 0,
            flushing: false,
            idle: Vec::new(),
            counters: Counters::default(),
            retried: Quiet::default(),
            given_up: Quiet::default(),
            spoilt: Quiet::default(),
            unread: Quiet::default(),
            keystone: None,
        }
    }

    /// Lets it say when it is gone.
    #[must_use]
    pub fn holding(self, keystone: Keystone) -> Self {
        Self { keystone: Some(keystone), ..self }
    }

    /// Looks into the outbox as soon as the pace allows, one look at a time.
    fn look_soon(&mut self, ctx: &mut Context<Self>) {
        if self.looking {
            self.look_again = true;
        } else if self.parts.clock.now() < self.not_before {
            self.wake_by(self.not_before, ctx);
        } else {
            self.look(ctx);
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if let Some(keystone) = &self.keystone {
            keystone.passes();
        }
        if self.flushing {
            return;
        }
        self.looking = true;
        let store = Arc::clone(&self.parts.store);
        let began = self.parts.clock.now();
        let look = self.parts.runtime.spawn(async move { store.heads().await });
        ctx.spawn(look.into_actor(self).map(move |found, actor, ctx| {
            actor.looking = false;
            let now = actor.parts.clock.now();
            actor.not_before = now.after((now.since(began) * PACE).min(LONGEST_PACE));
            match found {
                Ok(Ok(heads)) => actor.take(heads, ctx),
                Ok(Err(cause)) => actor.unread(&cause, ctx),
                Err(crash) => {
                    error!(error = %crash, "Looking into the outbox ended in a crash");
                    actor.wake_by(now.after(IDLE), ctx);
                }
            }
            if std::mem::take(&mut actor.look_again) {
                actor.look_soon(ctx);
            }
        }));
    }

    fn take(&mut self, heads: Vec<Head>, ctx: &mut Context<Self>) {
        if heads.is_empty() {
            self.failures = 0;
        }
        let (now, now_ms) = (self.parts.clock.now(), self.now_ms());
        if self.flushing {
            return;
        }
        let choice = self.lanes.choose(heads, now, now_ms);
        for instance in choice.picks {
            self.start(instance, ctx);
        }
        let due = choice.due_ms.map(|due_ms| {
            let wait = Duration::from_millis(u64::try_from(due_ms - now_ms).unwrap_or_default());
            now.after(wait.clamp(Duration::from_millis(5), IDLE))
        });
        let idle = Some(now.after(IDLE));
        if let Some(next) = [due, choice.probe_at, idle].into_iter().flatten().min() {
            self.wake_by(next, ctx);
        }
    }

    /// Waits until the store answers again.
    fn unread(&mut self, cause: &StoreError, ctx: &mut Context<Self>) {
        self.failures = self.failures.saturating_add(1);
        let now = self.parts.clock.now();
        if self.failures == 1 && self.unread.may_say(now).is_some() {
            error!(error = cause as &dyn std::error::Error, "The outbox could not be read; trying again");
        }
        let wait = STORE_RETRY.delay(self.failures, chance::unit());
        self.wake_by(now.after(wait), ctx);
    }

    /// Looks at this moment, or earlier if that was planned already.
    fn wake_by(&mut self, at: Timestamp, ctx: &mut Context<Self>) {
        if self.timer.as_ref().is_some_and(|(planned, _)| *planned <= at) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(self.parts.clock.now().until(at), |actor, ctx| {
            actor.timer = None;
            actor.look_soon(ctx);
        });
        self.timer = Some((at, timer));
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.wall().timestamp_millis()
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
        self.look_soon(ctx);
    }
}

impl StreamHandler<Appended> for DispatcherActor {
    fn handle(&mut self, _: Appended, ctx: &mut Self::Context) {
        self.look_soon(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<GetSinkStatus> for DispatcherActor {
    type Result = MessageResult<GetSinkStatus>;

    fn handle(&mut self, _: GetSinkStatus, _: &mut Self::Context) -> Self::Result {
        let clock = self.parts.clock;
        let targets = self.lanes.targets().map(|(origin, breaker, under_way)| TargetStatus {
            origin: origin.clone(),
            breaker: breaker.word(),
            failures: breaker.failures(),
            since: breaker.since().map(|since| clock.wall_at(since)),
            next_try_at: breaker.until().map(|until| clock.wall_at(until)),
            under_way,
        });
        MessageResult(SinkStatus {
            sink: self.parts.sink.name(),
            under_way: self.lanes.under_way(),
            delivered: self.counters.delivered,
            failed: self.counters.failed,
            given_up: self.counters.given_up,
            targets: targets.collect(),
        })
    }
}

impl Handler<Flush> for DispatcherActor {
    type Result = ResponseActFuture<Self, Vec<String>>;

    fn handle(&mut self, Flush { within }: Flush, _: &mut Self::Context) -> Self::Result {
        self.flushing = true;
        self.lanes.stop();
        let (sender, idle) = oneshot::channel();
        if self.lanes.under_way() == 0 {
            let _ = sender.send(());
        } else {
            self.idle.push(sender);
        }
        let finished = timeout(within.mul_f64(0.9), idle);
        Box::pin(finished.into_actor(self).map(|finished, actor, _| {
            if finished.is_err() {
                // They are still in the outbox and go out again after the next start.
                info!(under_way = actor.lanes.under_way(), "Deliveries under way were left for the next start");
            }
            Vec::new()
        }))
    }
}
