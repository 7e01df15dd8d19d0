//! The baseline: whatsapp-rust by itself, many clients in one process, their stores in memory, or each in a file of the library's own SQLite
//! storage, as it comes.
//!
//! They come back, as the engine does: each has been connected before, has made its prekeys then, and is built anew over its store. Making prekeys
//! takes longer than all the rest of a login, and at a first login it goes on while others still wait for theirs.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_sim::{AdoptAnswer, AdoptRequest, Options, Simulator};
use reqwest::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use whatsapp_rust_sqlite_storage::SqliteStore;

use crate::figures::{Empty, Figures, LOOK_AGAIN, PATIENCE, SETTLED, connected, watch};
use crate::harness::bare::BareClient;
use crate::harness::client::http;
use crate::phone;
use crate::process::Process;

const SIDE_BY_SIDE: usize = 16;

/// The clients store in files of this folder, or in memory.
pub(crate) async fn measure(instances: usize, idle: Duration, files: Option<&Path>) -> anyhow::Result<Figures> {
    let sim = Simulator::start(Options::default()).await?;
    let number = instances.to_string();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--instances", &number, "--bare", sim.ws_url(), sim.control_url()])
        .args(files.iter().flat_map(|files| [OsStr::new("--files"), files.as_os_str()]))
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
pub(crate) async fn serve(ws: &str, control: &str, files: Option<&Path>, instances: usize) -> anyhow::Result<()> {
    let http = http();
    say("started")?;
    order().await?;
    let clients: Vec<BareClient> = stream::iter(0..instances)
        .map(|number| link(ws, control, &http, (files, number)))
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
        client.flush().await?;
    }
    say("ended")?;
    order().await?;
    let numbered = clients.into_iter().enumerate();
    let mut building: JoinSet<_> = numbered
        .map(|(number, client)| again(client, ws.to_owned(), files.map(|folder| file(folder, number))))
        .collect();
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

/// The file of a client.
fn file(folder: &Path, number: usize) -> String {
    folder.join(format!("{number}.db")).display().to_string()
}

async fn again(client: BareClient, url: String, file: Option<String>) -> anyhow::Result<BareClient> {
    let client = match file {
        None => client.anew(&url).await?,
        Some(file) => BareClient::stored(&url, Arc::new(SqliteStore::new(&file).await?)).await?,
    };
    client.reconnects(true);
    client.dial();
    Ok(client)
}

async fn link(
    ws: &str,
    control: &str,
    http: &Client,
    (files, number): (Option<&Path>, usize),
) -> anyhow::Result<BareClient> {
    let client = match files {
        None => BareClient::new(ws).await?,
        Some(folder) => BareClient::stored(ws, Arc::new(SqliteStore::new(&file(folder, number)).await?)).await?,
    };
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
