//! The engine: the real binary, its webhooks, its HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_sim::{MessageRequest, Options, Simulator};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::Run;
use crate::figures::{Costs, Figures, Latencies, per_second};
use crate::harness::client::Api;
use crate::harness::engine::Engine;
use crate::meter::{Meter, now};
use crate::process::Process;
use crate::production::home;
use crate::receiver::Receiver;

/// Pairings under way at a moment.
const SIDE_BY_SIDE: usize = 8;

/// Measures the engine.
pub(crate) async fn measure(run: &Run) -> anyhow::Result<Figures> {
    let sim = Simulator::start(Options::default()).await?;
    let meter = Arc::new(Meter::default());
    let receiver = Receiver::start(Arc::clone(&meter))?;
    let home = home(sim.ws_url());
    let engine = home.start().await;
    let process = Process(engine.id());
    stream::iter(0..run.instances)
        .map(|number| pair(&engine, &sim, &receiver.url, number))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect::<Vec<()>>()
        .await?;
    warm(run, &engine.api(), &sim, &meter).await?;
    let connected = process.memory()?;

    let (inbound, inbound_cpu) = paced(run, &sim, &meter, process).await?;
    let (inbound_per_second, burst_cpu) = at_once(run, &sim, &meter, process).await?;
    let before = process.cpu()?;
    let (outbound, outbound_per_second) = outbound(run, &engine.api(), None).await?;
    let outbound_cpu = run.each(process.cpu()?.saturating_sub(before));
    let (_, keyed_per_second) = self::outbound(run, &engine.api(), Some("k")).await?;
    let memory = (connected, process.memory()?);
    drop(engine);
    receiver.stop().await;
    Ok(Figures {
        inbound,
        inbound_per_second,
        outbound,
        outbound_per_second,
        keyed_per_second: Some(keyed_per_second),
        process: Some(Costs { inbound_cpu, burst_cpu, outbound_cpu, memory }),
    })
}

async fn pair(engine: &Engine<'_>, sim: &Simulator, webhook: &str, number: usize) -> anyhow::Result<()> {
    let name = name(number);
    let body = json!({
        "instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": true,
        "webhook": { "url": webhook, "events": ["MESSAGES_UPSERT"] },
    });
    let created = engine.api().post("/instance/create", body).await;
    if created.status != 201 {
        bail!("instance {name} was not created: {created:?}");
    }
    engine.scan(sim, &name, &Run::phone(number)).await;
    engine.reaches(&name, "open").await;
    Ok(())
}

/// Lets every instance and its contact find each other: sessions are made once, and not measured.
async fn warm(run: &Run, api: &Api, sim: &Simulator, meter: &Meter) -> anyhow::Result<()> {
    for number in 0..run.instances {
        write(sim, meter, number, &format!("warm {number}")).await?;
        send(api, number, "warm", None).await?;
    }
    meter.all(run.instances).await?;
    meter.take();
    Ok(())
}

/// Messages come at a moderate rate: how long does each take?
async fn paced(run: &Run, sim: &Simulator, meter: &Meter, process: Process) -> anyhow::Result<(Latencies, Duration)> {
    let before = process.cpu()?;
    write_paced(run, sim, meter).await?;
    meter.all(run.arguments.messages).await?;
    let cpu = run.each(process.cpu()?.saturating_sub(before));
    Ok((Latencies::of(meter.take()), cpu))
}

/// All messages come at once: how many arrive in a second?
async fn at_once(run: &Run, sim: &Simulator, meter: &Meter, process: Process) -> anyhow::Result<(f64, Duration)> {
    let before = process.cpu()?;
    let began = now();
    write_at_once(run, sim, meter).await?;
    meter.all(run.arguments.messages).await?;
    let took = began.elapsed();
    meter.take();
    let cpu = run.each(process.cpu()?.saturating_sub(before));
    Ok((per_second(run.arguments.messages, took), cpu))
}

/// Contacts write, one message at each tick.
pub(crate) async fn write_paced(run: &Run, sim: &Simulator, meter: &Meter) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / run.arguments.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for (message, number) in run.turns().enumerate() {
        ticks.tick().await;
        write(sim, meter, number, &format!("paced {message}")).await?;
    }
    Ok(())
}

/// Contacts write, as fast as the simulator takes it.
pub(crate) async fn write_at_once(run: &Run, sim: &Simulator, meter: &Meter) -> anyhow::Result<()> {
    for (message, number) in run.turns().enumerate() {
        write(sim, meter, number, &format!("at once {message}")).await?;
    }
    Ok(())
}

pub(crate) async fn write(sim: &Simulator, meter: &Meter, number: usize, text: &str) -> anyhow::Result<()> {
    let (from, to) = (Run::contact(number), Run::phone(number));
    meter.leaves(text);
    sim.message(MessageRequest { from, to, text: text.to_owned(), id: None, group: None }).await?;
    Ok(())
}

async fn outbound(run: &Run, api: &Api, key: Option<&str>) -> anyhow::Result<(Latencies, f64)> {
    let began = now();
    let took: Vec<Duration> = stream::iter(run.turns().enumerate())
        .map(|(message, number)| async move {
            let began = now();
            let key = key.map(|key| format!("{key} {message}"));
            send(api, number, &format!("out {message}"), key.as_deref()).await?;
            anyhow::Ok(began.elapsed())
        })
        .buffer_unordered(run.arguments.senders)
        .try_collect()
        .await?;
    Ok((Latencies::of(took), per_second(run.arguments.messages, began.elapsed())))
}

async fn send(api: &Api, number: usize, text: &str, key: Option<&str>) -> anyhow::Result<()> {
    let path = format!("/message/sendText/{}", name(number));
    let body = json!({ "number": Run::contact(number), "text": text });
    let answer = match key {
        Some(key) => api.try_once(key, &path, &body).await.context("no answer")?,
        None => api.post(&path, body).await,
    };
    if answer.status != 201 {
        bail!("a message was not sent: {answer:?}");
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("n{number}")
}
