//! The engine: the real binary with instances that were paired before, and what is left of their sessions.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, stream};
use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::figures::connected;
use crate::harness::engine::Engine;
use crate::harness::postgres::Server;
use crate::harness::redis::Redis;
use crate::production::home;
use crate::{From, phone};

/// Pairings under way at a moment.
const SIDE_BY_SIDE: usize = 8;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(300);

/// How long it took, each from the start of the process.
pub(crate) struct Came {
    /// To ask the places what they hold: from its beginning, not from that of the process.
    pub(crate) asked: Duration,
    /// Until HTTP was ready: every login is in the database by then.
    pub(crate) ready: Duration,
    /// Until all were open.
    pub(crate) open: Duration,
}

pub(crate) async fn measure(instances: usize, from: From) -> anyhow::Result<Came> {
    let sim = Simulator::start(Options::default()).await?;
    let home = home(sim.ws_url())
        .set("DIAL_CONCURRENCY", "1000")
        .set("DIAL_RATE_PER_SECOND", "1000")
        .set("PROVIDER_SNAPSHOT_SECONDS", "5")
        .set("PROMETHEUS_METRICS", "true");
    let server = if from == From::Postgres { Some(Server::start().await?) } else { None };
    let redis = if from == From::Redis { Some(Redis::start().await?) } else { None };
    let home = match &server {
        Some(server) => home.set("DATABASE_CONNECTION_URI", &server.url("postgres")),
        None => home,
    };
    let home = match &redis {
        Some(redis) => home
            .set("CACHE_REDIS_ENABLED", "true")
            .set("CACHE_REDIS_SAVE_INSTANCES", "true")
            .set("CACHE_REDIS_URI", &redis.uri()),
        None => home,
    };
    let copies = home.data_dir().join("copies").display().to_string();
    let home = if from == From::Files { home.set("PROVIDER_DIR", &copies) } else { home };

    let engine = home.start().await;
    let pairings = (0..instances).map(|number| {
        let (engine, sim) = (&engine, &sim);
        async move { engine.pair(sim, &phone(number), &phone(number), None).await }
    });
    stream::iter(pairings).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
    if matches!(from, From::Redis | From::Files) {
        copied(&engine, instances).await?;
    }
    engine.signal(Signal::TERM);
    ensure!(engine.end().await == Some(0), "the engine did not stop as it should");
    if matches!(from, From::Redis | From::Files) {
        for name in ["holdfast.db", "holdfast.db-wal", "holdfast.db-shm"] {
            let gone = fs::remove_file(home.data_dir().join(name));
            ensure!(gone.is_ok() || name != "holdfast.db", "the database is not gone");
        }
    }

    let logins = sim.counters(None)?.tally.logins;
    let began = Instant::now();
    let engine = home.start().await;
    let ready = began.elapsed();
    connected(&sim, instances, logins).await?;
    timeout(PATIENCE, all_open(&engine, instances)).await.context("not all of them say that they are open")?;
    let open = began.elapsed();
    let report = engine.api().get("/engine/restoration").await.good();
    let (adopted, wanted) =
        (&report["progress"]["adopted"], if matches!(from, From::Redis | From::Files) { instances } else { 0 });
    if adopted.as_u64() != Some(wanted as u64) {
        bail!("{adopted} were taken from copies, not {wanted}");
    }
    let places = report["places"].as_array().into_iter().flatten();
    let asked = places.filter_map(|place| place["tookMs"].as_u64()).sum();
    Ok(Came { asked: Duration::from_millis(asked), ready, open })
}

/// Waits until every session has a copy.
async fn copied(engine: &Engine<'_>, instances: usize) -> anyhow::Result<()> {
    let all = async {
        loop {
            let text = engine.api().get("/metrics").await.body;
            let written = text.as_str().into_iter().flat_map(str::lines).find_map(|line| {
                let of_copies = line.starts_with("holdfast_copies_total") && line.contains("written");
                of_copies.then(|| line.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
            });
            if written.is_some_and(|written| written >= instances as f64) {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, all).await.context("not all of them were copied")
}

async fn all_open(engine: &Engine<'_>, instances: usize) {
    loop {
        let all = engine.api().get("/instance/fetchInstances").await.body;
        let open = all.as_array().into_iter().flatten().filter(|row| row["connectionStatus"] == "open").count();
        if open == instances {
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
}
