//! LeaseActor: keeps the leases of this node, and lets the roster follow them. The shell of [`holdfast_core::tenancy::Keeper`].
//!
//! Every call of the database has a deadline, runs on the shared runtime and comes back as an event. Facts carry when they were asked
//! for, so that what has changed meanwhile outweighs them. Where no other process can exist it does nothing.

pub mod protocol;
mod taking;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseActFuture, SpawnHandle, WrapFuture,
};
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::{Effect, Env, Event, Keeper, Policy};
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::timeout;
use tracing::{error, info, warn};

use self::protocol::{Closed, Keep, Leave, Manned, Retire};
use crate::actors::keystone::Keystone;
use crate::actors::supervisor::protocol::{HandOver, LetGone, Own, SealAll, TakeIn};
use crate::ports::chance;
use crate::ports::clock::Clock;
use crate::ports::leases::Leases;
use crate::ports::store::{Instances, StoreError};
use crate::ports::tenure::Tenure;

/// How long what has closed waits for others, so that they are let go together.
const BATCH: Duration = Duration::from_millis(250);
/// How long a call may take that changes who owns what.
const CHANGE: Duration = Duration::from_secs(10);
/// The most that is claimed with one call.
const MOST: u32 = 1000;

/// What it works with.
pub struct LeaseParts {
    pub leases: Arc<dyn Leases>,
    pub instances: Arc<dyn Instances>,
    /// Until when every link of the process may act.
    pub tenure: Arc<Tenure>,
    pub policy: Policy,
    pub clock: Clock,
    pub runtime: Handle,
    pub seal: Recipient<SealAll>,
    pub own: Recipient<Own>,
    pub take_in: Recipient<TakeIn>,
    pub hand_over: Recipient<HandOver>,
    pub let_gone: Recipient<LetGone>,
    /// Is notified if another process has this node's name.
    pub usurped: Arc<Notify>,
}

/// The keeper of the leases.
pub struct LeaseActor {
    parts: LeaseParts,
    /// `None` where no other process can exist.
    keeper: Option<Keeper>,
    /// Whether the roster holds what this node owns.
    manned: bool,
    timer: Option<SpawnHandle>,
    /// Failures of renewals in a row.
    failures: u32,
    /// What is closed and not let go yet, once the service is stopping.
    closed: Vec<InstanceId>,
    batch: Option<SpawnHandle>,
    /// Whether the others know that this node stops.
    retired: bool,
    /// Whether another process has this node's name: nothing is asked of the database in that name any more.
    usurped: bool,
    keystone: Option<Keystone>,
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the database did not answer in time")]
    Late,
    #[error("the database could not do it")]
    Store(#[from] StoreError),
    #[error("the call panicked")]
    Panicked(#[from] JoinError),
}

impl LeaseActor {
    /// Makes the actor; it begins with [`Keep`].
    pub fn new(parts: LeaseParts) -> Self {
        let keeper = parts.leases.lease_ttl().map(|_| Keeper::new());
        Self {
            parts,
            keeper,
            manned: false,
            timer: None,
            failures: 0,
            closed: Vec::new(),
            batch: None,
            retired: false,
            usurped: false,
            keystone: None,
        }
    }

    /// Lets it say when it is gone.
    #[must_use]
    pub fn holding(self, keystone: Keystone) -> Self {
        Self { keystone: Some(keystone), ..self }
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        let Some(keeper) = &mut self.keeper else { return };
        if let Some(keystone) = &self.keystone {
            keystone.passes();
        }
        let now = self.parts.clock.now();
        let env = Env { now, jitter: chance::unit(), policy: &self.parts.policy };
        let effects = keeper.step(event, env);
        let due = keeper.deadline();
        for effect in effects {
            self.perform(effect, ctx);
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = due {
            self.timer = Some(ctx.run_later(now.until(due), |actor, ctx| actor.feed(Event::Elapsed, ctx)));
        }
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Renew => self.renew(ctx),
            Effect::Hold { until } => self.parts.tenure.hold_until(until),
            Effect::Lapse => self.lapse(ctx),
            Effect::Resume => info!("The leases of this node hold again; its instances dial in their turn"),
            Effect::Stop => self.parts.usurped.notify_one(),
            Effect::Survey => self.survey(ctx),
            Effect::Adopt { most, abandoned } => self.adopt(most.min(MOST), abandoned, ctx),
            Effect::HandOver { most } => self.hand_over(most, ctx),
        }
    }

    /// Nothing may be sent any more. The tenure has ended by itself; that it also is ended here makes no difference but for a name that
    /// was taken.
    fn lapse(&mut self, ctx: &mut Context<Self>) {
        self.parts.tenure.hold_until(Timestamp::default());
        if !self.usurped {
            error!("The leases of this node were not renewed in time: every connection is cut until they are");
        }
        let sealed = self.parts.seal.send(SealAll);
        ctx.spawn(sealed.into_actor(self).map(|sealed, actor, ctx| match sealed {
            Ok(()) => actor.feed(Event::Sealed, ctx),
            Err(gone) => error!("The supervisor is gone: {gone}"),
        }));
    }

    fn renew(&self, ctx: &mut Context<Self>) {
        let (leases, asked_at) = (Arc::clone(&self.parts.leases), self.parts.clock.now());
        let renewed = self.call(self.parts.policy.patience(), async move { leases.renew().await });
        ctx.spawn(renewed.into_actor(self).map(move |renewed, actor, ctx| actor.renewed(asked_at, renewed, ctx)));
    }

    fn renewed(&mut self, asked_at: Timestamp, renewed: Result<Vec<InstanceId>, Failure>, ctx: &mut Context<Self>) {
        match renewed {
            Ok(ids) => {
                if std::mem::take(&mut self.failures) > 0 {
                    info!("The leases of this node are renewed again");
                }
                self.feed(Event::Renewed { asked_at }, ctx);
                self.compare(asked_at, ids, ctx);
            }
            Err(Failure::Store(StoreError::NodeInUse { node })) => {
                error!(
                    node,
                    "Another process runs as node {node} with another data directory: every connection is cut and this service stops. Give each process a NODE_ID of its own, or unset it"
                );
                self.usurped = true;
                self.feed(Event::Usurped, ctx);
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    warn!(
                        error = &why as &dyn std::error::Error,
                        "The leases of this node could not be renewed; trying again"
                    );
                }
                self.feed(Event::RenewFailed, ctx);
            }
        }
    }

    fn survey(&self, ctx: &mut Context<Self>) {
        let leases = Arc::clone(&self.parts.leases);
        let surveyed = self.call(self.parts.policy.patience(), async move { leases.survey().await });
        ctx.spawn(surveyed.into_actor(self).map(|surveyed, actor, ctx| match surveyed {
            Ok(survey) => actor.feed(Event::Surveyed(survey), ctx),
            // The renewals say so if it lasts.
            Err(why) => {
                tracing::debug!(error = &why as &dyn std::error::Error, "The fleet could not be looked at");
                actor.feed(Event::SweepOver, ctx);
            }
        }));
    }

    /// Calls the database on the shared runtime.
    fn call<T: Send + 'static>(
        &self,
        within: Duration,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Failure>> + 'static {
        let called = self.parts.runtime.spawn(timeout(within, call));
        async move { Ok(called.await?.map_err(|_elapsed| Failure::Late)??) }
    }

    /// Lets go of what has closed, together.
    fn let_go_soon(&mut self, ctx: &mut Context<Self>) {
        if self.batch.is_some() || !self.retired || self.closed.is_empty() {
            return;
        }
        self.batch = Some(ctx.run_later(BATCH, |actor, ctx| {
            actor.batch = None;
            let ids = std::mem::take(&mut actor.closed);
            let let_go = actor.let_go(ids);
            ctx.spawn(let_go.into_actor(actor).map(|_done, actor, ctx| actor.let_go_soon(ctx)));
        }));
    }

    /// Gives instances up; what could not be is held until the lease ends.
    fn let_go(&self, ids: Vec<InstanceId>) -> impl Future<Output = bool> + 'static {
        let (leases, instances) = (Arc::clone(&self.parts.leases), ids.len());
        let none = ids.is_empty() || self.usurped;
        let called = (!none).then(|| self.call(CHANGE, async move { leases.let_go(ids).await }));
        async move {
            let Some(called) = called else { return true };
            let done = called.await;
            if let Err(why) = &done {
                warn!(
                    instances,
                    error = why as &dyn std::error::Error,
                    "Instances could not be let go; other nodes take them when the lease ends"
                );
            }
            done.is_ok()
        }
    }
}

impl Actor for LeaseActor {
    type Context = Context<Self>;
}

impl Handler<Keep> for LeaseActor {
    type Result = ();

    fn handle(&mut self, Keep { asked_at }: Keep, ctx: &mut Self::Context) {
        self.feed(Event::Renewed { asked_at }, ctx);
    }
}

impl Handler<Manned> for LeaseActor {
    type Result = ();

    fn handle(&mut self, _: Manned, ctx: &mut Self::Context) {
        self.manned = true;
        self.feed(Event::Manned, ctx);
    }
}

impl Handler<Retire> for LeaseActor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        if self.keeper.is_none() || self.usurped {
            return;
        }
        self.manned = false;
        self.feed(Event::Retired, ctx);
        let leases = Arc::clone(&self.parts.leases);
        let told = self.call(CHANGE, async move { leases.retire().await });
        ctx.spawn(told.into_actor(self).map(|told, actor, ctx| {
            if let Err(why) = told {
                warn!(error = &why as &dyn std::error::Error, "The other nodes do not know that this one stops");
            }
            actor.retired = true;
            actor.let_go_soon(ctx);
        }));
    }
}

impl Handler<Closed> for LeaseActor {
    type Result = ();

    fn handle(&mut self, Closed { ids }: Closed, ctx: &mut Self::Context) {
        if self.keeper.is_some() {
            self.closed.extend(ids);
            self.let_go_soon(ctx);
        }
    }
}

impl Handler<Leave> for LeaseActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Leave { within }: Leave, ctx: &mut Self::Context) -> Self::Result {
        if self.keeper.is_none() || self.usurped {
            return Box::pin(std::future::ready(()).into_actor(self));
        }
        self.feed(Event::Left, ctx);
        if let Some(batch) = self.batch.take() {
            ctx.cancel_future(batch);
        }
        let closed = std::mem::take(&mut self.closed);
        let let_go = self.let_go(closed);
        let leases = Arc::clone(&self.parts.leases);
        let runtime = self.parts.runtime.clone();
        let leaving = async move {
            let_go.await;
            runtime.spawn(async move { leases.leave().await }).await
        };
        Box::pin(async move { timeout(within, leaving).await }.into_actor(self).map(|left, _, _| match left {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(why))) => warn!(
                error = &why as &dyn std::error::Error,
                "This node could not leave the fleet; the others notice when its lease ends"
            ),
            Ok(Err(_)) | Err(_) => {
                warn!("This node could not leave the fleet in time; the others notice when its lease ends");
            }
        }))
    }
}
