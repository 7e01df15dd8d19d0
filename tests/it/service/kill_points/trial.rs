//! An engine with a paired instance that is killed again and again, and the books of what it owes.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast_sim::{GroupRequest, MessageRequest, Options, Simulator};
use reqwest::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::harness::client::Api;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

pub(super) const SHOP: &str = "5511999990001";
pub(super) const ANA: &str = "5511977770001";
/// The numbers of people who write for the first time begin here.
const STRANGERS: u64 = 5_511_988_000_000;
/// How long the way to a point may take.
const REACHED: Duration = Duration::from_secs(20);
const GAP: Duration = Duration::from_millis(5);

pub(super) struct Trial {
    pub(super) sim: Simulator,
    pub(super) home: Home,
    receiver: Receiver,
    group: String,
    next: AtomicU32,
    /// What people wrote.
    written: Mutex<BTreeSet<String>>,
    /// What the engine was asked to send and confirmed.
    confirmed: Mutex<BTreeSet<String>>,
}

impl Trial {
    /// Makes an engine's home, with nothing running.
    pub(super) async fn new() -> Self {
        let sim = Simulator::start(Options::default()).await.expect("a simulator");
        let home = Home::new(sim.ws_url());
        Self {
            sim,
            home,
            receiver: Receiver::start(),
            group: String::new(),
            next: AtomicU32::new(0),
            written: Mutex::default(),
            confirmed: Mutex::default(),
        }
    }

    /// Makes a home with one paired instance, which has a group, and talked with everybody once.
    pub(super) async fn paired() -> Self {
        let mut trial = Self::new().await;
        let engine = trial.home.start().await;
        engine.pair(&trial.sim, "shop", SHOP, Some(&trial.hook())).await;
        engine.kill_9().await;
        trial.group = trial.new_group();
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        engine.kill_9().await;
        trial
    }

    pub(super) fn hook(&self) -> String {
        self.receiver.url()
    }

    pub(super) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn new_group(&self) -> String {
        let participants = vec![ANA.to_owned(), SHOP.to_owned()];
        let group = GroupRequest { participants, ..GroupRequest::default() };
        self.sim.group(&group).expect("a group").jid.to_string()
    }

    fn stranger(&self) -> String {
        (STRANGERS + u64::from(self.number())).to_string()
    }

    /// Somebody writes to the shop.
    async fn write(&self, from: &str, group: Option<&str>) -> String {
        let text = format!("in {}", self.number());
        let to = if group.is_some() { String::new() } else { SHOP.to_owned() };
        let request =
            MessageRequest { from: from.to_owned(), to, text: text.clone(), id: None, group: group.map(str::to_owned) };
        self.written.lock().expect("the books").insert(text.clone());
        self.sim.message(request).await.expect("the message is taken");
        text
    }

    /// Messages of all kinds come: of somebody known, of a stranger, in a group.
    pub(super) async fn incoming(&self) {
        self.write(ANA, None).await;
        self.write(&self.stranger(), None).await;
        self.write(ANA, Some(&self.group)).await;
    }

    pub(super) async fn keep_writing(&self) {
        loop {
            self.incoming().await;
            sleep(GAP).await;
        }
    }

    /// The shop writes; it is noted if the engine confirms it.
    async fn send(&self, api: &Api, to: &str) -> bool {
        let text = format!("out {}", self.number());
        let body = json!({ "number": to, "text": text }).to_string();
        let answer = api.try_call(Method::POST, "/message/sendText/shop", Some(body)).await;
        let confirmed = answer.is_ok_and(|answer| answer.status == 201);
        if confirmed {
            self.confirmed.lock().expect("the books").insert(text);
        }
        confirmed
    }

    /// The shop writes to somebody known, to a stranger, in a group and in a new one.
    pub(super) async fn outgoing(&self, api: &Api) {
        self.send(api, ANA).await;
        self.send(api, &self.stranger()).await;
        self.send(api, &self.group).await;
        self.send(api, &self.new_group()).await;
    }

    /// Starts the engine, whose end is at the point, perhaps before it is ready.
    pub(super) async fn dies_starting(&self, point: &str) {
        self.home.order(&format!("{point}=kill"));
        let engine = self.home.spawn();
        self.dies(engine, point, std::future::pending()).await;
    }

    /// Waits for the engine to end at the point, while something is done with it.
    pub(super) async fn dies(&self, engine: Engine<'_>, point: &str, meanwhile: impl Future<Output = ()>) {
        let status = tokio::select! {
            status = timeout(REACHED, engine.ended()) => status.unwrap_or_else(|_late| panic!("{point} was never reached")),
            () = async { meanwhile.await; std::future::pending().await } => unreachable!("what is done meanwhile has no end"),
        };
        assert_eq!(status.signal(), Some(9), "{point}: the engine ended by itself: {status}");
    }

    /// Arms the running engine.
    pub(super) async fn arm(&self, point: &str) {
        self.home.order(&format!("{point}=kill"));
        self.home.obeyed().await;
    }

    /// Waits until the engine owes nothing any more, and shows that it goes on.
    pub(super) async fn check(&self, engine: &Engine<'_>) {
        engine.reaches("shop", "open").await;
        self.incoming().await;
        self.nothing_lost().await;
        assert!(self.send(&engine.api(), ANA).await, "a text is not confirmed");
        assert!(self.send(&engine.api(), &self.group).await, "a text in a group is not confirmed");
        self.all_received().await;
        self.no_harm_done();
    }

    async fn nothing_lost(&self) {
        let written = self.written.lock().expect("the books").clone();
        eventually("every message at the webhook", || async {
            let got: BTreeSet<String> = self.receiver.texts().into_iter().collect();
            written.is_subset(&got).then_some(())
        })
        .await;
        let mut events: HashMap<String, String> = HashMap::new();
        for one in self.receiver.all().into_iter().filter(|one| one.event() == "messages.upsert") {
            let message = one.body["data"]["key"]["id"].to_string();
            let event = events.entry(message).or_insert_with(|| one.event_id.clone());
            assert_eq!(*event, one.event_id, "the message {:?} came under two event ids", one.text());
        }
        eventually("an empty queue", || async { (self.sim.counters(None).ok()?.queued == 0).then_some(()) }).await;
    }

    async fn all_received(&self) {
        let confirmed = self.confirmed.lock().expect("the books").clone();
        eventually("every confirmed text with its recipient", || async {
            let times = self.times();
            confirmed.iter().all(|text| times.contains_key(text)).then_some(())
        })
        .await;
        for (text, times) in self.times() {
            assert_eq!(times, 1, "{text:?} came {times} times");
        }
    }

    /// How often each text of the shop came to somebody.
    fn times(&self) -> HashMap<String, u32> {
        let mut times = HashMap::new();
        for message in self.sim.messages() {
            *times.entry(message.text.unwrap_or_default()).or_default() += message.copies;
        }
        times
    }

    /// How many devices a phone lists.
    pub(super) fn devices(&self, phone: &str) -> usize {
        let accounts = self.sim.accounts();
        accounts.iter().find(|account| account.phone == phone).map_or(0, |account| account.devices.len())
    }

    /// Nothing was refused, no key was used twice, and no two connections were alive at once.
    pub(super) fn no_harm_done(&self) {
        let counters = self.sim.counters(None).expect("the counters");
        let tally = &counters.tally;
        assert_eq!((tally.nacked, tally.counters_reused, tally.stale_frames), (0, 0, 0), "{counters:?}");
        assert_eq!((tally.static_mismatches, tally.undecryptable, tally.overlapped), (0, 0, false), "{counters:?}");
    }
}
