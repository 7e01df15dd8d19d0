//! The baseline: whatsapp-rust by itself, many clients in one process, their stores in memory.
//!
//! They come back, as the engine does: each has been connected before, has made its prekeys then, and is built anew over its store. Making prekeys
//! takes longer than all the rest of a login, and at a first login it goes on while others still wait for theirs.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_sim::{AdoptAnswer, AdoptRequest, Options, Simulator};
use reqwest::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use crate::figures::{Empty, Figures, LOOK_AGAIN, PATIENCE, SETTLED, connected, watch};
use crate::harness::bare::BareClient;
use crate::harness::client::http;
use crate::phone;
use crate::process::Process;

const SIDE_BY_SIDE: usize = 16;

pub(crate) async fn measure(instances: usize, idle: Duration) -> anyhow::Result<Figures> {
    let sim = Simulator::start(Options::default()).await?;
    let number = instances.to_string();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--instances", &number, "--bare", sim.ws_url(), sim.control_url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let process = Process(child.id().context("it has ended")?);
    let mut orders = child.stdin.take().context("its input")?;
    let mut said = BufReader::new(child.stdout.take().context("its output")?).lines();
    said.next_line().await?.context("it has ended")?;
    let empty = Empty::of(process)?;
    orders.write_all(b"link\n").await?;
    said.next_line().await?.context("it has ended")?;
    orders.write_all(b"dial\n").await?;
    connected(&sim, instances, 0).await?;
    timeout(PATIENCE, uploaded(&sim)).await.context("not all of them have uploaded their keys")?;
    sleep(SETTLED).await;
    orders.write_all(b"end\n").await?;
    said.next_line().await?.context("it has ended")?;

    let logins = sim.counters(None)?.tally.logins;
    let began = Instant::now();
    orders.write_all(b"dial\n").await?;
    connected(&sim, instances, logins).await?;
    watch(&sim, process, empty, (None, began.elapsed()), instances, idle).await
}

/// Waits until every device has uploaded its prekeys.
async fn uploaded(sim: &Simulator) {
    while sim.accounts().iter().flat_map(|account| &account.devices).any(|device| device.pre_keys == 0) {
        sleep(LOOK_AGAIN).await;
    }
}

/// Is the fleet: says a line when it has started, links its clients when told to, says another, dials when told to, ends all connections when
/// told to, says a third, and builds them anew and dials when told to.
pub(crate) async fn serve(ws: &str, control: &str, instances: usize) -> anyhow::Result<()> {
    let http = http();
    say("started")?;
    order().await?;
    let clients: Vec<BareClient> = stream::iter(0..instances)
        .map(|number| link(ws, control, &http, number))
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    say("linked")?;
    order().await?;
    for client in &clients {
        client.dial();
    }
    order().await?;
    for client in &clients {
        client.cut();
    }
    for client in &clients {
        client.ended().await?;
    }
    say("ended")?;
    order().await?;
    let mut building: JoinSet<_> = clients.into_iter().map(|client| again(client, ws.to_owned())).collect();
    let mut clients = Vec::with_capacity(instances);
    while let Some(client) = building.join_next().await {
        clients.push(client??);
    }
    // What they tell is taken by nobody in particular.
    let mut events = stream::select_all(clients.iter().map(BareClient::events));
    tokio::select! {
        gone = order() => gone,
        () = async { while events.next().await.is_some() {} } => Ok(()),
    }
}

async fn again(client: BareClient, url: String) -> anyhow::Result<BareClient> {
    let client = client.anew(&url).await?;
    client.reconnects(true);
    client.dial();
    Ok(client)
}

async fn link(ws: &str, control: &str, http: &Client, number: usize) -> anyhow::Result<BareClient> {
    let client = BareClient::new(ws).await?;
    let request = AdoptRequest { devices: vec![client.public(&phone(number))?] };
    let answer = http.post(format!("{control}/adopt")).body(serde_json::to_vec(&request)?).send().await?;
    if !answer.status().is_success() {
        bail!("not adopted: {}", answer.text().await?);
    }
    let adopted: AdoptAnswer = serde_json::from_slice(&answer.bytes().await?)?;
    client.adopt(adopted.devices.into_iter().next().context("nothing was adopted")?).await?;
    Ok(client)
}

/// Waits for the next line, or for the end of whoever writes it.
async fn order() -> anyhow::Result<()> {
    let read = spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    read.await?.context("nobody is there")?;
    Ok(())
}

fn say(what: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}")?;
    out.flush()?;
    Ok(())
}
