//! A fleet at two moments, out of which any state of the three places can be put together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::SessionCopy;
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions, open};
use holdfast_sim::{MessageRequest, Simulator};
use rustix::process::Signal;
use serde_json::Value;

use super::LOGIN;
use super::places::Places;
use super::trial::Trial;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

const ANA: &str = "5511977770001";
const SESSION_KEY: [u8; 32] = [7; 32];
/// The same as it is set.
const SESSION_KEY_HEX: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const NODE: &str = "it";
/// Instances that pair at the same time.
const AT_ONCE: usize = 4;

pub(super) struct Fleet {
    pub(super) home: Home,
    pub(super) trials: Vec<Trial>,
    ids: BTreeMap<String, String>,
}

impl Fleet {
    /// Pairs an instance for each trial, lives through two moments, stops, and puts the places into their states.
    pub(super) async fn prepared(sim: &Simulator, receiver: &Receiver, redis: &Redis, trials: Vec<Trial>) -> Self {
        Self::prepared_on(sim, receiver, Places::beside(redis), trials).await
    }

    pub(super) async fn prepared_on(
        sim: &Simulator,
        receiver: &Receiver,
        places: Places<'_>,
        trials: Vec<Trial>,
    ) -> Self {
        let home = Home::new(sim.ws_url())
            .set("SESSION_ENCRYPTION_KEY", SESSION_KEY_HEX)
            .set("NODE_ID", NODE)
            .set("CONNECT_TIMEOUT_SECONDS", "3")
            .set("LOGIN_TIMEOUT_SECONDS", &LOGIN.as_secs().to_string());
        let fleet = Self { home: places.set_database(home), trials, ids: BTreeMap::new() };
        let url = places.database_url(&fleet.home);
        let engine = fleet.home.start().await;
        for trials in fleet.trials.chunks(AT_ONCE) {
            join_all(trials.iter().map(|trial| async {
                engine.pair(sim, &trial.name(), &trial.phone(), Some(&receiver.url())).await;
            }))
            .await;
        }
        fleet.all_talk(&engine, sim, receiver, "first", |_| true).await;
        stop(engine).await;
        let stale = copies(&url).await;
        places.keep(&fleet.home).await;
        let engine = fleet.home.start().await;
        fleet.all_talk(&engine, sim, receiver, "second", |_| true).await;
        stop(engine).await;
        let fresh = copies(&url).await;
        places.change_database(&fleet.home, &fleet.trials, &fresh).await;
        places.fill(&fleet.home, &fleet.trials, &stale, &fresh).await;
        let ids = fresh.iter().map(|(name, copy)| (name.clone(), copy.header.id.to_string())).collect();
        let Self { home, trials, .. } = fleet;
        Self { home: places.set_layers(home), trials, ids }
    }

    /// Each sends and receives a text.
    pub(super) async fn all_talk(
        &self,
        engine: &Engine<'_>,
        sim: &Simulator,
        receiver: &Receiver,
        label: &str,
        which: impl Fn(&Trial) -> bool,
    ) {
        for trial in self.trials.iter().filter(|trial| which(trial)) {
            let name = trial.name();
            engine.reaches(&name, "open").await;
            let sent = engine.send(&name, ANA, &format!("out {label} {name}")).await;
            assert_eq!(sent.status, 201, "{trial:?}: {}", sent.body);
            let text = format!("in {label} {name}");
            let request = MessageRequest {
                from: ANA.to_owned(),
                to: trial.phone(),
                text: text.clone(),
                ..MessageRequest::default()
            };
            sim.message(request).await.expect("the message is sent");
            receiver.message(&text).await;
        }
    }

    /// Compares the report with what was to come.
    pub(super) fn is_as_expected(&self, report: &Value) {
        for trial in &self.trials {
            let line = self.line(report, trial);
            let told = (line["action"].as_str(), line["verdict"].as_str(), line["source"].as_str());
            assert_eq!(told, (Some(trial.action), Some(trial.verdict), trial.source), "{trial:?}: {line}");
            let open = matches!(line["outcome"].as_str(), Some("open" | "late" | "dialling"));
            assert!(open || !trial.comes_back(), "{trial:?}: {line}");
        }
    }

    pub(super) fn id(&self, trial: &Trial) -> &str {
        &self.ids[&trial.name()]
    }

    /// Returns what is told of an instance. What no place can name is told by its id alone.
    pub(super) fn line<'r>(&self, report: &'r Value, trial: &Trial) -> &'r Value {
        let id = self.id(trial);
        let lines = report["instances"].as_array().expect("the lines");
        lines.iter().find(|line| line["instanceId"] == id).unwrap_or(&Value::Null)
    }

    /// Whoever has come back sends and receives; nobody else shows a QR code.
    pub(super) async fn talks(&self, engine: &Engine<'_>, sim: &Simulator, receiver: &Receiver) {
        self.all_talk(engine, sim, receiver, "third", Trial::comes_back).await;
        for trial in self.trials.iter().filter(|trial| !trial.comes_back()) {
            let answer = engine.api().get(&format!("/instance/connectionState/{}", trial.name())).await;
            let phase = answer.body["instance"]["phase"].as_str().map(ToOwned::to_owned);
            assert!(
                answer.status == 404 || phase.is_some_and(|phase| phase != "pairing"),
                "{trial:?}: {}",
                answer.body
            );
            // What is damaged everywhere says so.
            let parked = answer.status == 200 && trial.action == "park";
            let code = &answer.body["instance"]["code"];
            assert!(!parked || code == "credentials-corrupt", "{trial:?}: {}", answer.body);
        }
    }
}

/// Sets the embedded database back to before the pairings, of which it knows nothing then.
pub(super) fn forget_logins(home: &Home) {
    home.execute("DELETE FROM \"Session\"");
    home.execute("DELETE FROM holdfast_session_value");
    home.execute("UPDATE holdfast_session SET paired = FALSE, revision = 1, epoch = 1");
}

async fn stop(engine: Engine<'_>) {
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
}

/// Copies all sessions of a database that nobody uses.
async fn copies(url: &str) -> BTreeMap<String, SessionCopy> {
    let clock = Clock::start();
    let options = StoreOptions {
        url: url.to_owned(),
        client_name: "evolution".to_owned(),
        node: NODE.to_owned(),
        lease_ttl: Duration::from_secs(60),
        key: EncryptionKey::new(SESSION_KEY),
        runtime: tokio::runtime::Handle::current(),
        clock,
        retention: Retention::default(),
        pool: PoolOptions::default(),
    };
    let store = open(options).await.expect("the store");
    let mut copies = BTreeMap::new();
    for record in store.list().await.expect("the instances") {
        let copy = store.export(&record.id, clock.wall()).await.expect("a copy").expect("a login");
        copies.insert(record.name, copy);
    }
    store.close().await.expect("the store closes");
    eventually("the store to be let go", || async { (Arc::strong_count(&store) == 1).then_some(()) }).await;
    copies
}
