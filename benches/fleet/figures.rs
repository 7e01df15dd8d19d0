//! What is measured of a fleet that is connected, and how it is printed.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_sim::{Action, FaultRequest, Simulator};
use tokio::time::{Instant, sleep, timeout};

use crate::process::Process;

pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the fleet is left alone before it is measured.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What was measured of one fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// From the start of the process until its HTTP interface is ready. Only the engine has one.
    pub(crate) ready: Option<Duration>,
    /// From the start of the process, or of dialling, until all were connected.
    pub(crate) open: Duration,
    /// Memory of the empty process, and of the idle fleet, in kB.
    pub(crate) memory: (u64, u64),
    /// The same of descriptors.
    pub(crate) descriptors: (u64, u64),
    /// Processor time of the idle fleet, and over which time.
    pub(crate) idle: (Duration, Duration),
    /// Processor time of all logins after all connections were reset.
    pub(crate) logins: Duration,
}

/// A process before it had any instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Empty {
    memory: u64,
    descriptors: u64,
}

impl Empty {
    pub(crate) fn of(process: Process) -> anyhow::Result<Self> {
        Ok(Self { memory: process.memory()?, descriptors: process.descriptors()? })
    }
}

/// Watches a connected fleet, cuts all its connections, and watches it come back.
pub(crate) async fn watch(
    sim: &Simulator,
    process: Process,
    empty: Empty,
    (ready, open): (Option<Duration>, Duration),
    instances: usize,
    idle_for: Duration,
) -> anyhow::Result<Figures> {
    sleep(SETTLED).await;
    let (memory, descriptors, before) = (process.memory()?, process.descriptors()?, process.cpu()?);
    let began = Instant::now();
    sleep(idle_for).await;
    let (idle, idle_for) = (process.cpu()?.saturating_sub(before), began.elapsed());

    let (before, logins) = (process.cpu()?, sim.counters(None)?.tally.logins);
    sim.fault(FaultRequest { target: "open".to_owned(), action: Action::Rst }).await?;
    connected(sim, instances, logins).await?;
    // What follows a login belongs to it.
    sleep(SETTLED).await;
    let logins = process.cpu()?.saturating_sub(before);
    let (memory, descriptors) = ((empty.memory, memory), (empty.descriptors, descriptors));
    Ok(Figures { ready, open, memory, descriptors, idle: (idle, idle_for), logins })
}

/// Waits until so many are served, each by a login since the counter said `logins`.
pub(crate) async fn connected(sim: &Simulator, instances: usize, logins: u64) -> anyhow::Result<()> {
    let all = async {
        loop {
            let served = sim.served().iter().filter(|device| device.served).count();
            if served == instances && sim.counters(None)?.tally.logins >= logins + instances as u64 {
                return anyhow::Ok(());
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, all).await.context("not all of them are connected")?
}

pub(crate) fn print(instances: usize, engine: &Figures, bare: &Figures) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{:<44} {:>12} {:>12} {:>8}", format!("{instances} instances"), "engine", "bare crate", "ratio")?;
    let mut row = |name: &str, of: &dyn Fn(&Figures) -> f64| {
        let (engine, bare) = (of(engine), of(bare));
        let ratio = if bare > 0.0 { format!("{:.2}", engine / bare) } else { "-".to_owned() };
        writeln!(out, "{name:<44} {engine:>12.2} {bare:>12.2} {ratio:>8}")
    };
    let each = |(before, after): (u64, u64)| after.saturating_sub(before) as f64 / instances as f64;
    row("start until HTTP is ready, s", &|of| of.ready.unwrap_or_default().as_secs_f64())?;
    row("start until all are open, s", &|of| of.open.as_secs_f64())?;
    row("memory of the empty process, MB", &|of| of.memory.0 as f64 / 1000.0)?;
    row("memory of each connected instance, kB", &|of| each(of.memory))?;
    row("descriptors of each instance", &|of| each(of.descriptors))?;
    row("idle, % of a core", &|of| 100.0 * of.idle.0.as_secs_f64() / of.idle.1.as_secs_f64())?;
    row("processor time of a login, ms", &|of| of.logins.as_secs_f64() * 1000.0 / instances as f64)?;
    Ok(())
}
