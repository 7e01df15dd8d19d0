//! An instance's turn: its oldest delivery is tried, judged, recorded, and perhaps followed by the next.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use holdfast_core::delivery::breaker::{Change, Said};
use holdfast_core::delivery::lanes::Judged;
use holdfast_core::delivery::{Next, Outcome, Past};
use holdfast_core::id::InstanceId;
use tracing::{debug, error, info, warn};

use super::DispatcherActor;
use super::lane::{self, Made, Tried};
use crate::ports::chance;
use crate::ports::outbox::Settlement;

impl DispatcherActor {
    /// Tries the oldest delivery of an instance that has a lane.
    pub(super) fn start(&mut self, instance: InstanceId, ctx: &mut Context<Self>) {
        let Some(origin) = self.lanes.origin(&instance).cloned() else { return };
        let (store, sink) = (Arc::clone(&self.parts.store), Arc::clone(&self.parts.sink));
        let attempt = lane::attempt(store, sink, instance.clone(), origin, self.now_ms());
        let task = self.parts.runtime.spawn(attempt);
        ctx.spawn(task.into_actor(self).map(move |tried, actor, ctx| match tried {
            Ok(tried) => actor.tried(instance, tried, ctx),
            Err(crash) => {
                error!(instance.id = %instance, error = %crash, "A delivery's task ended in a crash");
                actor.tried(instance, Tried::Nothing, ctx);
            }
        }));
    }

    fn tried(&mut self, instance: InstanceId, tried: Tried, ctx: &mut Context<Self>) {
        match tried {
            Tried::Made(made) => self.made(instance, made, ctx),
            Tried::Nothing => {
                self.judge(&instance, None, ctx);
                self.leave(&instance, ctx);
            }
            Tried::Moved => {
                self.judge(&instance, None, ctx);
                self.leave(&instance, ctx);
                self.look_soon(ctx);
            }
            Tried::Unread(cause) => {
                self.judge(&instance, None, ctx);
                self.leave(&instance, ctx);
                self.unread(&cause, ctx);
            }
            Tried::Unreadable { seq, why } => {
                self.judge(&instance, None, ctx);
                self.counters.given_up += 1;
                if let Some(unsaid) = self.spoilt.may_say(self.parts.clock.now()) {
                    error!(instance.id = %instance, seq, why, unsaid, "Outbox row {seq} cannot be read and is a dead letter");
                }
                self.settle(instance, seq, Settlement::Unreadable { why }, true, ctx);
            }
        }
    }

    fn made(&mut self, instance: InstanceId, made: Made, ctx: &mut Context<Self>) {
        let Made { seq, event, number, attempts, waiting_ms, outcome } = made;
        self.failures = 0;
        let judged = self.judge(&instance, Some(&outcome), ctx);
        let counts = judged.as_ref().is_none_or(|judged| judged.counts);
        let now_ms = self.now_ms();
        let age = Duration::from_millis(u64::try_from(now_ms - waiting_ms).unwrap_or_default());
        let next = self.parts.policy.decide(&outcome, Past { attempts, age }, counts, chance::unit());
        let (settlement, goes_on) = match next {
            Next::Done => {
                self.counters.delivered += 1;
                debug!(instance.id = %instance, sink = self.parts.sink.name(), event, attempt = number, "A delivery has arrived");
                (Settlement::Delivered, true)
            }
            Next::Retry { after, counts, why } => {
                self.counters.failed += 1;
                let now = self.parts.clock.now();
                let sink = self.parts.sink.name();
                match self.retried.may_say(now) {
                    Some(unsaid) => {
                        info!(instance.id = %instance, sink, event, attempt = number, why, unsaid, "A delivery is tried again");
                    }
                    None => {
                        debug!(instance.id = %instance, sink, event, attempt = number, why, "A delivery is tried again");
                    }
                }
                self.wake_by(now.after(after), ctx);
                (Settlement::RetryAt { at_ms: later(now_ms, after), counts, why }, false)
            }
            Next::Dead { counts, too_old, why } => {
                self.counters.failed += 1;
                self.counters.given_up += 1;
                if let Some(unsaid) = self.given_up.may_say(self.parts.clock.now()) {
                    let sink = self.parts.sink.name();
                    warn!(instance.id = %instance, sink, event, attempt = number, why, unsaid, "A delivery is given up");
                }
                let too_old = too_old.then(|| earlier(now_ms, self.parts.policy.max_age));
                (Settlement::Dead { counts, and_before_ms: too_old, why }, true)
            }
        };
        self.settle(instance, seq, settlement, goes_on, ctx);
    }

    /// Tells the lanes what a try has shown of its target, and people when that changes something.
    fn judge(&mut self, instance: &InstanceId, outcome: Option<&Outcome>, ctx: &mut Context<Self>) -> Option<Judged> {
        let said = outcome.map_or(Said::Nothing, Outcome::said);
        let judged = self.lanes.judge(instance, said, self.parts.clock.now(), chance::unit())?;
        let origin = &judged.origin;
        match judged.change {
            Some(Change::Opened) => {
                let why = outcome.map(ToString::to_string);
                warn!(%origin, why, "Deliveries to {origin} pause until it answers again; nothing is lost");
            }
            Some(Change::Closed) => {
                info!(%origin, "Deliveries to {origin} go on");
                self.look_soon(ctx);
            }
            None => {}
        }
        if let Some(probe_at) = judged.probe_at {
            self.wake_by(probe_at, ctx);
        }
        Some(judged)
    }

    /// Records how it went; `goes_on` tells whether the next of the instance may follow.
    fn settle(&mut self, instance: InstanceId, seq: i64, how: Settlement, goes_on: bool, ctx: &mut Context<Self>) {
        let task = self.parts.runtime.spawn(lane::settle(Arc::clone(&self.parts.store), seq, how));
        ctx.spawn(task.into_actor(self).map(move |settled, actor, ctx| {
            if let Err(crash) = settled {
                error!(instance.id = %instance, error = %crash, "Recording a delivery ended in a crash");
            }
            if !goes_on {
                actor.leave(&instance, ctx);
            } else if !actor.flushing && actor.lanes.stay(&instance, actor.parts.clock.now()) {
                actor.start(instance, ctx);
            } else {
                actor.leave(&instance, ctx);
                actor.look_soon(ctx);
            }
        }));
    }

    fn leave(&mut self, instance: &InstanceId, ctx: &mut Context<Self>) {
        let left = self.lanes.leave(instance, self.parts.clock.now());
        for pick in left.picks {
            self.start(pick, ctx);
        }
        if left.look {
            self.look_soon(ctx);
        }
        if self.lanes.under_way() == 0 {
            for waiting in self.idle.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 2)
}

fn later(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(millis(wait))
}

fn earlier(now_ms: i64, span: Duration) -> i64 {
    now_ms.saturating_sub(millis(span))
}
