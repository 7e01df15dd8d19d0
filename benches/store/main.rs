//! What a batch of a session costs in each database, for one instance and for many at once.
//!
//! `cargo xtask bench store [--instances N,N] [--seconds N]`. Each instance writes one batch after the other, of one value as long as a
//! Signal session. The named baseline of the same run: one connection that writes the same value, one transaction after the other, with
//! nothing of ours in between; and what the check of the owner adds to that.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod baseline;
#[path = "../../tests/it/harness"]
#[expect(dead_code, reason = "the integration tests use the rest of it")]
mod harness {
    pub(crate) mod eventually;
    pub(crate) mod postgres;
}

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use futures_util::future::try_join_all;
use holdfast::ports::clock::Clock;
use holdfast::ports::session::{SessionBatch, Write};
use holdfast::ports::store::{NewInstance, Settings, Store};
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions};
use holdfast_core::id::{Epoch, InstanceId};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::baseline::Raw;
use crate::harness::postgres::Server;

/// As long as a Signal session is.
const VALUE: usize = 700;
/// Values that an instance writes in turn.
const KEYS: usize = 16;

/// Measures what a batch of a session costs.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many instances write at once; each number is a run of its own
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000])]
    instances: Vec<usize>,
    /// How long each run takes
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        measure("sqlite", path("store.db"), Raw::sqlite(&path("raw.db"))?, &arguments).await?;
        // As an operator runs it: what is committed is on the disk.
        let server = Server::start_with(&["fsync=on"]).await?;
        server.ask("postgres", "CREATE DATABASE raw").await?;
        measure("postgres", server.url("postgres"), Raw::postgres(&server.url("raw")).await?, &arguments).await
    })
}

async fn measure(name: &str, url: String, mut raw: Raw, arguments: &Arguments) -> anyhow::Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    let plain = raw.transaction(false, time).await?;
    let fenced = raw.transaction(true, time).await?;
    drop(raw);
    let mut out = std::io::stdout().lock();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    writeln!(
        out,
        "\n{name}: a transaction of one connection alone takes {:.2} ms, with the owner checked {:.2} ms ({:.2})",
        ms(plain),
        ms(fenced),
        fenced.as_secs_f64() / plain.as_secs_f64()
    )?;
    writeln!(
        out,
        "{:<12} {:>12} {:>10} {:>10} {:>22}",
        "instances", "batches/s", "p50, ms", "p99, ms", "times one connection"
    )?;
    let store = holdfast::store::open(options(url)).await?;
    let mut sessions = Vec::new();
    for instances in arguments.instances.iter().copied() {
        while sessions.len() < instances {
            sessions.push(session(store.as_ref(), sessions.len()).await?);
        }
        let until = Instant::now() + time;
        let began = Instant::now();
        let writing = sessions[..instances].iter().map(|(id, epoch)| write(&store, id, *epoch, until));
        let mut took: Vec<Duration> = try_join_all(writing).await?.concat();
        let each_second = took.len() as f64 / began.elapsed().as_secs_f64();
        took.sort_unstable();
        let at =
            |hundredths: usize| took.get(took.len() * hundredths / 100).copied().map(ms).context("nothing was written");
        writeln!(
            out,
            "{instances:<12} {each_second:>12.0} {:>10.2} {:>10.2} {:>22.1}",
            at(50)?,
            at(99)?,
            each_second * fenced.as_secs_f64()
        )?;
    }
    store.close().await?;
    Ok(())
}

fn options(url: String) -> StoreOptions {
    StoreOptions {
        url,
        client_name: "bench".to_owned(),
        node: "node".to_owned(),
        lease_ttl: Duration::from_secs(60),
        key: EncryptionKey::new([7; 32]),
        runtime: Handle::current(),
        clock: Clock::start(),
        retention: Retention::default(),
        pool: PoolOptions::default(),
    }
}

/// Makes an instance and takes its session.
async fn session(store: &dyn Store, number: usize) -> anyhow::Result<(InstanceId, Epoch)> {
    let id = InstanceId::new(format!("i{number}"));
    let new = NewInstance {
        id: id.clone(),
        name: id.as_str().to_owned(),
        token: format!("token-{number}"),
        integration: "WHATSAPP-BAILEYS".to_owned(),
        number: None,
        settings: Settings::default(),
        webhook: None,
        proxy: None,
    };
    store.insert(new).await?;
    let epoch = store.claim(&id).await?.epoch;
    Ok((id, epoch))
}

/// Writes one batch after the other, and returns how long each took.
async fn write(store: &Arc<dyn Store>, id: &InstanceId, epoch: Epoch, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let key = (took.len() % KEYS).to_string();
        let value = Write { category: "session", key, value: Some(vec![took.len() as u8; VALUE]), expires_at: None };
        let batch = SessionBatch { writes: vec![value], ..SessionBatch::default() };
        let began = Instant::now();
        store.commit(id, epoch, batch).await?;
        took.push(began.elapsed());
    }
    Ok(took)
}
