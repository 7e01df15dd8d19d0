//! What an instance is started from: its row, read anew each time. What a crashed actor believed was stored may not be, and what it had
//! not heard of yet may be.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix::prelude::{ActorFutureExt, AsyncContext, Context, ResponseFuture, WrapFuture};
use holdfast_core::backoff::Backoff;
use holdfast_core::connection::{Phase, Refusal};
use holdfast_core::fleet::Standing;
use holdfast_core::id::InstanceId;
use holdfast_core::status::InstanceStatus;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::timeout;
use tracing::{error, warn};

use super::SupervisorActor;
use super::protocol::CommandError;
use super::roster::{Child, Known, Line, Otherwise, Unread};
use crate::actors::instance::{InstanceActor, Scribe};
use crate::ports::chance;
use crate::ports::store::{InstanceRecord, Store, StoreError};

/// How long the row may take to be read; whoever asked for a start waits as long.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// The wait before it is read again.
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(15) };
/// Who may wait for one start.
const MOST_WAITING: usize = 256;

/// Why a row could not be read. It says nothing about what the row holds.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("credentials that were given up are not archived yet")]
    Archiving,
    #[error("the database did not answer in time")]
    Late,
    #[error("the row could not be read")]
    Store(#[from] StoreError),
    #[error("the call panicked")]
    Panicked(#[from] JoinError),
}

impl SupervisorActor {
    /// Finds the child of an instance that commands may reach; `None` if it does not run and has to be started first.
    pub(super) fn running(&mut self, id: &InstanceId) -> Result<Option<Addr<InstanceActor>>, CommandError> {
        if self.draining {
            return Err(CommandError::Stopping);
        }
        let line = self.roster.get_mut(id).ok_or(CommandError::Unknown)?;
        if line.departures > 0 {
            return Err(CommandError::Refused(Refusal::Stopping));
        }
        Ok(match &line.child {
            Child::Running { addr, .. } => Some(addr.clone()),
            Child::Restarting { .. } | Child::Reading { .. } | Child::Quarantined | Child::Ended => None,
        })
    }

    /// Finds the way to the child, starting it first if it does not run: what an operator asks for is not kept waiting by a backoff.
    pub(super) fn reach(
        &mut self,
        id: &InstanceId,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<Addr<InstanceActor>, CommandError>> {
        let answer = |answer| -> ResponseFuture<_> { Box::pin(std::future::ready(answer)) };
        match self.running(id) {
            Ok(None) => {}
            Ok(Some(addr)) => return answer(Ok(addr)),
            Err(error) => return answer(Err(error)),
        }
        let Some(line) = self.roster.get_mut(id) else { return answer(Err(CommandError::Unknown)) };
        line.callers.retain(|caller| !caller.is_closed());
        if line.callers.len() >= MOST_WAITING {
            return answer(Err(CommandError::Overloaded));
        }
        let (caller, started) = oneshot::channel();
        line.callers.push(caller);
        self.start_child(id, ctx);
        // A line that is struck off forgets who waits.
        Box::pin(async move { started.await.unwrap_or(Err(CommandError::Unknown)) })
    }

    /// Reads the row of a child that is to be started.
    pub(super) fn read(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        let (Some(instance), Some(line)) = (&self.instance, self.roster.get_mut(id)) else { return };
        let otherwise = match line.child {
            Child::Running { .. } | Child::Reading { .. } => return,
            Child::Restarting { timer } => {
                ctx.cancel_future(timer);
                Otherwise::Restarts
            }
            Child::Quarantined => Otherwise::Quarantined,
            Child::Ended => Otherwise::Ended,
        };
        let row = row(line.scribe(id, instance), Arc::clone(&instance.store), id.clone());
        let reading = instance.runtime.spawn(row);
        let whose = id.clone();
        let reading = async move { reading.await? }.into_actor(self).map(move |row, supervisor: &mut Self, ctx| {
            supervisor.have_read(&whose, row, ctx);
        });
        let reading = ctx.spawn(reading);
        if let Some(line) = self.roster.get_mut(id) {
            line.child = Child::Reading { reading, otherwise };
        }
    }

    fn have_read(&mut self, id: &InstanceId, row: Result<Option<InstanceRecord>, Unreadable>, ctx: &mut Context<Self>) {
        let (Some(instance), Some(line)) = (&self.instance, self.roster.get_mut(id)) else { return };
        let Child::Reading { otherwise, .. } = line.child else { return };
        match row {
            Ok(Some(record)) => {
                line.known = Some(Known::of(&record, instance.clock));
                line.unread = None;
                line.child = Child::Ended;
                match otherwise {
                    Otherwise::Restarts => self.restarts += 1,
                    Otherwise::Quarantined => line.crashes.forgive(),
                    Otherwise::Ended => {}
                }
                self.start_child(id, ctx);
            }
            Ok(None) => {
                error!(instance.id = %id, "Instance {id} has no row any more; it is not started");
                line.child = Child::Ended;
                line.answer(&Err(CommandError::Unknown));
                self.stands(id.clone(), Standing::Out, ctx);
                self.hang_without_actor(id, Phase::Stopped, false);
            }
            Err(why) => self.put_off(id, otherwise, &why, ctx),
        }
        self.show();
    }

    /// The row could not be read: nothing is assumed. A restart is tried again later; what only an operator wanted started stays as it was.
    fn put_off(&mut self, id: &InstanceId, otherwise: Otherwise, why: &Unreadable, ctx: &mut Context<Self>) {
        let (Some(instance), Some(line)) = (&self.instance, self.roster.get_mut(id)) else { return };
        let now = instance.clock.now();
        let unread = line.unread.get_or_insert(Unread { failures: 0, since: now });
        unread.failures = unread.failures.saturating_add(1);
        let Unread { failures, since } = *unread;
        if failures == 1 {
            warn!(instance.id = %id, error = why as &dyn std::error::Error, "What is stored of instance {id} cannot be read; it is not started before");
        }
        line.answer(&Err(CommandError::StoreUnavailable));
        match otherwise {
            Otherwise::Restarts => {
                let wait = RETRY.delay(failures, chance::unit());
                self.hang(id, |paired| InstanceStatus::unread(since, now, now.after(wait), paired));
                self.restart_after(id, wait, ctx);
            }
            Otherwise::Quarantined => line.child = Child::Quarantined,
            Otherwise::Ended => line.child = Child::Ended,
        }
    }
}

impl Line {
    /// Tells those who wait for a start what came of it; who has gone away meanwhile needs no answer.
    pub(super) fn answer(&mut self, answer: &Result<Addr<InstanceActor>, CommandError>) {
        for caller in self.callers.drain(..) {
            let _ = caller.send(answer.clone());
        }
    }
}

/// Reads a row once no credentials wait to be archived, which it would still show. `None` says that there is none.
async fn row(scribe: Scribe, store: Arc<dyn Store>, id: InstanceId) -> Result<Option<InstanceRecord>, Unreadable> {
    if !scribe.archived(READ_WITHIN / 2).await {
        return Err(Unreadable::Archiving);
    }
    let read = async {
        // What the sealed link of the last actor had submitted is written before this is.
        store.ping().await?;
        store.find(&id).await
    };
    Ok(timeout(READ_WITHIN / 2, read).await.map_err(|_elapsed| Unreadable::Late)??)
}
