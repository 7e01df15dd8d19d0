//! The roster follows the leases: what is not ours any more goes, what is ours is put on, and what others should have is given up.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::future::{LocalBoxFuture, join_all};
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::Event;
use holdfast_core::time::Timestamp;
use tracing::{error, info, warn};

use super::{CHANGE, Failure, LeaseActor};
use crate::actors::supervisor::protocol::{HandOver, LetGone, Own, TakeIn};
use crate::ports::store::{InstanceRecord, Instances, StoreError};

/// From so many on, all rows are read at once rather than one by one.
const MANY: usize = 16;

impl LeaseActor {
    /// Lets the supervisor compare what this node owned at `asked_at` with its roster, and puts on what is missing there.
    pub(super) fn compare(&self, asked_at: Timestamp, ids: Vec<InstanceId>, ctx: &mut Context<Self>) {
        if !self.manned {
            return;
        }
        let compared = self.parts.own.send(Own { asked_at, ids });
        ctx.spawn(compared.into_actor(self).map(move |missing, actor, ctx| match missing {
            Ok(missing) => {
                ctx.spawn(actor.take(missing, asked_at).into_actor(actor));
            }
            Err(gone) => error!("The supervisor does not answer: {gone}"),
        }));
    }

    pub(super) fn adopt(&self, most: u32, abandoned: bool, ctx: &mut Context<Self>) {
        let (leases, asked_at) = (Arc::clone(&self.parts.leases), self.parts.clock.now());
        let adopted = self.call(CHANGE, async move { leases.adopt(most, abandoned).await });
        ctx.spawn(adopted.into_actor(self).map(move |adopted, actor, ctx| {
            let taken = match adopted {
                Ok(ids) => {
                    if !ids.is_empty() {
                        info!(instances = ids.len(), "This node takes {} instances that nobody owned", ids.len());
                    }
                    actor.take(ids, asked_at)
                }
                // What was claimed all the same is told by the next renewal.
                Err(why) => {
                    warn!(error = &why as &dyn std::error::Error, "Instances that nobody owns could not be claimed");
                    actor.take(Vec::new(), asked_at)
                }
            };
            ctx.spawn(taken.into_actor(actor).map(|(), actor, ctx| actor.feed(Event::SweepOver, ctx)));
        }));
    }

    /// Reads instances that are ours and puts them on the roster. What cannot be read is told again by the next renewal.
    fn take(&self, ids: Vec<InstanceId>, asked_at: Timestamp) -> LocalBoxFuture<'static, ()> {
        if ids.is_empty() {
            return Box::pin(std::future::ready(()));
        }
        let (instances, take_in) = (Arc::clone(&self.parts.instances), self.parts.take_in.clone());
        let read = self.call(CHANGE, async move { read(&*instances, ids).await });
        Box::pin(async move {
            let records = read.await.unwrap_or_else(|why: Failure| {
                warn!(error = &why as &dyn std::error::Error, "Instances of this node could not be read; trying again");
                Vec::new()
            });
            for record in records {
                if let Err(gone) = take_in.send(TakeIn { record, asked_at }).await {
                    return error!("The supervisor does not answer: {gone}");
                }
            }
        })
    }

    /// Has instances ended here, and lets them go once that is confirmed.
    pub(super) fn hand_over(&self, most: u32, ctx: &mut Context<Self>) {
        let ended = self.parts.hand_over.send(HandOver { most });
        ctx.spawn(ended.into_actor(self).map(|ended, actor, ctx| {
            let ids = ended.unwrap_or_else(|gone| {
                error!("The supervisor does not answer: {gone}");
                Vec::new()
            });
            if !ids.is_empty() {
                info!(instances = ids.len(), "This node hands {} instances over to the others", ids.len());
            }
            let (let_go, let_gone) = (actor.let_go(ids.clone()), actor.parts.let_gone.clone());
            let handed = async move {
                let_go.await;
                // Whether it is done or not: what is still ours comes back with the next renewal.
                if let Err(gone) = let_gone.send(LetGone { ids }).await {
                    error!("The supervisor does not answer: {gone}");
                }
            };
            ctx.spawn(handed.into_actor(actor).map(|(), actor, ctx| actor.feed(Event::SweepOver, ctx)));
        }));
    }
}

async fn read(instances: &dyn Instances, ids: Vec<InstanceId>) -> Result<Vec<InstanceRecord>, StoreError> {
    if ids.len() < MANY {
        let rows: Result<Vec<_>, _> = join_all(ids.iter().map(|id| instances.find(id))).await.into_iter().collect();
        return Ok(rows?.into_iter().flatten().collect());
    }
    let ids: HashSet<InstanceId> = ids.into_iter().collect();
    Ok(instances.list().await?.into_iter().filter(|record| ids.contains(&record.id)).collect())
}
