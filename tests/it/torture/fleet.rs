//! Twenty instances of one engine that talk, and what is done to their engine.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast::ports::clock::Clock;
use holdfast_sim::{Action, FaultRequest, RefuseRequest, Simulator};
use reqwest::Method;
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use super::books::Books;
use super::places::Places;
use super::plan::{Blow, Dice, Moment, Round};
use super::talk::{Sender, entrance, pair, people_write, phone};
use crate::harness::client::{Answer, Api};
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

pub(super) const INSTANCES: usize = 20;
/// Each pairing brings hundreds of keys to the database.
const PAIRED_AT_ONCE: usize = 4;
/// How long all instances may take to be open after a blow.
const RECOVERY: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Fleet<'a> {
    sim: &'a Simulator,
    home: &'a Home,
    places: &'a Places,
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
        (home, places): (&'a Home, &'a Places),
        receiver: &'a Receiver,
        books: &Arc<Books>,
        seed: u64,
    ) -> Self {
        let engine = home.start().await;
        let hook = receiver.url();
        let pairings = (0..INSTANCES).map(|number| pair(&engine, sim, phone(number), &hook));
        stream::iter(pairings).buffer_unordered(PAIRED_AT_ONCE).collect::<Vec<()>>().await;
        books.begin(sim);
        people_write(sim, seed, None);
        let api = engine.api();
        let sender = Sender::start(sim, entrance(&api), Arc::clone(books), Dice::new(seed), INSTANCES);
        let fleet = Self { sim, home, places, receiver, api, clock: Clock::start(), engine: Some(engine), sender };
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
            Blow::RedisDies(later) => self.places.redis_dies(*later).await,
            Blow::DatabaseDies(later) => self.places.database_dies(*later).await,
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
