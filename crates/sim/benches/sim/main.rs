//! What a session costs the simulator: memory and processor time of thousands of idle, logged-in devices.
//!
//! `cargo xtask bench sim [--sessions N] [--pre-keys N] [--idle-seconds N]`. The simulator and the named baseline, a bare
//! WebSocket server with the same buffers, are processes of their own, and measured from outside.

mod baseline;
mod client;
mod fleet;
mod process;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;

/// Measures what a session costs the simulator.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many devices log in
    #[arg(long, default_value_t = 5000)]
    sessions: usize,
    /// How many one-time keys each has left with the server; clients upload 812
    #[arg(long, default_value_t = 812)]
    pre_keys: usize,
    /// How long the idle fleet is watched
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// How often each idle device pings
    #[arg(long, default_value_t = 30)]
    ping_every: u64,
    /// Be the baseline instead of measuring
    #[arg(long, hide = true)]
    baseline: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.baseline {
        return runtime.block_on(baseline::serve());
    }
    if arguments.sessions == 0 || arguments.ping_every == 0 {
        bail!("there is nothing to measure");
    }
    let simulator = runtime.block_on(fleet::simulator(&arguments)).context("the simulator")?;
    let baseline = runtime.block_on(fleet::baseline(&arguments)).context("the baseline")?;
    report(&arguments, &simulator, &baseline)
}

/// What was measured of one server.
struct Figures {
    /// Memory before anything happened, in kB.
    at_start: u64,
    /// Memory when the devices were known, in kB.
    known: u64,
    /// Memory while all were logged in and idle, in kB.
    idle: u64,
    /// How long all the logins took.
    logins: Duration,
    /// Processor time of the logins.
    logins_cpu: Duration,
    /// Processor time of the idle time.
    idle_cpu: Duration,
    /// How long the idle time was.
    idle_for: Duration,
}

impl Figures {
    /// What the connection of a device takes, in kB.
    fn session(&self, sessions: usize) -> f64 {
        self.idle.saturating_sub(self.known) as f64 / sessions as f64
    }

    /// What is known of a device, its keys above all, in kB.
    fn account(&self, sessions: usize) -> f64 {
        self.known.saturating_sub(self.at_start) as f64 / sessions as f64
    }

    fn core_share(&self) -> f64 {
        self.idle_cpu.as_secs_f64() / self.idle_for.as_secs_f64()
    }
}

fn report(arguments: &Arguments, simulator: &Figures, baseline: &Figures) -> anyhow::Result<()> {
    use std::io::Write as _;
    let sessions = arguments.sessions;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0 / sessions as f64;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{sessions} devices with {} one-time keys each, a ping every {} s",
        arguments.pre_keys, arguments.ping_every
    )?;
    writeln!(out, "{:<44} {:>12} {:>16} {:>8}", "", "simulator", "bare WebSockets", "ratio")?;
    let mut row = |name: &str, simulator: f64, baseline: f64, decimals: usize| {
        let ratio = if baseline > 0.0 { format!("{:.1}", simulator / baseline) } else { "-".to_owned() };
        writeln!(out, "{name:<44} {simulator:>12.decimals$} {baseline:>16.decimals$} {ratio:>8}")
    };
    row("memory of an idle session, kB", simulator.session(sessions), baseline.session(sessions), 1)?;
    row("memory of its account and keys, kB", simulator.account(sessions), baseline.account(sessions), 1)?;
    row("login, ms of processor time", milliseconds(simulator.logins_cpu), milliseconds(baseline.logins_cpu), 2)?;
    row("login, ms by the clock", milliseconds(simulator.logins), milliseconds(baseline.logins), 2)?;
    row("idle fleet, % of a core", simulator.core_share() * 100.0, baseline.core_share() * 100.0, 1)?;
    Ok(())
}
