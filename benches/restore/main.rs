//! How long a fleet takes to come back, from each of the places that may hold its sessions: until HTTP is ready, and until all are open.
//!
//! `cargo xtask bench restore [--instances N,N] [--from sqlite|postgres|redis|files]`. From Redis and from files means that the database
//! is empty, and every login is taken from its copy. The named baselines are as many bare whatsapp-rust clients in a process of their own that
//! dial at once: with their stores in memory, and each with a file of the library's own SQLite storage. The engine dials as fast as it may be set
//! to, so that its pacing is not what is measured.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "../fleet/baseline.rs"]
mod baseline;
mod engine;
#[path = "../../tests/it/harness"]
#[expect(dead_code, reason = "the integration tests use the rest of it")]
mod harness {
    pub(crate) mod bare;
    pub(crate) mod client;
    pub(crate) mod engine;
    pub(crate) mod eventually;
    pub(crate) mod postgres;
    pub(crate) mod redis;
}
#[path = "../fleet/figures.rs"]
#[expect(dead_code, reason = "the bench of the fleet prints them")]
mod figures;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/production.rs"]
mod production;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::engine::Came;

/// Measures how long a fleet takes to come back.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many instances there are; each number is a run of its own
    #[arg(long, value_delimiter = ',', default_values_t = [100])]
    instances: Vec<usize>,
    /// Where their sessions come from
    #[arg(long, value_delimiter = ',', default_values_t = [From::Sqlite])]
    from: Vec<From>,
    /// Be the fleet of bare clients of the simulator at this address, controlled at the next, instead of measuring
    #[arg(long, hide = true, num_args = 2)]
    bare: Option<Vec<String>>,
    /// The folder in which the bare clients store; without it they do so in memory
    #[arg(long, hide = true)]
    files: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// A place that holds sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    Sqlite,
    Postgres,
    Redis,
    Files,
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Files => "files",
        })
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    harness::client::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some([ws, control]) = arguments.bare.as_deref() {
        let instances = *arguments.instances.first().context("how many?")?;
        return runtime.block_on(Box::pin(baseline::serve(ws, control, arguments.files.as_deref(), instances)));
    }
    if arguments.instances.contains(&0) {
        bail!("there is nothing to measure");
    }
    // Three sides of each connection are processes that inherit this.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\n{:<10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9} {:>7}",
        "from", "instances", "asked, s", "ready, s", "open, s", "bare, s", "ratio", "stored, s", "ratio"
    )?;
    for instances in arguments.instances {
        let folder = tempfile::tempdir()?;
        let baseline = |files| runtime.block_on(Box::pin(baseline::measure(instances, Duration::ZERO, files)));
        let bare = baseline(None).context("the baseline")?.open;
        let stored = baseline(Some(folder.path())).context("the baseline that stores")?.open;
        for from in &arguments.from {
            let came = runtime
                .block_on(Box::pin(engine::measure(instances, *from)))
                .with_context(|| format!("from {from}"))?;
            let Came { asked, ready, open } = came;
            let [asked, ready, open, bare, stored] = [asked, ready, open, bare, stored].map(|time| time.as_secs_f64());
            let (ratio, to_stored) = (open / bare, open / stored);
            writeln!(
                out,
                "{from:<10} {instances:>9} {asked:>9.2} {ready:>9.2} {open:>9.2} {bare:>9.2} {ratio:>7.2} {stored:>9.2} {to_stored:>7.2}"
            )?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The phone of an instance.
fn phone(number: usize) -> String {
    format!("55119000{number:05}")
}
