//! What was measured, and how it is printed.

use std::io::Write as _;
use std::time::Duration;

use crate::Arguments;

/// What was measured of one side.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// From the simulator's sending to the arrival, at a moderate rate.
    pub(crate) inbound: Latencies,
    /// Messages in a second, when all are sent at once.
    pub(crate) inbound_per_second: f64,
    /// From the request to the acknowledgement, with many under way.
    pub(crate) outbound: Latencies,
    pub(crate) outbound_per_second: f64,
    /// The same, each request with an idempotency key. Only the engine knows them.
    pub(crate) keyed_per_second: Option<f64>,
    /// What only a process of its own can tell.
    pub(crate) process: Option<Costs>,
}

/// What the engine's process took.
#[derive(Debug)]
pub(crate) struct Costs {
    /// Processor time of each message at a moderate rate.
    pub(crate) inbound_cpu: Duration,
    /// Processor time of each message when all are sent at once.
    pub(crate) burst_cpu: Duration,
    pub(crate) outbound_cpu: Duration,
    /// Memory when the instances were connected, and after all messages, in kB.
    pub(crate) memory: (u64, u64),
}

#[derive(Debug, Default)]
pub(crate) struct Latencies {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Latencies {
    pub(crate) fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |hundredths: usize| took.get((took.len() * hundredths / 100).min(took.len().saturating_sub(1)));
        Self { p50: at(50).copied().unwrap_or_default(), p99: at(99).copied().unwrap_or_default() }
    }
}

/// Returns how many of so many that makes in a second.
pub(crate) fn per_second(number: usize, took: Duration) -> f64 {
    number as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE)
}

pub(crate) fn print_head(arguments: &Arguments, wait: Duration) -> anyhow::Result<()> {
    let Arguments { messages, rate, senders, .. } = arguments;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{messages} messages for each figure; latencies in at {rate} messages/s; {senders} requests under way on the way out"
    )?;
    writeln!(out, "one wait for the disk: {:.2} ms", millis(wait))?;
    Ok(())
}

pub(crate) fn print(instances: usize, engine: &Figures, baseline: &Figures) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let what = if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") };
    writeln!(out, "\n{what:<44} {:>12} {:>12} {:>8}", "engine", "bare crate", "ratio")?;
    let mut row = |name: &str, engine: f64, baseline: Option<f64>| {
        let (bare, ratio) = match baseline {
            Some(bare) if bare > 0.0 => (format!("{bare:.2}"), format!("{:.2}", engine / bare)),
            Some(_) | None => ("-".to_owned(), "-".to_owned()),
        };
        writeln!(out, "{name:<44} {engine:>12.2} {bare:>12} {ratio:>8}")
    };
    let (theirs, ours) = (&baseline.inbound, &engine.inbound);
    row("in: to the webhook or callback, p50, ms", millis(ours.p50), Some(millis(theirs.p50)))?;
    row("in: the same, p99, ms", millis(ours.p99), Some(millis(theirs.p99)))?;
    row("in: all at once, messages/s", engine.inbound_per_second, Some(baseline.inbound_per_second))?;
    let (theirs, ours) = (&baseline.outbound, &engine.outbound);
    row("out: to the acknowledgement, p50, ms", millis(ours.p50), Some(millis(theirs.p50)))?;
    row("out: the same, p99, ms", millis(ours.p99), Some(millis(theirs.p99)))?;
    row("out: messages/s", engine.outbound_per_second, Some(baseline.outbound_per_second))?;
    if let Some(keyed) = engine.keyed_per_second {
        row("out: messages/s, each with a key", keyed, None)?;
    }
    if let Some(costs) = &engine.process {
        row("in: processor time of a message, ms", millis(costs.inbound_cpu), None)?;
        row("in: the same, all at once, ms", millis(costs.burst_cpu), None)?;
        row("out: processor time of a message, ms", millis(costs.outbound_cpu), None)?;
        row("memory when connected, MB", megabytes(costs.memory.0), None)?;
        row("memory after all of it, MB", megabytes(costs.memory.1), None)?;
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}
