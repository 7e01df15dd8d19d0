//! Where the storm rages: an engine with its instances, and what is done to their connections.

#![expect(
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "the pace of a storm, which no decision of the engine depends on; a few kinds of many"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use holdfast::ports::clock::Clock;
use holdfast_sim::{Action, FaultRequest, RefuseRequest, Rules, Simulator, Slow};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::plan::{Kind, Reach, Strike, talkers};
use super::watch::{Log, Watch, now};
use crate::harness::client::Api;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;
use crate::torture::books::Books;
use crate::torture::plan::Dice;
use crate::torture::talk::{Sender, entrance, pair, people_write, phone};

/// Each pairing brings hundreds of keys to the database.
const PAIRED_AT_ONCE: usize = 4;
/// How long a late connection is late.
const LATE: Duration = Duration::from_secs(3);
/// How slow each step of a login is with a slow server.
const SLOW_MS: u64 = 400;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const BOOKS_EVERY: Duration = Duration::from_secs(2);
/// How long instances that are not back in time are waited for, so that it can be said how long they took.
const PATIENCE: Duration = Duration::from_secs(90);
/// Where a task of a link can be told to panic: where it reads, and where it listens.
const PANICS: &[&str] = &["received.session", "ack.heard"];

pub(super) struct Field<'a> {
    sim: &'a Simulator,
    home: &'a Home,
    instances: usize,
    clock: Arc<Clock>,
    api: Api,
    watch: Watch,
    sender: Sender,
    writing_up: JoinHandle<()>,
    /// Late connections, and when they are hurried again.
    late: Vec<(Instant, usize)>,
    panics: usize,
    _engine: Engine<'a>,
}

impl<'a> Field<'a> {
    /// Pairs all instances and lets those talk that no terminal fault will strike.
    pub(super) async fn paired(
        sim: &'a Simulator,
        home: &'a Home,
        receiver: &'a Receiver,
        books: &Arc<Books>,
        clock: &Arc<Clock>,
        instances: usize,
        seed: u64,
    ) -> Self {
        let engine = home.start().await;
        let hook = receiver.url();
        let pairings = (0..instances).map(|number| pair(&engine, sim, phone(number), &hook));
        stream::iter(pairings).buffer_unordered(PAIRED_AT_ONCE).collect::<Vec<()>>().await;
        let api = engine.api();
        let watch = Watch::start(sim, api.clone(), Arc::clone(clock), instances);
        eventually("all instances to be open", || async { watch.log().all_open(instances).then_some(()) }).await;
        books.begin(sim);
        let talkers = talkers(instances);
        people_write(sim, seed, Some((0..talkers).map(phone).collect()));
        let sender = Sender::start(sim, entrance(&api), Arc::clone(books), Dice::new(seed), talkers);
        let (operator, mail, kept) = (sim.operator(), receiver.mail(), Arc::clone(books));
        // The simulator remembers its newest events only.
        let writing_up = tokio::spawn(async move {
            loop {
                sleep(BOOKS_EVERY).await;
                kept.enter(&operator, mail.drain());
            }
        });
        Self {
            sim,
            home,
            instances,
            clock: Arc::clone(clock),
            api,
            watch,
            sender,
            writing_up,
            late: Vec::new(),
            panics: 0,
            _engine: engine,
        }
    }

    pub(super) fn log(&self) -> Log {
        self.watch.log().clone()
    }

    /// Lets it all happen.
    pub(super) async fn weather(&mut self, storm: &[Strike]) {
        let began = Instant::now();
        // When newcomers are met as usual again.
        let mut shut: Option<Instant> = None;
        for strike in storm {
            let at = began + strike.at;
            while let Some(due) =
                shut.into_iter().chain(self.late.iter().map(|(due, _)| *due)).min().filter(|due| *due < at)
            {
                sleep_until(due).await;
                self.hurry(due).await;
                if shut.is_some_and(|until| until <= due) {
                    shut = None;
                    self.lift().await;
                }
            }
            sleep_until(at).await;
            if self.strike(strike).await {
                shut = Some(Instant::now() + strike.lasts);
            }
        }
        self.lift().await;
        self.hurry(Instant::now() + LATE).await;
        self.home.withdraw_orders();
    }

    /// Returns whether newcomers are met differently now.
    async fn strike(&mut self, strike: &Strike) -> bool {
        let kind = strike.kind;
        if kind == Kind::Panic {
            self.panics += 1;
            self.home.order(&format!("{}=1*panic", PANICS[self.panics % PANICS.len()]));
            return false;
        }
        let shuts = self.shut(strike).await;
        let targets = self.targets(strike);
        let over = |strike: &Strike| now(&self.clock) + strike.lasts.as_millis() as u64;
        if shuts {
            self.watch.log().shut(over(strike));
        }
        for number in targets {
            let lasts = if kind == Kind::Late { LATE } else { strike.lasts };
            let began = now(&self.clock);
            self.watch.log().strike(number, kind, began, began + lasts.as_millis() as u64);
            if let Some(reason) = kind.next_login() {
                self.fault(number, Action::Failure { reason, times: Some(100) }).await;
            }
            let Some(action) = kind.action() else { continue };
            if self.fault(number, action).await == 0 {
                self.watch.log().missed(number, kind);
            }
            if kind == Kind::Late {
                self.late.push((Instant::now() + LATE, number));
            }
        }
        shuts
    }

    /// Lets the server meet newcomers in another way; those of the time before are served on.
    async fn shut(&self, strike: &Strike) -> bool {
        let rules = match strike.kind {
            Kind::NoiseUnfinished => Rules { silent_on_connect: true, ..Rules::default() },
            Kind::NothingAfterSuccess => Rules { silent_on_success: true, ..Rules::default() },
            Kind::SlowServer => {
                let slow = Slow { upgrade_ms: SLOW_MS, hello_ms: SLOW_MS, success_ms: SLOW_MS };
                Rules { slow, ..Rules::default() }
            }
            kind => {
                let Some((mode, status)) = kind.door() else { return false };
                let seconds = strike.lasts.as_secs_f64();
                let refusal = RefuseRequest { seconds, mode: Some(mode), status };
                self.sim.refuse(&refusal).await.expect("newcomers are refused");
                return true;
            }
        };
        self.sim.set_rules(rules).expect("rules that can be kept");
        true
    }

    async fn lift(&self) {
        self.sim.refuse(&RefuseRequest::default()).await.expect("newcomers are let in");
        self.sim.set_rules(Rules::default()).expect("the usual rules");
    }

    async fn hurry(&mut self, due: Instant) {
        let (over, later): (Vec<_>, Vec<_>) = self.late.drain(..).partition(|(until, _)| *until <= due);
        self.late = later;
        for (_, number) in over {
            self.fault(number, Action::Delay { ms: 0 }).await;
        }
    }

    /// Those who are to be struck and are connected.
    fn targets(&self, strike: &Strike) -> Vec<usize> {
        if strike.kind.parks().is_some() {
            return vec![strike.who];
        }
        let talkers = talkers(self.instances);
        let most = match strike.kind.reach() {
            Reach::One => 1,
            Reach::Some => talkers.div_ceil(10),
            Reach::All => self.instances,
        };
        let log = self.watch.log();
        let from = |who: usize| (0..talkers).map(move |step| (who + step) % talkers);
        let rest = if strike.kind.reach() == Reach::All { talkers..self.instances } else { 0..0 };
        from(strike.who).chain(rest).filter(|number| log.is_at_ease(*number)).take(most).collect()
    }

    async fn fault(&self, number: usize, action: Action) -> usize {
        let request = FaultRequest { target: phone(number), action };
        self.sim.fault(request).await.expect("the fault strikes").hit
    }

    /// Waits until everybody is connected whom nothing terminal has struck; returns how long that took, and who is still missing after
    /// the time that they have.
    pub(super) async fn calm(&self, within: Duration) -> (Duration, Vec<String>) {
        let (talkers, began) = (talkers(self.instances), Instant::now());
        let all = async {
            while !self.watch.log().all_open(talkers) {
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(within, all).await.is_ok() {
            return (began.elapsed(), Vec::new());
        }
        let missing = self.watch.log().down(talkers);
        let said = stream::iter(missing)
            .then(|number| async move { format!("{}: {}", phone(number), self.state(number).await) });
        let said = said.collect().await;
        let late = async {
            while !self.watch.log().all_open(talkers) {
                sleep(LOOK_AGAIN).await;
            }
        };
        // Whoever is missing is told of already.
        let _late = timeout(PATIENCE, late).await;
        (began.elapsed(), said)
    }

    async fn state(&self, number: usize) -> serde_json::Value {
        self.api.get(&format!("/instance/connectionState/{}", phone(number))).await.body["instance"].clone()
    }

    /// What those say whom something terminal has struck.
    pub(super) async fn parked(&self) -> Vec<(Kind, serde_json::Value)> {
        let struck = self.watch.log().terminal();
        stream::iter(struck).then(|(number, kind)| async move { (kind, self.state(number).await) }).collect().await
    }

    /// Instances of which `fetchInstances` says another state than `connectionState`, for longer than a moment.
    pub(super) async fn disagreements(&self) -> Vec<String> {
        let mut found = Vec::new();
        for number in 0..self.instances {
            let name = phone(number);
            let agreeing = async {
                loop {
                    let listed = self.api.get(&format!("/instance/fetchInstances?instanceName={name}")).await.body;
                    let asked = self.state(number).await;
                    if listed[0]["connectionStatus"] == asked["state"] && !asked["state"].is_null() {
                        return;
                    }
                    sleep(LOOK_AGAIN).await;
                }
            };
            if timeout(Duration::from_secs(1), agreeing).await.is_err() {
                found.push(name);
            }
        }
        found
    }

    /// Lets nobody begin to say anything more, and waits for the answers to what was sent.
    pub(super) async fn come_to_rest(&self) {
        self.sender.stop().await;
        self.sim.stop_traffic();
        self.writing_up.abort();
    }
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        self.writing_up.abort();
    }
}
