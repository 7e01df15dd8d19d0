//! The supervisor's commands: each finds the child, starts it if it must, and passes the word on.

use std::time::Duration;

use actix::prelude::{Context, Handler, MailboxError, Recipient, ResponseFuture};
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Event, Phase, Refusal};
use holdfast_core::event::Owner;
use holdfast_core::id::InstanceId;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::CrashRecord;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SupervisorActor;
use super::protocol::{
    ApplySettings, CommandError, ConnectInstance, InstancePorts, LogOutInstance, RerouteInstance, RestartInstance,
    StartInstance, WhereIs,
};
use super::roster::{Child, Farewell, Known, Line};
use crate::actors::instance::Leash;
use crate::actors::instance::protocol::{Command, SettingsChanged};
use crate::ports::board::{Entry, PairingView, Token};
use crate::ports::store::InstanceRecord;

/// How long an instance may take to take a command.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// How long an instance may take to be unlinked and gone.
pub(super) const GONE: Duration = Duration::from_secs(15);

impl Handler<StartInstance> for SupervisorActor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, StartInstance { record }: StartInstance, ctx: &mut Self::Context) -> Self::Result {
        if self.draining {
            return Err(CommandError::Stopping);
        }
        if let Some(line) = self.roster.get_mut(&record.id) {
            // What is about to be taken off has to be put on again afterwards.
            return if line.departures == 0 { Ok(()) } else { Err(CommandError::Overloaded) };
        }
        let id = record.id.clone();
        // Whoever puts it on knows better than what was seen before.
        self.left.remove(&id);
        self.enlist(record);
        // It dials in its turn.
        self.start_child(&id, ctx);
        Ok(())
    }
}

impl SupervisorActor {
    pub(super) fn enlist(&mut self, record: InstanceRecord) {
        let known = self.instance.as_ref().map(|instance| Known::of(&record, instance.clock));
        let former = self.former.remove(&record.id).unwrap_or_default();
        let line = Line {
            name: record.name.clone(),
            generation: former.generation,
            child: Child::Ended,
            crashes: CrashRecord::default(),
            last_link: former.last_link,
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
            departures: 0,
            clings: false,
            since: self.instance.as_ref().map(|instance| instance.clock.now()).unwrap_or_default(),
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
        match self.running(id) {
            // Put into its mailbox at once, so that commands arrive in the order in which they came here.
            Ok(Some(addr)) => Box::pin(ask(&addr.recipient(), Command(event))),
            Ok(None) => {
                let started = self.reach(id, ctx);
                Box::pin(async move { ask(&started.await?.recipient(), Command(event)).await })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Registers somebody who wants to know when the child has ended.
    pub(super) fn farewell(&mut self, id: &InstanceId) -> Option<oneshot::Receiver<Farewell>> {
        let line = self.roster.get_mut(id)?;
        let (sender, receiver) = oneshot::channel();
        line.farewells.push(sender);
        Some(receiver)
    }
}

/// Puts a command into the mailbox of an instance, at once; the future waits for the answer.
pub(super) fn ask(
    instance: &Recipient<Command>,
    command: Command,
) -> impl Future<Output = Result<(), CommandError>> + use<> {
    let answer = instance.send(command);
    async move {
        match timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => answer.map_err(CommandError::Refused),
            Ok(Err(MailboxError::Closed | MailboxError::Timeout)) | Err(_) => Err(CommandError::Overloaded),
        }
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
        if let Some(keystone) = &self.keystone {
            keystone.passes();
        }
        self.forward(&command.id, Event::Restart, ctx)
    }
}

impl Handler<RerouteInstance> for SupervisorActor {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, command: RerouteInstance, _: &mut Self::Context) -> Self::Result {
        match self.roster.get_mut(&command.id).map(|line| &line.child) {
            Some(Child::Running { addr, .. }) => Box::pin(ask(&addr.clone().recipient(), Command(Event::Rerouted))),
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
