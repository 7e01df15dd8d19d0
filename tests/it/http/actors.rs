//! A supervisor and an instance that do what a test says, and write down what they were asked.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use holdfast::actors::dispatcher::protocol::{GetSinkStatus, SinkStatus, TargetStatus};
use holdfast::actors::instance::protocol::{SendText, SetPresence, Verified, Verify};
use holdfast::actors::supervisor::protocol::{
    ApplySettings, CommandError, ConnectInstance, DeleteInstance, InstancePorts, LogOutInstance, OffTheRoster,
    RerouteInstance, RestartInstance, StartInstance, WhereIs,
};
use holdfast::actors::system::protocol::{GetSystemStatus, SystemStatus};
use holdfast::ports::board::{Board, Entry, PairingView, Token};
use holdfast::ports::clock::Clock;
use holdfast::ports::link::{OutgoingText, SendError, SentMessage};
use holdfast::ports::proxies::{Proxies, TryOutError};
use holdfast_core::connection::{Method, Phase as InstancePhase, Refusal};
use holdfast_core::event::Owner;
use holdfast_core::id::InstanceId;
use holdfast_core::proxy::Proxy;
use holdfast_core::shutdown::Phase;
use holdfast_core::status::InstanceStatus;

/// What the actors do next, and what they were asked.
pub(super) struct Script {
    pub(super) asked: Vec<String>,
    pub(super) sent: Vec<OutgoingText>,
    /// The answer to each command; `None` carries it out.
    pub(super) refuses: Option<CommandError>,
    /// How many instances are not taken onto the roster.
    pub(super) refuses_starts: u32,
    /// Whether the phone may still list the device of what is deleted.
    pub(super) listed: bool,
    /// What a dial brings.
    pub(super) dial: Dial,
    /// How long a dial takes to bring it.
    pub(super) dial_takes: Duration,
    /// The answer to a message; `None` never answers.
    pub(super) send: Option<Result<SentMessage, SendError>>,
    /// How long it takes until it comes.
    pub(super) send_takes: Duration,
    pub(super) phase: Phase,
    pub(super) ready: bool,
    /// What the dispatcher knows of its targets.
    pub(super) targets: Vec<TargetStatus>,
    /// What a ping shows; `None` says nothing for ever.
    #[expect(clippy::option_option, reason = "silence is another thing than the answer that too many wait")]
    pub(super) verified: Option<Option<Verified>>,
    /// Why the next proxies are not taken.
    pub(super) proxy: Option<TryOutError>,
}

/// What a dial brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dial {
    Codes,
    Online,
    Refused,
    Nothing,
}

#[derive(Clone)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Script {
            asked: Vec::new(),
            sent: Vec::new(),
            refuses: None,
            refuses_starts: 0,
            listed: false,
            dial: Dial::Codes,
            dial_takes: Duration::from_millis(20),
            send: Some(Err(SendError::NotConnected)),
            send_takes: Duration::ZERO,
            phase: Phase::Running,
            ready: true,
            targets: Vec::new(),
            verified: Some(Some(Verified { alive: true, rtt: Some(Duration::from_millis(7)) })),
            proxy: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

#[async_trait::async_trait]
impl Proxies for Scripted {
    async fn try_out(&self, proxy: Proxy) -> Result<(), TryOutError> {
        let mut script = self.lock();
        script.asked.push(format!("try {proxy}"));
        script.proxy.clone().map_or(Ok(()), Err)
    }
}

/// Stands in for SupervisorActor, SystemActor and DispatcherActor.
pub(super) struct Supervisor {
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
    pub(super) script: Scripted,
    pub(super) dials: u32,
}

impl Supervisor {
    fn asked(&self, what: String) -> Result<(), CommandError> {
        let mut script = self.script.lock();
        script.asked.push(what);
        script.refuses.map_or(Ok(()), Err)
    }

    fn set(&self, id: &InstanceId, phase: InstancePhase, paired: bool) {
        let now = self.clock.now();
        self.board.update(id, |entry| {
            entry.status = InstanceStatus::without_actor(phase, now, paired, false);
            entry.pairing = PairingView { count: entry.pairing.count, ..PairingView::default() };
            true
        });
    }

    fn dial(&mut self, id: &InstanceId, method: Option<Method>) {
        self.dials += 1;
        let paired = self.board.get(id).is_some_and(|entry| entry.status.paired);
        self.set(id, InstancePhase::Connecting, paired);
        let (dial, takes) = {
            let script = self.script.lock();
            (script.dial, script.dial_takes)
        };
        let (board, clock, id, dials) = (Arc::clone(&self.board), self.clock, id.clone(), self.dials);
        actix_web::rt::spawn(async move {
            tokio::time::sleep(takes).await;
            let status = |phase, paired| InstanceStatus::without_actor(phase, clock.now(), paired, false);
            board.update(&id, |entry| {
                match dial {
                    Dial::Codes => {
                        entry.status = status(InstancePhase::Pairing, false);
                        entry.pairing.qr = Some(format!("2@ref{dials},noise,identity,secret"));
                        if let Some(Method::Code(number)) = method {
                            entry.pairing.code = Some(format!("CODE000{dials}"));
                            entry.pairing.number = Some(number);
                        }
                        entry.pairing.count += 1;
                    }
                    Dial::Online => entry.status = status(InstancePhase::Online, true),
                    Dial::Refused => entry.status = status(InstancePhase::Parked, paired),
                    Dial::Nothing => {}
                }
                true
            });
        });
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

impl Handler<RerouteInstance> for Supervisor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, command: RerouteInstance, _: &mut Self::Context) -> Self::Result {
        self.asked(format!("reroute {}", command.id))
    }
}

impl Handler<StartInstance> for Supervisor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, StartInstance { record }: StartInstance, _: &mut Self::Context) -> Self::Result {
        self.asked(format!("start {}", record.name))?;
        let mut script = self.script.lock();
        if let Some(left) = script.refuses_starts.checked_sub(1) {
            script.refuses_starts = left;
            return Err(CommandError::Overloaded);
        }
        drop(script);
        let status = InstanceStatus::without_actor(InstancePhase::Unpaired, self.clock.now(), record.paired, false);
        let entry = Entry {
            name: record.name,
            token: Token(record.token),
            integration: record.integration.unwrap_or_default(),
            status,
            pairing: PairingView::default(),
            owner: Owner::default(),
        };
        self.board.hang(&record.id, entry);
        Ok(())
    }
}

impl Handler<ConnectInstance> for Supervisor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, ConnectInstance { id, method }: ConnectInstance, _: &mut Self::Context) -> Self::Result {
        self.asked(match &method {
            Method::Qr => "connect by qr".to_owned(),
            Method::Code(number) => format!("connect by code {number}"),
        })?;
        let entry = self.board.get(&id).ok_or(CommandError::Unknown)?;
        match (entry.status.phase, method) {
            (InstancePhase::Pairing, Method::Code(number)) if entry.pairing.number.as_ref() != Some(&number) => {
                self.board.update(&id, |entry| {
                    entry.pairing.code = Some("LATE0001".to_owned());
                    entry.pairing.number = Some(number);
                    true
                });
            }
            (InstancePhase::Unpaired | InstancePhase::Parked, method) => self.dial(&id, Some(method)),
            _ => {}
        }
        Ok(())
    }
}

impl Handler<RestartInstance> for Supervisor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, RestartInstance { id }: RestartInstance, _: &mut Self::Context) -> Self::Result {
        self.asked("restart".to_owned())?;
        self.dial(&id, None);
        Ok(())
    }
}

impl Handler<LogOutInstance> for Supervisor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, LogOutInstance { id }: LogOutInstance, _: &mut Self::Context) -> Self::Result {
        self.asked("log out".to_owned())?;
        let entry = self.board.get(&id).ok_or(CommandError::Unknown)?;
        if entry.status.state_at(self.clock.now()).as_str() == "close" {
            return Err(CommandError::Refused(Refusal::NotConnected));
        }
        self.set(&id, InstancePhase::Unpaired, false);
        Ok(())
    }
}

impl Handler<DeleteInstance> for Supervisor {
    type Result = Result<OffTheRoster, CommandError>;

    fn handle(&mut self, DeleteInstance { id }: DeleteInstance, _: &mut Self::Context) -> Self::Result {
        self.asked("delete".to_owned())?;
        self.board.take_down(&id);
        Ok(OffTheRoster { listed: self.script.lock().listed })
    }
}

impl Handler<WhereIs> for Supervisor {
    type Result = Result<InstancePorts, CommandError>;

    fn handle(&mut self, _: WhereIs, _: &mut Self::Context) -> Self::Result {
        self.asked("where is".to_owned())?;
        let instance = Instance { script: self.script.clone() }.start();
        Ok(InstancePorts {
            send_text: instance.clone().recipient(),
            set_presence: instance.clone().recipient(),
            verify: instance.recipient(),
        })
    }
}

impl Handler<ApplySettings> for Supervisor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, _: ApplySettings, _: &mut Self::Context) -> Self::Result {
        self.asked("apply settings".to_owned())
    }
}

impl Handler<GetSystemStatus> for Supervisor {
    type Result = actix::MessageResult<GetSystemStatus>;

    fn handle(&mut self, _: GetSystemStatus, _: &mut Self::Context) -> Self::Result {
        let script = self.script.lock();
        actix::MessageResult(SystemStatus { phase: script.phase, ready: script.ready })
    }
}

impl Handler<GetSinkStatus> for Supervisor {
    type Result = actix::MessageResult<GetSinkStatus>;

    fn handle(&mut self, _: GetSinkStatus, _: &mut Self::Context) -> Self::Result {
        let targets = self.script.lock().targets.clone();
        actix::MessageResult(SinkStatus {
            sink: "webhook",
            under_way: 1,
            delivered: 7,
            failed: 3,
            given_up: 2,
            targets,
        })
    }
}

impl Handler<Verify> for Instance {
    type Result = ResponseFuture<Option<Verified>>;

    fn handle(&mut self, _: Verify, _: &mut Self::Context) -> Self::Result {
        let mut script = self.script.lock();
        script.asked.push("verify".to_owned());
        let verified = script.verified;
        Box::pin(async move {
            match verified {
                Some(verified) => verified,
                None => std::future::pending().await,
            }
        })
    }
}

/// Stands in for InstanceActor.
struct Instance {
    script: Scripted,
}

impl Actor for Instance {
    type Context = Context<Self>;
}

impl Handler<SendText> for Instance {
    type Result = ResponseFuture<Result<SentMessage, SendError>>;

    fn handle(&mut self, request: SendText, _: &mut Self::Context) -> Self::Result {
        let mut script = self.script.lock();
        script.sent.push(request.message);
        let (answer, takes) = (script.send.clone(), script.send_takes);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

impl Handler<SetPresence> for Instance {
    type Result = Result<(), SendError>;

    fn handle(&mut self, SetPresence { presence }: SetPresence, _: &mut Self::Context) -> Self::Result {
        let mut script = self.script.lock();
        script.asked.push(format!("show {}", presence.as_str()));
        script.send.clone().map_or(Ok(()), |answer| answer.map(drop))
    }
}
