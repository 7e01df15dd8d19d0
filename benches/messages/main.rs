//! What a message costs, in and out: from the simulator to a webhook, and from a request to WhatsApp's acknowledgement.
//!
//! `cargo xtask bench messages [--instances N,N] [--messages N] [--rate N] [--senders N]`. The engine is a process of its own, with its
//! database on the disk of the temporary directory. Beside it, in the same run, stands the named baseline: as many bare whatsapp-rust
//! clients, with their stores in memory and a callback instead of a webhook. Both talk to a simulator in this process.

mod baseline;
mod disk;
mod engine;
mod figures;
#[path = "../../tests/it/harness"]
#[expect(dead_code, reason = "the integration tests use the rest of it")]
mod harness {
    pub(crate) mod bare;
    pub(crate) mod client;
    pub(crate) mod engine;
    pub(crate) mod eventually;
}
mod meter;
#[expect(dead_code, reason = "the bench of fleets uses the rest of it")]
#[path = "../common/process.rs"]
mod process;
#[path = "../common/production.rs"]
mod production;
mod receiver;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;

/// Measures what a message costs.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many instances there are; each number is a run of its own
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100])]
    instances: Vec<usize>,
    /// How many messages each measurement takes, over all instances
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// How many messages come in a second where their latency is measured
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// How many requests to send are under way at a moment
    #[arg(long, default_value_t = 16)]
    senders: usize,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.instances.contains(&0) || arguments.messages == 0 || arguments.rate == 0 || arguments.senders == 0 {
        bail!("there is nothing to measure");
    }
    harness::client::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let wait = disk::wait().context("the temporary directory")?;
    figures::print_head(&arguments, wait)?;
    for instances in arguments.instances.clone() {
        let run = Run { instances, arguments: arguments.clone() };
        let engine = runtime.block_on(Box::pin(engine::measure(&run))).context("the engine")?;
        let baseline = runtime.block_on(Box::pin(baseline::measure(&run))).context("the baseline")?;
        figures::print(instances, &engine, &baseline)?;
    }
    Ok(())
}

/// What one run is about.
#[derive(Debug, Clone)]
struct Run {
    instances: usize,
    arguments: Arguments,
}

impl Run {
    /// The phone of an instance.
    fn phone(number: usize) -> String {
        format!("55119000{number:05}")
    }

    /// The one person who writes to an instance and is written to by it.
    fn contact(number: usize) -> String {
        format!("55218000{number:05}")
    }

    /// The share of one message in what all of them took.
    fn each(&self, all: Duration) -> Duration {
        all / u32::try_from(self.arguments.messages).unwrap_or(u32::MAX)
    }

    /// The instances that messages go to, in turn.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let instances = self.instances;
        (0..self.arguments.messages).map(move |number| number % instances)
    }
}
