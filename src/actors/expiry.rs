//! ExpiryActor: carries out `DEL_INSTANCE`, as [`holdfast_core::expiry`] decides. It runs only if that is set.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, ActorFutureExt, AsyncContext, Context, Recipient, WrapFuture};
use holdfast_core::connection::Phase;
use holdfast_core::expiry::{Candidate, Decision, decide, due};
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::actors::supervisor::protocol::{CommandError, ExpireInstance};
use crate::ports::board::Board;
use crate::ports::clock::Clock;
use crate::ports::restoration::Restoration;
use crate::ports::store::{InstanceRecord, Store};

/// How often it looks; a deletion is that much late at most.
const LOOKS: Duration = Duration::from_secs(5);

/// What it works with.
pub struct ExpiryParts {
    /// How long after its creation an instance is due.
    pub after: Duration,
    pub clock: Clock,
    pub board: Arc<Board>,
    pub store: Arc<dyn Store>,
    /// Tells of which instances not every place was heard.
    pub restoration: Arc<Restoration>,
    pub runtime: Handle,
    pub expire: Recipient<ExpireInstance>,
}

/// Deletes instances that nobody ever paired.
pub struct ExpiryActor {
    parts: Arc<ExpiryParts>,
    /// When each instance that has no credentials is due; `None` if it had some once.
    due: HashMap<InstanceId, Option<Timestamp>>,
}

/// What a look at one instance came to.
enum Look {
    Due(Timestamp),
    Never,
    Deleted,
    Again,
}

impl ExpiryActor {
    /// Makes the actor.
    pub fn new(parts: ExpiryParts) -> Self {
        Self { parts: Arc::new(parts), due: HashMap::new() }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let (now, all) = (self.parts.clock.now(), self.parts.board.all());
        let unpaired: HashMap<InstanceId, Phase> = all
            .into_iter()
            .filter(|(_, entry)| !entry.status.paired)
            .map(|(id, entry)| (id, entry.status.phase))
            .collect();
        self.due.retain(|id, _| unpaired.contains_key(id));
        let mut work = Vec::new();
        for (id, phase) in unpaired {
            match self.due.get(&id) {
                None => work.push((id, None)),
                Some(Some(due)) if now >= *due => work.push((id, Some(phase))),
                Some(_) => {}
            }
        }
        let parts = Arc::clone(&self.parts);
        let looked = async move {
            let mut looks = Vec::with_capacity(work.len());
            for (id, phase) in work {
                let look = match phase {
                    None => first_look(&parts, &id).await,
                    Some(phase) => judge(&parts, &id, phase).await,
                };
                looks.push((id, look));
            }
            looks
        };
        ctx.spawn(looked.into_actor(self).map(|looks, actor, ctx| {
            for (id, look) in looks {
                match look {
                    Look::Due(due) => {
                        actor.due.insert(id, Some(due));
                    }
                    Look::Never => {
                        actor.due.insert(id, None);
                    }
                    Look::Deleted => {
                        actor.due.remove(&id);
                    }
                    Look::Again => {}
                }
            }
            ctx.run_later(LOOKS, Self::look);
        }));
    }
}

impl Actor for ExpiryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(LOOKS, Self::look);
    }
}

/// Learns when an instance is due that was not known: one that is new, or all of them after a start.
async fn first_look(parts: &Arc<ExpiryParts>, id: &InstanceId) -> Look {
    match read(parts, id).await {
        Ok(Some(record)) if record.was_ever_paired() => Look::Never,
        Ok(Some(record)) => {
            let age = record.created_at.and_then(|at| (parts.clock.wall() - at).to_std().ok());
            Look::Due(due(parts.clock.now(), parts.after, age))
        }
        Ok(None) | Err(Unread) => Look::Again,
    }
}

async fn judge(parts: &Arc<ExpiryParts>, id: &InstanceId, phase: Phase) -> Look {
    // What is stored decides, and what cannot be read is no reason to delete.
    let Ok(Some(record)) = read(parts, id).await else { return Look::Again };
    let unheard = parts.restoration.line(id).is_some_and(|line| !line.decision.silent.is_empty());
    match decide(Candidate { ever_paired: record.was_ever_paired(), unheard, phase }) {
        Decision::Keep => Look::Never,
        Decision::Postpone => Look::Again,
        Decision::Delete => delete(parts, record).await,
    }
}

/// Has the instance deleted, which the supervisor and its machine refuse if somebody is quicker.
async fn delete(parts: &Arc<ExpiryParts>, known: InstanceRecord) -> Look {
    let InstanceRecord { id, name, .. } = known;
    match parts.expire.send(ExpireInstance { id: id.clone() }).await {
        Ok(Ok(())) => {
            info!(instance.id = %id, minutes = parts.after.as_secs() / 60, "Instance {name} was never paired and is deleted, as DEL_INSTANCE says");
            Look::Deleted
        }
        // Somebody else deletes it.
        Ok(Err(CommandError::Unknown)) => Look::Deleted,
        Ok(Err(_)) | Err(_) => Look::Again,
    }
}

/// The database did not answer, which was logged.
struct Unread;

/// Reads the row on the shared runtime.
async fn read(parts: &Arc<ExpiryParts>, id: &InstanceId) -> Result<Option<InstanceRecord>, Unread> {
    let (store, own) = (Arc::clone(&parts.store), id.clone());
    match parts.runtime.spawn(async move { store.get(&own).await }).await {
        Ok(Ok(record)) => Ok(record),
        Ok(Err(error)) => {
            warn!(instance.id = %id, error = &error as &dyn std::error::Error, "An instance could not be read");
            Err(Unread)
        }
        Err(crashed) => {
            warn!(instance.id = %id, error = &crashed as &dyn std::error::Error, "An instance could not be read");
            Err(Unread)
        }
    }
}
