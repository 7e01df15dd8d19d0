//! Twenty instances of one engine that talk, and what is done to their engine.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast::ports::clock::Clock;
use holdfast_sim::{Action, FaultRequest, RefuseRequest, ScanRequest, Simulator, TrafficRequest};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::books::{Books, Said};
use super::plan::{Blow, Dice, Moment, Round};
use crate::harness::client::{Answer, Api};
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

pub(super) const INSTANCES: usize = 20;
/// Each pairing brings hundreds of keys to the database.
const PAIRED_AT_ONCE: usize = 4;
/// People who write to each instance, and are with it in a group.
const CONTACTS: u32 = 3;
const FIRST_CONTACT: u64 = 5_511_700_000_000;
const WRITTEN_PER_SECOND: f64 = 20.0;
const SENT_EVERY: Duration = Duration::from_millis(100);
/// Requests under way at once; a client waits then.
const UNDER_WAY: u32 = 24;
/// How long all instances may take to be open after a blow.
const RECOVERY: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Fleet<'a> {
    sim: &'a Simulator,
    home: &'a Home,
    receiver: &'a Receiver,
    api: Api,
    clock: Clock,
    engine: Option<Engine<'a>>,
    sender: Sender,
}

impl<'a> Fleet<'a> {
    /// Pairs all instances and lets everybody begin to talk.
    pub(super) async fn paired(
        sim: &'a Simulator,
        home: &'a Home,
        receiver: &'a Receiver,
        books: &Arc<Books>,
        seed: u64,
    ) -> Self {
        let engine = home.start().await;
        let hook = receiver.url();
        let pairings = (0..INSTANCES).map(|number| pair(&engine, sim, phone(number), &hook));
        stream::iter(pairings).buffer_unordered(PAIRED_AT_ONCE).collect::<Vec<()>>().await;
        books.begin(sim);
        let load = TrafficRequest {
            seed,
            contacts: CONTACTS,
            per_second: WRITTEN_PER_SECOND,
            groups: true,
            answers: true,
            ..TrafficRequest::default()
        };
        sim.start_traffic(&load).expect("people begin to write");
        let api = engine.api();
        let sender = Sender::start(sim, api.clone(), Arc::clone(books), Dice::new(seed));
        let fleet = Self { sim, home, receiver, api, clock: Clock::start(), engine: Some(engine), sender };
        fleet.all_open().await;
        fleet
    }

    /// Brings the engine into the moment, strikes, and waits until all instances are open again; returns how long that took.
    pub(super) async fn survive(&mut self, round: &Round, number: u32) -> Duration {
        self.reach(round.moment, number).await;
        sleep(round.after).await;
        let logins = self.strike(&round.blow).await;
        let struck = self.clock.now();
        self.recover(round, logins).await;
        self.clock.now().since(struck)
    }

    async fn reach(&mut self, moment: Moment, number: u32) {
        let waiting = match moment {
            Moment::Traffic => return,
            Moment::Shutdown => return self.signal(Signal::TERM),
            Moment::Boot => Duration::ZERO,
            Moment::Drain => Duration::from_millis(1_500),
        };
        self.signal(if number.is_multiple_of(2) { Signal::KILL } else { Signal::TERM });
        self.ended().await;
        sleep(waiting).await;
        self.engine = Some(self.home.spawn());
    }

    /// Returns how many logins there will have been when what was struck is connected again.
    async fn strike(&mut self, blow: &Blow) -> u64 {
        match blow {
            Blow::Kill => self.signal(Signal::KILL),
            Blow::Terminate => self.signal(Signal::TERM),
            Blow::TerminateAndKill(after) => {
                self.signal(Signal::TERM);
                sleep(*after).await;
                self.signal(Signal::KILL);
            }
            Blow::Suspend(time) => {
                self.signal(Signal::STOP);
                sleep(*time).await;
                self.signal(Signal::CONT);
            }
            Blow::StoreFails { fault, times } => self.home.order(&format!("{fault}={times}*return")),
            Blow::StoreHangs { fault, time } => self.home.order(&format!("{fault}=1*sleep({})", time.as_millis())),
            Blow::StoreFailsAndKill { fault, times, after } => {
                self.home.order(&format!("{fault}={times}*return"));
                sleep(*after).await;
                self.signal(Signal::KILL);
            }
            Blow::Network(action) => return self.fault(action.clone()).await,
            Blow::Away(mode, time) => {
                let refusal = RefuseRequest { seconds: time.as_secs_f64(), mode: Some(*mode), status: None };
                self.sim.refuse(&refusal).await.expect("new connections are refused");
                return self.fault(Action::Rst).await;
            }
            Blow::WebhookRefuses(times) => self.receiver.refuse(*times),
        }
        0
    }

    async fn fault(&self, action: Action) -> u64 {
        let before = self.logins();
        let struck = self.sim.fault(FaultRequest { target: "open".to_owned(), action }).await;
        before + struck.expect("the fault strikes").hit as u64
    }

    fn logins(&self) -> u64 {
        self.sim.counters(None).expect("the counters").tally.logins
    }

    /// Waits for what has to end, starts what has ended, and waits until everybody is connected.
    async fn recover(&mut self, round: &Round, logins: u64) {
        let ends = round.moment == Moment::Shutdown
            || matches!(
                round.blow,
                Blow::Kill | Blow::Terminate | Blow::TerminateAndKill(_) | Blow::StoreFailsAndKill { .. }
            );
        if ends {
            self.ended().await;
        }
        let recovering = async {
            loop {
                // A start in which the database fails is given up; whoever supervises the service starts it again.
                if self.engine.as_mut().is_none_or(Engine::has_ended) {
                    self.home.withdraw_orders();
                    self.engine = Some(self.home.spawn());
                }
                if self.logins() >= logins && self.is_open().await {
                    return;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let recovered = timeout(RECOVERY, recovering).await.is_ok();
        assert!(recovered, "{round}: not all instances are open again: {:?}", self.states().await);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(engine) = &mut self.engine
            && !engine.has_ended()
        {
            engine.signal(signal);
        }
    }

    async fn ended(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.ended().await;
        }
    }

    async fn states(&self) -> Vec<String> {
        let listed = self.api.try_call(Method::GET, "/instance/fetchInstances", None).await;
        let Ok(Answer { status: 200, body }) = listed else { return Vec::new() };
        let state = |one: &serde_json::Value| one["connectionStatus"].as_str().unwrap_or_default().to_owned();
        body.as_array().map(|all| all.iter().map(state).collect()).unwrap_or_default()
    }

    async fn is_open(&self) -> bool {
        let states = self.states().await;
        states.len() == INSTANCES && states.iter().all(|state| state == "open")
    }

    async fn all_open(&self) {
        eventually("all instances to be open", || async { self.is_open().await.then_some(()) }).await;
    }

    /// Lets nobody begin to say anything more, and waits for the answers to what was sent.
    pub(super) async fn come_to_rest(&mut self) {
        self.sender.stop().await;
        self.sim.stop_traffic();
        self.all_open().await;
    }
}

/// Pairs an instance whose name is its number.
async fn pair(engine: &Engine<'_>, sim: &Simulator, phone: String, hook: &str) {
    engine.create(&phone, Some(hook)).await;
    eventually("a linked device", || async {
        let shown = engine.api().get(&format!("/instance/connect/{phone}")).await.body;
        if shown["instance"]["state"] == "open" {
            return Some(());
        }
        let qr = shown["code"].as_str()?.to_owned();
        let request = ScanRequest { qr, phone: Some(phone.clone()), ..ScanRequest::default() };
        // A machine that is busy with other tests may have let the code expire.
        sim.scan(&request).await.ok().map(drop)
    })
    .await;
    engine.reaches(&phone, "open").await;
}

/// Sends texts of the instances, as a client does: one after the other, and some at once.
struct Sender {
    task: JoinHandle<()>,
    under_way: Arc<Semaphore>,
}

impl Sender {
    fn start(sim: &Simulator, api: Api, books: Arc<Books>, mut dice: Dice) -> Self {
        let groups = sim.groups();
        let group = |number| {
            let of = |group: &&holdfast_sim::GroupView| {
                group.participants.iter().any(|member| member.jid.starts_with(&phone(number)))
            };
            groups.iter().find(of).expect("a group of each account").jid.to_string()
        };
        let groups: Vec<String> = (0..INSTANCES).map(group).collect();
        let under_way = Arc::new(Semaphore::new(UNDER_WAY as usize));
        let permits = Arc::clone(&under_way);
        let task = tokio::spawn(async move {
            for number in 0_u64.. {
                sleep(SENT_EVERY).await;
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let instance = dice.below(INSTANCES as u64) as usize;
                let (to, readers) = if dice.below(2) == 0 {
                    (groups[instance].clone(), CONTACTS)
                } else {
                    ((FIRST_CONTACT + dice.below(CONTACTS.into())).to_string(), 1)
                };
                let (api, books) = (api.clone(), Arc::clone(&books));
                tokio::spawn(async move {
                    let text = format!("text {number} of {}", phone(instance));
                    let body = json!({ "number": to, "text": text }).to_string();
                    let path = format!("/message/sendText/{}", phone(instance));
                    let said = said(api.try_call(Method::POST, &path, Some(body)).await);
                    books.sent(text, said, readers);
                    drop(permit);
                });
            }
        });
        Self { task, under_way }
    }

    async fn stop(&self) {
        self.task.abort();
        let _all = self.under_way.acquire_many(UNDER_WAY).await.expect("the last answers");
    }
}

/// Reads an answer as a client does.
fn said(answer: reqwest::Result<Answer>) -> Said {
    match answer {
        Ok(Answer { status: 201, .. }) => Said::Confirmed,
        Ok(Answer { status: 400 | 503, body }) if body.to_string().contains("message-unconfirmed") => Said::Unconfirmed,
        Ok(Answer { status: 400 | 503, .. }) => Said::Refused,
        Err(error) if error.is_connect() => Said::Refused,
        Ok(_) | Err(_) => Said::Unconfirmed,
    }
}

/// The number of an instance, which is its name too.
fn phone(number: usize) -> String {
    format!("55119999{number:05}")
}
