//! What connected instances cost: time until all are open, memory, descriptors, and processor time when idle and for each login.
//!
//! `cargo xtask bench fleet [--instances N,N] [--idle-seconds N]`. The engine is a process of its own, and so is the named baseline beside
//! it: as many bare whatsapp-rust clients, with their stores in memory. The simulator is in this process, and not measured.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod baseline;
mod engine;
#[path = "../../tests/it/harness"]
#[expect(dead_code, reason = "the integration tests use the rest of it")]
mod harness {
    pub(crate) mod bare;
    pub(crate) mod client;
    pub(crate) mod engine;
    pub(crate) mod eventually;
}
mod figures;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/production.rs"]
mod production;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Measures what connected instances cost.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many instances there are; each number is a run of its own
    #[arg(long, value_delimiter = ',', default_values_t = [100])]
    instances: Vec<usize>,
    /// How long the idle fleet is watched
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// Be the fleet of bare clients of the simulator at this address, controlled at the next, instead of measuring
    #[arg(long, hide = true, num_args = 2)]
    bare: Option<Vec<String>>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    harness::client::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some([ws, control]) = arguments.bare.as_deref() {
        let instances = *arguments.instances.first().context("how many?")?;
        return runtime.block_on(Box::pin(baseline::serve(ws, control, None, instances)));
    }
    if arguments.instances.contains(&0) {
        bail!("there is nothing to measure");
    }
    // Three sides of each connection are processes that inherit this.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let idle = Duration::from_secs(arguments.idle_seconds);
    for instances in arguments.instances {
        let engine = runtime.block_on(Box::pin(engine::measure(instances, idle))).context("the engine")?;
        let baseline = runtime.block_on(Box::pin(baseline::measure(instances, idle, None))).context("the baseline")?;
        figures::print(instances, &engine, &baseline)?;
    }
    Ok(())
}

/// The phone of an instance.
fn phone(number: usize) -> String {
    format!("55119000{number:05}")
}
