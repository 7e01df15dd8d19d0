//! SystemActor: the shell of [`holdfast_core::shutdown`]. It enters the phases, and tells what each still waits for.

pub mod protocol;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, SpawnHandle, WrapFuture,
};
use futures_util::future::{join, join_all};
use holdfast_core::shutdown::{Budgets, Effect, Event, Phase, Shutdown, ShutdownReport};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{info, warn};

use self::protocol::{BeginShutdown, Booted, GetSystemStatus, GiveUp, SystemStatus};
use crate::actors::dispatcher::protocol::Flush;
use crate::actors::leases::protocol::{Closed, Leave, Retire};
use crate::actors::supervisor::protocol::DrainAll;
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::copying::Copying;
use crate::ports::store::Store;

/// The ways to LeaseActor.
#[derive(Debug, Clone)]
pub struct LeaseWays {
    pub retire: Recipient<Retire>,
    pub closed: Recipient<Closed>,
    pub leave: Recipient<Leave>,
}

/// What the phases act on.
pub struct SystemParts {
    pub clock: Clock,
    pub budgets: Budgets,
    pub drain: Recipient<DrainAll>,
    pub flush: Recipient<Flush>,
    /// Those who keep copies of the sessions.
    pub copying: Vec<Arc<dyn Copying>>,
    pub leases: LeaseWays,
    pub store: Arc<dyn Store>,
    pub runtime: Handle,
    /// Takes the report when everything is over.
    pub report: oneshot::Sender<ShutdownReport>,
}

/// The application controller.
pub struct SystemActor {
    machine: Shutdown,
    clock: Clock,
    drain: Recipient<DrainAll>,
    flush: Recipient<Flush>,
    copying: Vec<Arc<dyn Copying>>,
    leases: LeaseWays,
    store: Arc<dyn Store>,
    runtime: Handle,
    report: Option<oneshot::Sender<ShutdownReport>>,
    timer: Option<SpawnHandle>,
}

impl SystemActor {
    /// Makes a controller that is booting.
    pub fn new(parts: SystemParts) -> Self {
        Self {
            machine: Shutdown::new(parts.budgets),
            clock: parts.clock,
            drain: parts.drain,
            flush: parts.flush,
            copying: parts.copying,
            leases: parts.leases,
            store: parts.store,
            runtime: parts.runtime,
            report: Some(parts.report),
            timer: None,
        }
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let placeholder = Shutdown::new(Budgets::within(Duration::ZERO));
        let (machine, effects) = std::mem::replace(&mut self.machine, placeholder).step(event, now);
        self.machine = machine;
        for effect in effects {
            match effect {
                Effect::Enter { phase, within } => self.enter(phase, within, ctx),
                Effect::Exit(report) => self.finish(report),
            }
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = self.machine.deadline() {
            self.timer = Some(ctx.run_later(now.until(due), |actor, ctx| actor.feed(Event::Elapsed, ctx)));
        }
    }

    fn enter(&self, phase: Phase, within: Duration, ctx: &mut Context<Self>) {
        info!(phase = phase.as_str(), within_ms = within.as_millis(), "Shutting down: {}", phase.as_str());
        reach!("shutdown.phase.{}", phase.as_str());
        match phase {
            Phase::Draining => {
                let closed = Some(self.leases.closed.clone());
                self.retire();
                let drained = self.drain.send(DrainAll { within, closed });
                self.then_done(
                    phase,
                    async move { drained.await.unwrap_or_else(|gone| vec![format!("the supervisor: {gone}")]) },
                    ctx,
                );
            }
            Phase::Flushing => {
                let flushed = self.flush.send(Flush { within });
                // All sessions are saved: these copies are the last. One that cannot be written in its time is no harm, it is older then.
                let copying = self.copying.clone();
                self.then_done(
                    phase,
                    async move {
                        let copied = join_all(copying.iter().map(|one| one.close(within * 4 / 5)));
                        let (flushed, _behind) = join(flushed, copied).await;
                        flushed.unwrap_or_else(|gone| vec![format!("the dispatcher: {gone}")])
                    },
                    ctx,
                );
            }
            Phase::Closing => {
                let store = Arc::clone(&self.store);
                let (left, runtime) = (self.leases.leave.send(Leave { within: within / 2 }), self.runtime.clone());
                self.then_done(
                    phase,
                    async move {
                        if let Err(gone) = left.await {
                            warn!("The keeper of the leases is gone: {gone}");
                        }
                        match runtime.spawn(async move { store.close().await }).await {
                            Ok(Ok(())) => Vec::new(),
                            Ok(Err(error)) => vec![format!("the store did not close: {error}")],
                            Err(error) => vec![format!("closing the store ended in a crash: {error}")],
                        }
                    },
                    ctx,
                );
            }
            // Refusing new work takes no time: readiness and the commands look at the phase.
            Phase::Quiescing => self.then_done(phase, std::future::ready(Vec::new()), ctx),
            Phase::Boot | Phase::Running | Phase::Stopped => {}
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "one notice in a life; a lost one would let other nodes count on this one"
    )]
    fn retire(&self) {
        self.leases.retire.do_send(Retire);
    }

    fn then_done(&self, phase: Phase, work: impl Future<Output = Vec<String>> + 'static, ctx: &mut Context<Self>) {
        ctx.spawn(
            work.into_actor(self).map(move |forced, actor, ctx| actor.feed(Event::PhaseDone { phase, forced }, ctx)),
        );
    }

    fn finish(&mut self, report: ShutdownReport) {
        if report.clean {
            info!(took_ms = report.took_ms, "Stopped cleanly");
        } else {
            warn!(took_ms = report.took_ms, forced = ?report.forced, "Stopped, but not cleanly");
        }
        if let Some(sender) = self.report.take()
            && sender.send(report).is_err()
        {
            warn!("Nobody waits for the shutdown report");
        }
    }
}

impl Actor for SystemActor {
    type Context = Context<Self>;
}

impl Handler<Booted> for SystemActor {
    type Result = ();

    fn handle(&mut self, _: Booted, ctx: &mut Self::Context) {
        self.feed(Event::Booted, ctx);
    }
}

impl Handler<BeginShutdown> for SystemActor {
    type Result = ();

    fn handle(&mut self, _: BeginShutdown, ctx: &mut Self::Context) {
        let event = match self.machine.phase() {
            Phase::Boot | Phase::Running => Event::Begin,
            Phase::Quiescing | Phase::Draining | Phase::Flushing | Phase::Closing | Phase::Stopped => Event::Force,
        };
        self.feed(event, ctx);
    }
}

impl Handler<GiveUp> for SystemActor {
    type Result = ();

    fn handle(&mut self, GiveUp { why }: GiveUp, ctx: &mut Self::Context) {
        self.feed(Event::Fail { why }, ctx);
    }
}

impl Handler<GetSystemStatus> for SystemActor {
    type Result = MessageResult<GetSystemStatus>;

    fn handle(&mut self, _: GetSystemStatus, _: &mut Self::Context) -> Self::Result {
        let phase = self.machine.phase();
        MessageResult(SystemStatus { phase, ready: phase == Phase::Running })
    }
}
