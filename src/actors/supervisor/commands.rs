//! The supervisor's commands: each finds the child, starts it if it must, and passes the word on.

use std::time::Duration;

use actix::prelude::{
    ActorFutureExt, AsyncContext, Context, Handler, MailboxError, Recipient, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Event, Phase, Refusal};
use holdfast_core::event::Owner;
use holdfast_core::fleet;
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::CrashRecord;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use super::SupervisorActor;
use super::protocol::{
    ApplySettings, CommandError, ConnectInstance, DeleteInstance, DrainAll, InstancePorts, LogOutInstance,
    RerouteInstance, RestartInstance, StartInstance, WhereIs,
};
use super::roster::{Child, Known, Line};
use crate::actors::instance::Leash;
use crate::actors::instance::protocol::{Command, SettingsChanged};
use crate::failpoint::reach;
use crate::ports::board::{Entry, PairingView, Token};
use crate::ports::store::InstanceRecord;

/// How long an instance may take to take a command.
const ANSWER: Duration = Duration::from_secs(2);
/// How long an instance may take to be unlinked and gone.
const GONE: Duration = Duration::from_secs(15);

impl Handler<StartInstance> for SupervisorActor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, StartInstance { record }: StartInstance, ctx: &mut Self::Context) -> Self::Result {
        if self.draining {
            return Err(CommandError::Stopping);
        }
        if self.roster.contains(&record.id) {
            return Ok(());
        }
        let id = record.id.clone();
        self.enlist(record);
        // It dials in its turn.
        self.start_child(&id, ctx);
        Ok(())
    }
}

impl SupervisorActor {
    fn enlist(&mut self, record: InstanceRecord) {
        let known = self.instance.as_ref().map(|instance| Known::of(&record, instance.clock));
        let line = Line {
            name: record.name.clone(),
            generation: Generation(0),
            child: Child::Ended,
            crashes: CrashRecord::default(),
            last_link: LinkId(0),
            desired: record.desired,
            known,
            unread: None,
            callers: Vec::new(),
            // The last process may not have come to say how it ended; its actor puts that right.
            claimed: PublicState::named(&record.connection_status),
            scribe: None,
            leash: Leash::default(),
            moves: 0,
            farewells: Vec::new(),
        };
        if let Some(instance) = &self.instance {
            let phase = match (record.paired, record.desired) {
                (false, _) => Phase::Unpaired,
                (true, holdfast_core::connection::Desired::Stopped) => Phase::Parked,
                (true, holdfast_core::connection::Desired::Connected) => Phase::Waiting,
            };
            let status = InstanceStatus::without_actor(phase, instance.clock.now(), record.paired, false);
            let owner = Owner { jid: record.owner_jid, name: record.profile_name, picture: record.profile_picture };
            let entry = Entry {
                name: record.name,
                token: Token(record.token),
                integration: record.integration.unwrap_or_default(),
                status,
                pairing: PairingView::default(),
                owner,
            };
            instance.board.hang(&record.id, entry);
        }
        self.roster.insert(record.id, line);
    }

    fn forward(
        &mut self,
        id: &InstanceId,
        event: Event,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<(), CommandError>> {
        let reached = self.reach(id, ctx);
        Box::pin(async move { ask(reached.await?.recipient(), Command(event)).await })
    }

    /// Registers somebody who wants to know when the child has ended.
    fn farewell(&mut self, id: &InstanceId) -> Option<oneshot::Receiver<bool>> {
        let line = self.roster.get_mut(id)?;
        let (sender, receiver) = oneshot::channel();
        line.farewells.push(sender);
        Some(receiver)
    }
}

async fn ask(instance: Recipient<Command>, command: Command) -> Result<(), CommandError> {
    match timeout(ANSWER, instance.send(command)).await {
        Ok(Ok(answer)) => answer.map_err(CommandError::Refused),
        Ok(Err(MailboxError::Closed | MailboxError::Timeout)) | Err(_) => Err(CommandError::Overloaded),
    }
}

impl Handler<ConnectInstance> for SupervisorActor {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, command: ConnectInstance, ctx: &mut Self::Context) -> Self::Result {
        self.forward(&command.id, Event::Connect { method: command.method }, ctx)
    }
}

impl Handler<RestartInstance> for SupervisorActor {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, command: RestartInstance, ctx: &mut Self::Context) -> Self::Result {
        self.forward(&command.id, Event::Restart, ctx)
    }
}

impl Handler<RerouteInstance> for SupervisorActor {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, command: RerouteInstance, _: &mut Self::Context) -> Self::Result {
        match self.roster.get_mut(&command.id).map(|line| &line.child) {
            Some(Child::Running { addr, .. }) => Box::pin(ask(addr.clone().recipient(), Command(Event::Rerouted))),
            // Whoever starts later reads the new row before it dials.
            Some(Child::Restarting { .. } | Child::Reading { .. } | Child::Quarantined | Child::Ended) => {
                Box::pin(std::future::ready(Ok(())))
            }
            None => Box::pin(std::future::ready(Err(CommandError::Unknown))),
        }
    }
}

impl Handler<LogOutInstance> for SupervisorActor {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, command: LogOutInstance, ctx: &mut Self::Context) -> Self::Result {
        let watcher = self.instance.as_ref().and_then(|instance| instance.board.watch(&command.id));
        let asked = self.forward(&command.id, Event::LogOut, ctx);
        Box::pin(async move {
            asked.await?;
            let mut watcher = watcher.ok_or(CommandError::Unknown)?;
            let unpaired = watcher.wait_for(|entry| entry.status.phase == Phase::Unpaired);
            match timeout(GONE, unpaired).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(CommandError::Unknown),
                Err(_) => Err(CommandError::Overloaded),
            }
        })
    }
}

impl Handler<DeleteInstance> for SupervisorActor {
    type Result = ResponseActFuture<Self, Result<(), CommandError>>;

    fn handle(&mut self, command: DeleteInstance, ctx: &mut Self::Context) -> Self::Result {
        let id = command.id;
        let runs = self.roster.get_mut(&id).is_some_and(|line| matches!(line.child, Child::Running { .. }));
        let ended = if runs { self.farewell(&id) } else { None };
        let asked: ResponseFuture<Result<(), CommandError>> = if runs {
            self.forward(&id, Event::Delete { within: GONE }, ctx)
        } else if self.draining {
            Box::pin(std::future::ready(Err(CommandError::Stopping)))
        } else {
            let known = self.roster.contains(&id);
            Box::pin(std::future::ready(if known { Ok(()) } else { Err(CommandError::Unknown) }))
        };
        let gone = async move {
            match asked.await {
                // A child that is stopping already ends all the same.
                Ok(()) | Err(CommandError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            match ended {
                None => Ok(()),
                Some(ended) => match timeout(GONE + ANSWER, ended).await {
                    Ok(_) => Ok(()),
                    Err(_) => Err(CommandError::Overloaded),
                },
            }
        };
        Box::pin(gone.into_actor(self).map(move |gone, supervisor, ctx| {
            gone?;
            supervisor.strike(&id, ctx);
            Ok(())
        }))
    }
}

impl SupervisorActor {
    /// Takes an instance off the roster and the board.
    fn strike(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        if let Some(line) = self.roster.remove(id)
            && let Child::Restarting { timer: waits } | Child::Reading { reading: waits, .. } = line.child
        {
            ctx.cancel_future(waits);
        }
        self.gate(fleet::Event::Gone { id: id.clone() }, ctx);
        if let Some(instance) = &self.instance {
            instance.board.take_down(id);
        }
        info!(instance.id = %id, "Instance {id} is off the roster");
    }
}

impl Handler<WhereIs> for SupervisorActor {
    type Result = Result<InstancePorts, CommandError>;

    fn handle(&mut self, question: WhereIs, _: &mut Self::Context) -> Self::Result {
        if self.draining {
            return Err(CommandError::Stopping);
        }
        let line = self.roster.get_mut(&question.id).ok_or(CommandError::Unknown)?;
        let addr = match &line.child {
            Child::Running { addr, .. } => addr.clone(),
            // A message is no reason to cut a backoff short, or to forgive a quarantine: that takes an operator.
            Child::Restarting { .. } | Child::Reading { .. } | Child::Quarantined | Child::Ended => {
                return Err(CommandError::Refused(Refusal::NotConnected));
            }
        };
        Ok(InstancePorts {
            send_text: addr.clone().recipient(),
            set_presence: addr.clone().recipient(),
            verify: addr.recipient(),
        })
    }
}

impl Handler<ApplySettings> for SupervisorActor {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, ApplySettings { id }: ApplySettings, _: &mut Self::Context) -> Self::Result {
        let child = self.roster.get_mut(&id).map(|line| match &line.child {
            Child::Running { addr, .. } => Some(addr.clone()),
            Child::Restarting { .. } | Child::Reading { .. } | Child::Quarantined | Child::Ended => None,
        });
        Box::pin(async move {
            match child {
                None => Err(CommandError::Unknown),
                Some(None) => Ok(()),
                Some(Some(addr)) => addr.send(SettingsChanged).await.map_err(|_gone| CommandError::Overloaded),
            }
        })
    }
}

impl Handler<DrainAll> for SupervisorActor {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, DrainAll { within }: DrainAll, ctx: &mut Self::Context) -> Self::Result {
        reach!("drain.asked");
        self.draining = true;
        let mut pending = Vec::new();
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
                }
                Child::Quarantined | Child::Ended => {}
            }
        }
        // The instances bound themselves; the margin lets the last of them say so.
        let margin = within / 10;
        Box::pin(async move {
            let drains = pending
                .into_iter()
                .map(|(id, command, ended)| drain(id, command, ended, within.saturating_sub(margin), margin));
            futures_util::future::join_all(drains).await.into_iter().flatten().collect()
        })
    }
}

/// Drains one instance and returns what had to be forced.
async fn drain(
    id: InstanceId,
    instance: Recipient<Command>,
    ended: oneshot::Receiver<bool>,
    within: Duration,
    margin: Duration,
) -> Option<String> {
    if ask(instance, Command(Event::Shutdown { within })).await.is_err() {
        warn!(instance.id = %id, "Instance {id} does not take the word to stop");
    }
    match timeout(within + margin, ended).await {
        Ok(Ok(true)) => None,
        Ok(Ok(false) | Err(_)) => Some(format!("instance {id} was cut before it was saved and closed")),
        Err(_) => Some(format!("instance {id} did not end in its time")),
    }
}
