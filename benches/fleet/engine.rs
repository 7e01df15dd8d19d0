//! The engine: the real binary with instances that were paired before it was started.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, stream};
use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::figures::{Empty, Figures, connected, watch};
use crate::harness::engine::Engine;
use crate::phone;
use crate::process::Process;
use crate::production::home;

/// Pairings under way at a moment.
const SIDE_BY_SIDE: usize = 8;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure(instances: usize, idle: Duration) -> anyhow::Result<Figures> {
    let sim = Simulator::start(Options::default()).await?;
    let home = home(sim.ws_url());
    let engine = home.start().await;
    let empty = Empty::of(Process(engine.id()))?;
    let pairings = (0..instances).map(|number| {
        let (engine, sim) = (&engine, &sim);
        async move { engine.pair(sim, &phone(number), &phone(number), None).await }
    });
    stream::iter(pairings).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
    engine.signal(Signal::TERM);
    if engine.end().await != Some(0) {
        bail!("the engine did not stop as it should");
    }

    let logins = sim.counters(None)?.tally.logins;
    let began = Instant::now();
    let engine = home.start().await;
    let ready = began.elapsed();
    connected(&sim, instances, logins).await?;
    timeout(PATIENCE, all_open(&engine, instances)).await.context("not all of them say that they are open")?;
    let open = began.elapsed();
    watch(&sim, Process(engine.id()), empty, (Some(ready), open), instances, idle).await
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
