//! Leaving the roster: an operator deletes an instance, or it is deleted because nobody ever paired it.
//!
//! While a deletion is under way its line stays on the roster, and nobody starts or connects the instance: what was asked before counts,
//! what comes meanwhile is refused. Either the line goes, or the instance is where it was before.

use std::sync::Arc;

use actix::prelude::{ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, WrapFuture};
use holdfast_core::connection::{Event, Refusal};
use holdfast_core::fleet;
use holdfast_core::id::InstanceId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use super::SupervisorActor;
use super::commands::{ANSWER, GONE, ask};
use super::protocol::{CommandError, DeleteInstance, ExpireInstance, OffTheRoster};
use super::roster::{Child, Farewell};
use crate::actors::instance::protocol::Command;
use crate::ports::store::{Store, StoreError};

/// The end of a child that was asked for; `None` if it does not run.
pub(super) type Ending = Option<(Asked, oneshot::Receiver<Farewell>)>;
pub(super) type Asked = std::pin::Pin<Box<dyn Future<Output = Result<(), CommandError>>>>;

impl Handler<DeleteInstance> for SupervisorActor {
    type Result = ResponseActFuture<Self, Result<OffTheRoster, CommandError>>;

    fn handle(&mut self, DeleteInstance { id }: DeleteInstance, _: &mut Self::Context) -> Self::Result {
        let ending = match self.depart(&id, Event::Delete { within: GONE }) {
            Ok(ending) => ending,
            Err(error) => return Box::pin(std::future::ready(Err(error)).into_actor(self)),
        };
        let gone = async move {
            let Some((asked, ended)) = ending else { return Ok(None) };
            match asked.await {
                // A child that is stopping already ends all the same.
                Ok(()) | Err(CommandError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            farewell(ended).await
        };
        Box::pin(gone.into_actor(self).map(move |gone, supervisor, ctx| match gone {
            Ok(last) => supervisor.strike(&id, last, ctx),
            Err(error) => {
                supervisor.stay(&id, ctx);
                Err(error)
            }
        }))
    }
}

impl Handler<ExpireInstance> for SupervisorActor {
    type Result = ResponseActFuture<Self, Result<(), CommandError>>;

    fn handle(&mut self, ExpireInstance { id }: ExpireInstance, _: &mut Self::Context) -> Self::Result {
        let begun = self.may_expire(&id).and_then(|parts| Ok((parts, self.depart(&id, Event::Expire)?)));
        let ((store, runtime), ending) = match begun {
            Ok(begun) => begun,
            Err(error) => return Box::pin(std::future::ready(Err(error)).into_actor(self)),
        };
        let own = id.clone();
        let gone = async move {
            if let Some((asked, ended)) = ending {
                asked.await?;
                farewell(ended).await?;
            }
            // Nothing of it runs any more, and all that it had to write is written: what is stored now has the last word.
            runtime.spawn(async move { remove(store.as_ref(), &own).await }).await.unwrap_or_else(|crashed| {
                warn!(error = &crashed as &dyn std::error::Error, "Removing the rows of an instance crashed");
                Err(CommandError::Overloaded)
            })
        };
        Box::pin(gone.into_actor(self).map(move |gone, supervisor, ctx| match gone {
            Ok(()) => supervisor.strike(&id, None, ctx).map(drop),
            Err(error) => {
                supervisor.stay(&id, ctx);
                Err(error)
            }
        }))
    }
}

/// Waits until a child has ended.
pub(super) async fn farewell(ended: oneshot::Receiver<Farewell>) -> Result<Option<Farewell>, CommandError> {
    match timeout(GONE + ANSWER, ended).await {
        Ok(last) => Ok(last.ok()),
        Err(_) => Err(CommandError::Overloaded),
    }
}

/// Removes the rows of an instance that was never paired. What cannot be read is no reason to delete.
async fn remove(store: &dyn Store, id: &InstanceId) -> Result<(), CommandError> {
    let failed = |error: StoreError| {
        warn!(instance.id = %id, error = &error as &dyn std::error::Error, "Instance {id} could not be deleted");
        CommandError::Overloaded
    };
    match store.get(id).await.map_err(failed)? {
        None => Ok(()),
        Some(record) if record.was_ever_paired() => Err(CommandError::Refused(Refusal::InUse)),
        Some(_) => match store.delete(id).await {
            Ok(()) | Err(StoreError::NoSuchInstance(_)) => Ok(()),
            Err(error) => Err(failed(error)),
        },
    }
}

impl SupervisorActor {
    /// Tells whether an instance may expire as far as is known here; the machine of one that runs knows better.
    fn may_expire(&mut self, id: &InstanceId) -> Result<(Arc<dyn Store>, Handle), CommandError> {
        if self.draining {
            return Err(CommandError::Stopping);
        }
        let paired = self.paired(id);
        let (Some(instance), Some(line)) = (&self.instance, self.roster.get_mut(id)) else {
            return Err(CommandError::Unknown);
        };
        if line.departures > 0 {
            return Err(CommandError::Refused(Refusal::Stopping));
        }
        // One that is to be restarted was in use when it crashed.
        let restarts = matches!(line.child, Child::Restarting { .. } | Child::Reading { .. });
        if restarts || paired {
            return Err(CommandError::Refused(Refusal::InUse));
        }
        Ok((Arc::clone(&instance.store), instance.runtime.clone()))
    }

    /// Begins a departure and asks the child to end, if it runs.
    pub(super) fn depart(&mut self, id: &InstanceId, event: Event) -> Result<Ending, CommandError> {
        let line = self.roster.get_mut(id).ok_or(CommandError::Unknown)?;
        if self.draining {
            return Err(CommandError::Stopping);
        }
        line.departures += 1;
        let Child::Running { addr, .. } = &line.child else { return Ok(None) };
        let asked = ask(&addr.clone().recipient(), Command(event));
        Ok(self.farewell(id).map(|ended| (Box::pin(asked) as Asked, ended)))
    }

    /// Takes an instance off the roster and the board.
    pub(super) fn strike(
        &mut self,
        id: &InstanceId,
        last: Option<Farewell>,
        ctx: &mut Context<Self>,
    ) -> Result<OffTheRoster, CommandError> {
        match self.roster.get_mut(id).map(|line| line.departures) {
            // Another deletion at the same moment was quicker.
            None => return Ok(OffTheRoster { listed: last.is_some_and(|last| last.listed) }),
            // It failed afterwards, and has put the instance back.
            Some(0) => return Err(CommandError::Overloaded),
            Some(_) => {}
        }
        let Some(line) = self.roster.remove(id) else { return Err(CommandError::Unknown) };
        if let Child::Restarting { timer: waits } | Child::Reading { reading: waits, .. } = line.child {
            ctx.cancel_future(waits);
        }
        self.remember_leaving(id);
        self.gate(fleet::Event::Gone { id: id.clone() }, ctx);
        let paired = self.paired(id);
        if let Some(instance) = &self.instance {
            instance.board.take_down(id);
        }
        info!(instance.id = %id, "Instance {id} is off the roster");
        Ok(OffTheRoster { listed: last.map_or(paired, |last| last.listed) })
    }

    /// A departure did not come to its end: the instance goes on from what is stored.
    pub(super) fn stay(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        let Some(line) = self.roster.get_mut(id) else { return };
        line.departures = line.departures.saturating_sub(1);
        if line.departures == 0 && !self.draining && !matches!(line.child, Child::Quarantined) {
            self.start_child(id, ctx);
        }
    }
}
