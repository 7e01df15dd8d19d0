//! Draining: every instance is saved and closed within the time of the phase, or named.

use actix::prelude::{AsyncContext, Handler, Recipient, ResponseFuture};
use futures_util::future::{join, join_all};
use holdfast_core::connection::{Event, Phase};
use holdfast_core::id::InstanceId;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use super::SupervisorActor;
use super::commands::ask;
use super::protocol::{CommandError, DrainAll};
use super::roster::{Child, Farewell};
use crate::actors::instance::Scribe;
use crate::actors::instance::protocol::Command;
use crate::actors::leases::protocol::Closed;
use crate::failpoint::reach;

impl Handler<DrainAll> for SupervisorActor {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, DrainAll { within, closed }: DrainAll, ctx: &mut Self::Context) -> Self::Result {
        reach!("drain.asked");
        self.draining = true;
        let (mut pending, mut between, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for (id, line) in self.roster.iter_mut() {
            match &line.child {
                Child::Running { addr, .. } => {
                    let (sender, ended) = oneshot::channel();
                    line.farewells.push(sender);
                    pending.push((id.clone(), addr.clone().recipient::<Command>(), ended));
                }
                Child::Restarting { timer: waits } | Child::Reading { reading: waits, .. } => {
                    ctx.cancel_future(*waits);
                    line.answer(&Err(CommandError::Stopping));
                    line.child = Child::Ended;
                    between.push(id.clone());
                }
                Child::Quarantined | Child::Ended => idle.push(id.clone()),
            }
        }
        for id in &between {
            self.hang_without_actor(id, Phase::Stopped, false);
        }
        let rows = self.scribes(between.iter().chain(&idle));
        // The instances bound themselves; the margin lets the last of them say so, and who says nothing is named before the phase is over.
        let margin = within / 10;
        Box::pin(async move {
            let drains = pending.into_iter().map(|(id, command, ended)| {
                let closed = closed.clone();
                async move {
                    let shutdown = Event::Shutdown { within: within.saturating_sub(margin) };
                    let draining = drain(&id, command, shutdown, ended);
                    let overdue = || Some(format!("instance {id} did not end in its time"));
                    let forced =
                        timeout(within.saturating_sub(margin / 4), draining).await.unwrap_or_else(|_| overdue());
                    if forced.is_none() {
                        // Another node may have it while the others still drain.
                        tell(closed.as_ref(), vec![id]);
                    }
                    forced
                }
            });
            let rows = rows.into_iter().map(|(id, scribe)| async move {
                let written = scribe.written(within.saturating_sub(margin)).await;
                (!written).then(|| format!("the end of instance {id} could not be written"))
            });
            let (drained, written) = join(join_all(drains), join_all(rows)).await;
            tell(closed.as_ref(), idle);
            drained.into_iter().chain(written).flatten().collect()
        })
    }
}

impl SupervisorActor {
    /// Returns who writes the rows of these instances; there is nobody for one that was never started.
    fn scribes<'a>(&mut self, ids: impl Iterator<Item = &'a InstanceId>) -> Vec<(InstanceId, Scribe)> {
        ids.filter_map(|id| Some((id.clone(), self.roster.get_mut(id)?.scribe.clone()?))).collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "one notice for each instance at the end; a lost one would keep it from the other nodes"
)]
fn tell(closed: Option<&Recipient<Closed>>, ids: Vec<InstanceId>) {
    if let Some(closed) = closed {
        closed.do_send(Closed { ids });
    }
}

/// Drains one instance and returns what had to be forced.
async fn drain(
    id: &InstanceId,
    instance: Recipient<Command>,
    shutdown: Event,
    ended: oneshot::Receiver<Farewell>,
) -> Option<String> {
    if ask(&instance, Command(shutdown)).await.is_err() {
        warn!(instance.id = %id, "Instance {id} does not take the word to stop");
    }
    match ended.await {
        Ok(Farewell { clean: true, .. }) => None,
        Ok(Farewell { clean: false, .. }) | Err(_) => {
            Some(format!("instance {id} was cut before it was saved and closed"))
        }
    }
}
