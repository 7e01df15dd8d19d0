//! The simulator as a program.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use holdfast_sim::{Options, Simulator};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A simulated WhatsApp server on loopback. Prints one line of JSON when it is ready; logs go to stderr (RUST_LOG).
#[derive(Parser)]
#[command(name = "holdfast-sim", version)]
struct Arguments {
    /// Where clients connect; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7300")]
    listen: SocketAddr,
    /// Where it is controlled over HTTP; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7301")]
    control: SocketAddr,
    /// Where clients upload and download files; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    media: SocketAddr,
    /// Speak TLS to clients; the certificate of the authority that they have to trust is written to this file
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Keeps keys, accounts, queues and sessions over a restart
    #[arg(long)]
    state: Option<PathBuf>,
    /// Makes runs repeatable: keys, numbers and ids follow from the seed, and the time from what happens
    #[arg(long, conflicts_with = "state")]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, control, media, tls, state, seed } = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    raise_file_limit();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let simulator = Simulator::start(Options { listen, control, media, tls, state, seed }).await?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(simulator.health())?)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    simulator.stop().await?;
    Ok(())
}

/// A connection takes a handle, and the usual limit is lower than a fleet.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
