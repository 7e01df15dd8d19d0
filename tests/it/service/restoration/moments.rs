//! A fleet at two moments, out of which any state of the three places can be put together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use futures_util::future::join_all;
use holdfast::cache::{RedisCache, RedisOptions};
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, SessionCopy};
use holdfast::provider::Directory;
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions, open};
use holdfast_sim::{MessageRequest, Simulator};
use rustix::process::Signal;
use serde_json::Value;

use super::LOGIN;
use crate::harness::cable::Cable;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

const ANA: &str = "5511977770001";
const SESSION_KEY: [u8; 32] = [7; 32];
/// The same as it is set.
const SESSION_KEY_HEX: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const NODE: &str = "it";
/// The tables with what is of a session, and the columns with its instance.
const OF_A_SESSION: [(&str, &str); 4] = [
    ("Session", "sessionId"),
    ("holdfast_session", "instance_id"),
    ("holdfast_session_value", "instance_id"),
    ("holdfast_accepted", "instance_id"),
];
/// Instances that pair at the same time.
const AT_ONCE: usize = 4;

/// What the database holds of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Whole,
    /// Its state of the earlier moment.
    SetBack,
    Emptied,
    /// Its login does not open.
    Damaged,
}

/// What a layer holds of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    /// Its state of the later moment.
    Fresh,
    /// Its state of the earlier moment.
    Stale,
    None,
    Corrupt,
}

/// One row of the matrix, which is tried with one instance.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) number: usize,
    pub(super) database: Database,
    pub(super) redis: Copy,
    pub(super) files: Copy,
    pub(super) action: &'static str,
    pub(super) verdict: &'static str,
    pub(super) source: Option<&'static str>,
}

impl Trial {
    pub(super) fn name(&self) -> String {
        format!("i{}", self.number)
    }

    fn phone(&self) -> String {
        format!("55119999900{:02}", self.number)
    }

    fn comes_back(&self) -> bool {
        !matches!(self.action, "park" | "wait")
    }
}

pub(super) struct Fleet {
    pub(super) home: Home,
    pub(super) trials: Vec<Trial>,
    ids: BTreeMap<String, String>,
}

impl Fleet {
    /// Pairs an instance for each trial, lives through two moments, stops, and puts the places into their states.
    pub(super) async fn prepared(sim: &Simulator, receiver: &Receiver, redis: &Redis, trials: Vec<Trial>) -> Self {
        Self::prepared_on(sim, receiver, redis, None, trials).await
    }

    pub(super) async fn prepared_on(
        sim: &Simulator,
        receiver: &Receiver,
        redis: &Redis,
        postgres: Option<(&Server, &Cable)>,
        trials: Vec<Trial>,
    ) -> Self {
        let home = Home::new(sim.ws_url())
            .set("SESSION_ENCRYPTION_KEY", SESSION_KEY_HEX)
            .set("NODE_ID", NODE)
            .set("CONNECT_TIMEOUT_SECONDS", "3")
            .set("LOGIN_TIMEOUT_SECONDS", &LOGIN.as_secs().to_string());
        let home = match postgres {
            None => home,
            Some((server, cable)) => {
                let url =
                    server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{}/", cable.port()));
                home.set("DATABASE_CONNECTION_URI", &url)
                    .set("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
                    .set("DATABASE_STATEMENT_TIMEOUT_SECONDS", "2")
            }
        };
        let fleet = Self { home, trials, ids: BTreeMap::new() };
        let url = match postgres {
            Some((server, _)) => server.url("postgres"),
            None => fleet.database().display().to_string(),
        };
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
        let earlier = fleet.home.data_dir().join("earlier.db");
        match postgres {
            None => {
                fs::copy(fleet.database(), &earlier).expect("the database of the first moment");
            }
            Some((server, _)) => {
                for (table, _) in OF_A_SESSION {
                    let kept = format!("CREATE TABLE \"earlier_{table}\" AS SELECT * FROM \"{table}\"");
                    server.ask("postgres", &kept).await.expect("the rows of the first moment");
                }
            }
        }
        let engine = fleet.home.start().await;
        fleet.all_talk(&engine, sim, receiver, "second", |_| true).await;
        stop(engine).await;
        let fresh = copies(&url).await;
        match postgres {
            None => fleet.change_database(&earlier, &fresh),
            Some((server, _)) => fleet.change_server(server, &fresh).await,
        }
        fleet.fill(redis, &stale, &fresh).await;
        let directory = fleet.home.data_dir().join("copies").display().to_string();
        let ids = fresh.iter().map(|(name, copy)| (name.clone(), copy.header.id.to_string())).collect();
        let Self { home, trials, .. } = fleet;
        let home = home
            .set("CACHE_REDIS_ENABLED", "true")
            .set("CACHE_REDIS_SAVE_INSTANCES", "true")
            .set("CACHE_REDIS_URI", &redis.uri())
            .set("PROVIDER_DIR", &directory);
        Self { home, trials, ids }
    }

    fn database(&self) -> PathBuf {
        self.home.data_dir().join("holdfast.db")
    }

    /// Each sends and receives a text.
    async fn all_talk(
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

    /// Puts the rows of each instance into their state, where they can only be set back: to when a node owned them that is gone.
    async fn change_server(&self, server: &Server, fresh: &BTreeMap<String, SessionCopy>) {
        let run = async |sql: &str| server.ask("postgres", sql).await.expect("the change");
        for trial in self.trials.iter().filter(|trial| trial.database == Database::SetBack) {
            let id = &fresh[&trial.name()].header.id;
            for (table, column) in OF_A_SESSION {
                run(&format!("DELETE FROM \"{table}\" WHERE \"{column}\" = '{id}'")).await;
                let earlier = format!("SELECT * FROM \"earlier_{table}\" WHERE \"{column}\" = '{id}'");
                run(&format!("INSERT INTO \"{table}\" {earlier}")).await;
            }
            run(&format!("UPDATE holdfast_session SET lease_node = 'gone' WHERE instance_id = '{id}'")).await;
        }
        for (table, _) in OF_A_SESSION {
            run(&format!("DROP TABLE \"earlier_{table}\"")).await;
        }
    }

    /// Puts the rows of each instance into their state.
    fn change_database(&self, earlier: &Path, fresh: &BTreeMap<String, SessionCopy>) {
        let mut database = SqliteConnection::establish(&self.database().display().to_string()).expect("the database");
        let mut run = |sql: String| database.batch_execute(&sql).expect("the change");
        run(format!("PRAGMA foreign_keys = OFF; ATTACH '{}' AS earlier", earlier.display()));
        for trial in &self.trials {
            let id = &fresh[&trial.name()].header.id;
            match trial.database {
                Database::Whole => {}
                Database::SetBack => {
                    for (table, column) in OF_A_SESSION {
                        run(format!(
                            "DELETE FROM \"{table}\" WHERE \"{column}\" = '{id}'; \
                             INSERT INTO \"{table}\" SELECT * FROM earlier.\"{table}\" WHERE \"{column}\" = '{id}'"
                        ));
                    }
                }
                Database::Emptied => {
                    for (table, column) in OF_A_SESSION.into_iter().chain([("Instance", "id")]) {
                        run(format!("DELETE FROM \"{table}\" WHERE \"{column}\" = '{id}'"));
                    }
                    for table in ["Webhook", "Setting"] {
                        run(format!("DELETE FROM \"{table}\" WHERE \"instanceId\" = '{id}'"));
                    }
                }
                Database::Damaged => run(format!(
                    "UPDATE \"Session\" SET \"creds\" = substr(\"creds\", 1, length(\"creds\") / 2) || 'AAAA' || \
                     substr(\"creds\", length(\"creds\") / 2 + 5) WHERE \"sessionId\" = '{id}'"
                )),
            }
        }
    }

    /// Puts the copies into the layers.
    async fn fill(&self, redis: &Redis, stale: &BTreeMap<String, SessionCopy>, fresh: &BTreeMap<String, SessionCopy>) {
        let clock = Clock::start();
        let options = RedisOptions {
            uri: redis.uri().into(),
            prefix: "evolution-cache".to_owned(),
            ttl: Duration::from_secs(3600),
            authorities: None,
        };
        let cache = RedisCache::new(options, clock).expect("the cache");
        let path = self.home.data_dir().join("copies");
        let directory = Directory::open(path.clone(), clock).expect("the directory");
        for trial in &self.trials {
            let of = |copy| match copy {
                Copy::Fresh | Copy::Corrupt => Some(&fresh[&trial.name()]),
                Copy::Stale => Some(&stale[&trial.name()]),
                Copy::None => None,
            };
            if let Some(copy) = of(trial.redis) {
                cache.write(copy).await.expect("the copy is written");
            }
            if let Some(copy) = of(trial.files) {
                directory.write(copy).await.expect("the copy is written");
            }
            let id = &fresh[&trial.name()].header.id;
            if trial.redis == Copy::Corrupt {
                let key = format!("evolution-cache:holdfast:copy:{id}");
                redis.ask(0, &["HSET", &key, "copy", "garbage"]).await.expect("it is damaged");
            }
            if trial.files == Copy::Corrupt {
                let file = path.join(format!("{id}.copy"));
                let bytes = fs::read(&file).expect("the copy");
                fs::write(&file, &bytes[..bytes.len() / 2]).expect("it is damaged");
            }
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

    /// Returns what is told of an instance. What no place can name is told by its id alone.
    pub(super) fn line<'r>(&self, report: &'r Value, trial: &Trial) -> &'r Value {
        let id = &self.ids[&trial.name()];
        let lines = report["instances"].as_array().expect("the lines");
        lines.iter().find(|line| line["instanceId"] == id.as_str()).unwrap_or(&Value::Null)
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
        }
    }
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
