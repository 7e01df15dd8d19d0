//! Many devices against one server, the one that is measured and the one it is compared with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use holdfast_sim::{AdoptAnswer, AdoptRequest};
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{self, Device, Session, Socket};
use crate::process::Process;
use crate::{Arguments, Figures};

/// Logins under way at a moment.
const SIDE_BY_SIDE: usize = 32;
/// Devices adopted by one request.
const AT_ONCE: usize = 50;
/// How long the fleet is left alone before it is measured.
const SETTLED: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the simulator.
pub(crate) async fn simulator(arguments: &Arguments) -> anyhow::Result<Figures> {
    let free = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let (process, line) = Process::start(env!("CARGO_BIN_EXE_holdfast-sim"), &free).await?;
    let health: serde_json::Value = serde_json::from_str(&line)?;
    let address = |name: &str| health[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {line}"));
    let (ws, control) = (address("ws")?, address("control")?);
    let at_start = process.memory()?;

    let mut rng: StdRng = rand::make_rng();
    let mut devices = Vec::with_capacity(arguments.sessions);
    while devices.len() < arguments.sessions {
        let new: Vec<Device> =
            (devices.len()..arguments.sessions).take(AT_ONCE).map(|_| Device::new(&mut rng)).collect();
        let public = new.iter().map(|device| device.public(arguments.pre_keys, &mut rng));
        let adopted = adopt(&control, &AdoptRequest { devices: public.collect::<anyhow::Result<_>>()? }).await?;
        devices.extend(new.into_iter().zip(adopted.devices));
    }
    sleep(SETTLED).await;
    let known = process.memory()?;

    let url: Arc<str> = ws.into();
    let log_in = move |(device, adopted): (Device, holdfast_sim::Adopted)| {
        let url = url.clone();
        async move {
            let address = adopted.jid.parse().map_err(anyhow::Error::msg)?;
            device.log_in(&url, &address).await
        }
    };
    let ping = async |mut session: Session| {
        session.ping().await?;
        anyhow::Ok(session)
    };
    measure(arguments, &process, at_start, known, devices, log_in, ping).await
}

/// Measures the baseline.
pub(crate) async fn baseline(arguments: &Arguments) -> anyhow::Result<Figures> {
    let own = std::env::current_exe()?;
    let (process, url) = Process::start(&own.to_string_lossy(), &["--baseline"]).await?;
    let url: Arc<str> = url.into();
    let at_start = process.memory()?;
    let open = move |()| {
        let url = url.clone();
        async move { client::open(&url).await }
    };
    let ping = async |mut socket: Socket| {
        // As long as a sealed ping.
        socket.send(Message::Binary(vec![0; 48].into())).await?;
        socket.next().await.context("closed")??;
        anyhow::Ok(socket)
    };
    measure(arguments, &process, at_start, at_start, vec![(); arguments.sessions], open, ping).await
}

async fn measure<Known, Open, Opening, Ping, Pinging, Live>(
    arguments: &Arguments,
    process: &Process,
    at_start: u64,
    known: u64,
    devices: Vec<Known>,
    open: Open,
    ping: Ping,
) -> anyhow::Result<Figures>
where
    Known: Send + 'static,
    Live: Send + 'static,
    Open: Fn(Known) -> Opening,
    Opening: Future<Output = anyhow::Result<Live>> + Send + 'static,
    Ping: Fn(Live) -> Pinging + Clone + Send + 'static,
    Pinging: Future<Output = anyhow::Result<Live>> + Send + 'static,
{
    let (began, cpu_before) = (Instant::now(), process.cpu()?);
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut logins = JoinSet::new();
    for device in devices {
        let (opening, place) = (open(device), places.clone().acquire_owned().await?);
        logins.spawn(async move {
            let live = timeout(PATIENCE, opening).await.context("a login took too long")?;
            drop(place);
            live
        });
    }
    let mut live = Vec::with_capacity(arguments.sessions);
    while let Some(session) = logins.join_next().await {
        live.push(session??);
    }
    let (logins, logins_cpu) = (began.elapsed(), process.cpu()?.saturating_sub(cpu_before));

    // Each device pings in its own place of the period, as they do who logged in at different times.
    let period = Duration::from_secs(arguments.ping_every);
    let mut idling = JoinSet::new();
    for (number, mut session) in live.into_iter().enumerate() {
        let ping = ping.clone();
        let first = period.mul_f64(number as f64 / arguments.sessions as f64);
        idling.spawn(async move {
            let mut ticks = interval_at(tokio::time::Instant::now() + first, period);
            loop {
                ticks.tick().await;
                match timeout(PATIENCE, ping(session)).await {
                    Ok(Ok(alive)) => session = alive,
                    Ok(Err(error)) => return error,
                    Err(_) => return anyhow::anyhow!("a ping was not answered"),
                }
            }
        });
    }
    sleep(SETTLED).await;
    let (idle_began, idle_cpu_before) = (Instant::now(), process.cpu()?);
    tokio::select! {
        () = sleep(Duration::from_secs(arguments.idle_seconds)) => {}
        Some(ended) = idling.join_next() => bail!("a session ended: {:#}", ended?),
    }
    let (idle_for, idle_cpu) = (idle_began.elapsed(), process.cpu()?.saturating_sub(idle_cpu_before));
    let idle = process.memory()?;
    Ok(Figures { at_start, known, idle, logins, logins_cpu, idle_cpu, idle_for })
}

async fn adopt(control: &str, request: &AdoptRequest) -> anyhow::Result<AdoptAnswer> {
    let address = control.strip_prefix("http://").context("no HTTP address")?;
    let body = serde_json::to_vec(request)?;
    let head = format!(
        "POST /adopt HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut tcp = TcpStream::connect(address).await?;
    tcp.write_all(&[head.as_bytes(), &body].concat()).await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{head}: {body}");
    }
    Ok(serde_json::from_str(body)?)
}
