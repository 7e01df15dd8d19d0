//! Three engines over one database, with instances that talk, and what is done to them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use holdfast::ports::clock::Clock;
use holdfast_sim::Simulator;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Scale;
use super::plan::{Blow, NODES, Round};
use super::record::{Moment, Record};
use super::report::Finding;
use crate::harness::cable::{Cable, State};
use crate::harness::client::{Answer, Api};
use crate::harness::engine::{Engine, Home};
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;
use crate::torture::books::Books;
use crate::torture::plan::Dice;
use crate::torture::talk::{Sender, pair, people_write, phone};

/// Each pairing brings hundreds of keys to the database.
const PAIRED_AT_ONCE: usize = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const BOOKS_EVERY: Duration = Duration::from_secs(2);
/// How long it may take until all is well again, beyond the leases.
const PATIENCE: Duration = Duration::from_secs(120);
const DATABASE: &str = "postgres";

/// Makes the homes of the nodes, each with its own cable to the database.
pub(super) async fn homes(sim: &Simulator, server: &Server, scale: &Scale) -> Vec<(Home, Cable)> {
    let mut homes = Vec::new();
    for number in 0..NODES {
        let cable = Cable::lay(server.port()).await.expect("a cable");
        let address = server.url(DATABASE).replace(&server.port().to_string(), &cable.port().to_string());
        let home = Home::new(sim.ws_url());
        let url = home.url();
        let home = home
            .set("DATABASE_CONNECTION_URI", &address)
            .set("SESSION_ENCRYPTION_KEY", &"5a".repeat(32))
            .set("NODE_ID", &format!("node-{number}"))
            .set("NODE_URL", &url)
            .set("LEASE_TTL_SECONDS", &scale.lease.as_secs().to_string())
            .set("LEASE_RENEW_SECONDS", &scale.renewal.as_secs().to_string())
            .set("RUST_LOG", "warn,holdfast=info");
        homes.push((home, cable));
    }
    homes
}

pub(super) struct Trio<'a> {
    sim: &'a Simulator,
    server: &'a Server,
    homes: &'a [(Home, Cable)],
    engines: Vec<Option<Engine<'a>>>,
    /// The nodes to which clients go: those that answer.
    doors: Arc<Mutex<Vec<Option<Api>>>>,
    scale: Scale,
    clock: Clock,
    record: Record,
    sender: Sender,
    writing_up: JoinHandle<()>,
}

impl<'a> Trio<'a> {
    /// Pairs all instances and lets everybody begin to talk.
    pub(super) async fn paired(
        sim: &'a Simulator,
        receiver: &Receiver,
        server: &'a Server,
        homes: &'a [(Home, Cable)],
        books: &Arc<Books>,
        scale: Scale,
        seed: u64,
    ) -> Self {
        let mut engines = Vec::new();
        for (home, _) in homes {
            engines.push(home.start().await);
        }
        let hook = receiver.url();
        let pairings = (0..scale.instances).map(|number| pair(&engines[number % NODES], sim, phone(number), &hook));
        stream::iter(pairings).buffer_unordered(PAIRED_AT_ONCE).collect::<Vec<()>>().await;
        books.begin(sim);
        let record = Record::begin(sim);
        people_write(sim, seed, None);
        let doors = Arc::new(Mutex::new(engines.iter().map(|engine| Some(engine.api())).collect::<Vec<_>>()));
        let known = Arc::clone(&doors);
        let entrance = move |dice: &mut Dice| {
            let doors = known.lock().unwrap_or_else(PoisonError::into_inner);
            let open: Vec<&Api> = doors.iter().flatten().collect();
            open[dice.below(open.len() as u64) as usize].clone()
        };
        let sender = Sender::start(sim, entrance, Arc::clone(books), Dice::new(seed), scale.instances);
        let (operator, mail, kept) = (sim.operator(), receiver.mail(), Arc::clone(books));
        // The simulator remembers its newest events only.
        let writing_up = tokio::spawn(async move {
            loop {
                sleep(BOOKS_EVERY).await;
                kept.enter(&operator, mail.drain());
            }
        });
        let clock = Clock::start();
        let engines = engines.into_iter().map(Some).collect();
        let trio = Self { sim, server, homes, engines, doors, scale, clock, record, sender, writing_up };
        trio.calm("after the pairing").await;
        trio
    }

    /// Strikes, brings back what was struck, and waits until all is well as seen from every node.
    pub(super) async fn survive(&mut self, round: &Round) -> Finding {
        sleep(round.after).await;
        let node = round.node;
        let concerned = match round.blow {
            Blow::Renew => Vec::new(),
            Blow::Kill(_) | Blow::Terminate(_) | Blow::Freeze(_) | Blow::Cut { .. } => self.with_its_share(node).await,
        };
        let since = self.now();
        match round.blow {
            Blow::Kill(time) => {
                self.leave(node).kill_9().await;
                sleep(time).await;
                self.enter(node).await;
            }
            Blow::Terminate(time) => {
                self.stop(node).await;
                sleep(time).await;
                self.enter(node).await;
            }
            Blow::Freeze(time) => {
                self.shut(node);
                self.signal(node, Signal::STOP);
                sleep(time).await;
                self.signal(node, Signal::CONT);
                self.open(node);
            }
            Blow::Cut { time, silent } => {
                let cable = &self.homes[node].1;
                cable.be(if silent { State::Silent } else { State::Unplugged });
                if !silent {
                    cable.cut();
                }
                sleep(time).await;
                cable.be(State::Carries);
            }
            Blow::Renew => {
                for node in 0..NODES {
                    self.stop(node).await;
                    self.enter(node).await;
                    self.calm("during the renewal").await;
                }
            }
        }
        self.calm(round.blow.name()).await;
        let now = self.now();
        let anew = self.record.served_anew(&concerned, since);
        Finding {
            left: anew.iter().filter(|time| time.is_none()).count(),
            taken_over: anew.into_iter().flatten().collect(),
            dark: self.record.dark(since, now),
            double: self.record.double(since, now),
            calm: now - since,
        }
    }

    fn now(&self) -> Moment {
        self.clock.wall().timestamp_millis().cast_unsigned()
    }

    /// Waits until a node that came back has most of its share again, and returns what it owns.
    async fn with_its_share(&self, node: usize) -> Vec<String> {
        let wanted = self.scale.instances / NODES * 2 / 3;
        let waiting = async {
            loop {
                let owned = self.owned_by(node).await;
                if owned.len() >= wanted {
                    return owned;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let owned = timeout(PATIENCE + self.scale.lease, waiting).await;
        let owned = owned.unwrap_or_else(|_| panic!("node {node} has not got its share of the instances"));
        // What was handed over may be on its way still.
        self.calm("before the blow").await;
        owned
    }

    /// The instances that the database says are this node's.
    async fn owned_by(&self, node: usize) -> Vec<String> {
        let question = format!(
            r#"SELECT i."name" FROM "Instance" i JOIN holdfast_session s ON s.instance_id = i."id" WHERE s.lease_node = 'node-{node}'"#
        );
        self.server.ask(DATABASE, &question).await.expect("the owners")
    }

    fn signal(&self, node: usize, signal: Signal) {
        self.engines[node].as_ref().expect("a running node").signal(signal);
    }

    /// Sends no client there any more.
    fn shut(&self, node: usize) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[node] = None;
    }

    fn open(&self, node: usize) {
        let api = self.engines[node].as_ref().map(Engine::api);
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[node] = api;
    }

    fn leave(&mut self, node: usize) -> Engine<'a> {
        self.shut(node);
        self.engines[node].take().expect("a running node")
    }

    async fn stop(&mut self, node: usize) {
        let engine = self.leave(node);
        engine.signal(Signal::TERM);
        let ended = engine.ended().await;
        assert_eq!(ended.code(), Some(0), "node {node} did not stop cleanly");
    }

    async fn enter(&mut self, node: usize) {
        self.engines[node] = Some(self.homes[node].0.start().await);
        self.open(node);
    }

    /// Waits until every node says that all instances are open, and the server serves them all.
    async fn calm(&self, when: &str) {
        let all = async {
            loop {
                let mut well = self.sim.served().iter().filter(|one| one.served).count() == self.scale.instances;
                for engine in self.engines.iter().flatten() {
                    well = well && self.all_open(&engine.api()).await;
                }
                if well {
                    return;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(PATIENCE + self.scale.lease * 2, all).await.is_err() {
            let mut said = Vec::new();
            for engine in self.engines.iter().flatten() {
                let nodes = engine.api().try_call(Method::GET, "/engine/nodes", None).await;
                let open = states(&engine.api()).await;
                said.push(format!("{nodes:?}: {open:?}"));
            }
            panic!("{when}: not all instances are open: {}", said.join("\n"));
        }
    }

    async fn all_open(&self, api: &Api) -> bool {
        let states = states(api).await;
        states.len() == self.scale.instances && states.iter().all(|state| state == "open")
    }

    /// Lets nobody begin to say anything more, and waits for the answers to what was sent.
    pub(super) async fn come_to_rest(&mut self) {
        self.sender.stop().await;
        self.sim.stop_traffic();
        self.calm("at the end").await;
        self.writing_up.abort();
    }
}

impl Drop for Trio<'_> {
    fn drop(&mut self) {
        self.writing_up.abort();
    }
}

async fn states(api: &Api) -> Vec<String> {
    let listed = api.try_call(Method::GET, "/instance/fetchInstances", None).await;
    let Ok(Answer { status: 200, body }) = listed else { return Vec::new() };
    let state = |one: &Value| one["connectionStatus"].as_str().unwrap_or_default().to_owned();
    body.as_array().map(|all| all.iter().map(state).collect()).unwrap_or_default()
}
