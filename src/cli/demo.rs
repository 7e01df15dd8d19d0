//! `holdfast demo`: an engine and a simulated WhatsApp in one process, and a line for whatever happens.

mod play;
mod screen;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, value_parser};
use holdfast::app::{self, Announce};
use holdfast::config::Settings;
use holdfast::telemetry::log::{self, Chosen};
use holdfast_core::logging::{Selection, Word};
use holdfast_sim::{Options, Simulator};
use rustix::process::{Signal, getpid, kill_process};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Handle};

use self::play::Play;
use self::screen::Screen;
use super::engine::Engine;
use super::{complain, say};

const LAST_TASKS: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// How many instances there are.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    instances: u32,
    /// Seconds between two faults; 0 for none.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u64).range(0..=3600))]
    fault_every: u64,
    /// End so many seconds after all are paired. Without it the demo goes on until Ctrl-C.
    #[arg(long, value_parser = value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Where the engine listens, on 127.0.0.1; 0 takes a free port.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub(super) fn demo(arguments: &DemoArguments) -> ExitCode {
    match run(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the engine's shutdown was clean.
fn run(arguments: &DemoArguments) -> Result<bool> {
    let screen = Screen::new();
    // Of the engine's log only what is wrong with itself: the demo's own lines tell the rest.
    let directives = std::env::var("RUST_LOG").ok();
    log::install(false, screen.color(), Chosen { selection: Selection::of([Word::Error]), directives })
        .context("the log cannot be set up")?;
    let runtime = Builder::new_multi_thread().enable_all().thread_name("holdfast").build()?;
    let home = Home::make()?;
    let simulator = runtime.block_on(Simulator::start(Options::default())).context("the simulator did not start")?;
    let performed = perform(arguments, &screen, &home, &simulator, runtime.handle());
    if performed.is_ok() {
        screen::counters(&simulator);
    }
    let stopped = runtime.block_on(simulator.stop());
    runtime.shutdown_timeout(LAST_TASKS);
    stopped.context("the simulator did not stop")?;
    performed
}

fn perform(
    arguments: &DemoArguments,
    screen: &Screen,
    home: &Home,
    simulator: &Simulator,
    runtime: &Handle,
) -> Result<bool> {
    let port = free_port(arguments.port)?;
    let key = SecretString::from(uuid::Uuid::new_v4().to_string());
    let settings = settings(port, &key, &home.0, simulator.ws_url())?;
    actix::System::new().block_on(async {
        let hook = screen.receive().context("the demo cannot listen for events")?;
        let play = Play {
            engine: Engine::new(&format!("http://127.0.0.1:{port}"), key.clone())?,
            simulator: simulator.operator(),
            screen: screen.clone(),
            hook,
            instances: arguments.instances,
            fault_every: Duration::from_secs(arguments.fault_every),
            ends_after: arguments.seconds.map(Duration::from_secs),
        };
        say(&format!("The engine is at http://127.0.0.1:{port}, its API key is {}", key.expose_secret()));
        say(&format!("WhatsApp is simulated, and controlled at {}", simulator.control_url()));
        say("Ctrl-C ends the demo\n");
        let failed = Arc::new(Mutex::new(None));
        let playing = runtime.spawn(curtain(play, Arc::clone(&failed)));
        let served = app::run(settings, runtime.clone(), &Silence).await;
        playing.abort();
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failed {
            Some(error) => Err(error),
            None => Ok(served?.clean),
        }
    })
}

/// Plays to the end, and then stops the engine as an operator does.
async fn curtain(play: Play, failed: Arc<Mutex<Option<anyhow::Error>>>) {
    if let Err(error) = play.run().await {
        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
    if let Err(error) = kill_process(getpid(), Signal::TERM) {
        complain(&format!("error: the engine cannot be told to stop: {error}"));
    }
}

fn settings(port: u16, key: &SecretString, data: &Path, url: &str) -> Result<Settings> {
    let set = [
        ("SERVER_HOST", "127.0.0.1".to_owned()),
        ("SERVER_PORT", port.to_string()),
        ("AUTHENTICATION_API_KEY", key.expose_secret().to_owned()),
        ("DATA_DIR", data.display().to_string()),
        ("WHATSAPP_WEBSOCKET_URL", url.to_owned()),
        // Nothing is looked up elsewhere.
        ("WHATSAPP_WEB_VERSION", "2.3000.1029".to_owned()),
        // The demo's own receiver is on this host.
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8".to_owned()),
        // Quicker than usual, so that there is something to see.
        ("RECONNECT_BASE_MS", "500".to_owned()),
        ("RECONNECT_MAX_SECONDS", "5".to_owned()),
        ("HEALTH_CHECK_INTERVAL_SECONDS", "4".to_owned()),
        ("HEALTH_PING_TIMEOUT_SECONDS", "2".to_owned()),
    ];
    let lookup = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let (settings, _) = Settings::read(lookup).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("the demo's own settings are wrong: {}", all.join("; "))
    })?;
    Ok(settings)
}

fn free_port(wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", wanted))
        .with_context(|| format!("127.0.0.1:{wanted} cannot be listened on; choose another --port, or 0"))?;
    Ok(listener.local_addr().context("the port cannot be read")?.port())
}

/// The demo chose the key itself, and has shown it.
struct Silence;

impl Announce for Silence {
    fn new_api_key(&self, _: &SecretString, _: &Settings) {}
}

/// A directory for the engine's data that goes with the demo.
struct Home(PathBuf);

impl Home {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("holdfast-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            complain(&format!("warning: {} was not removed: {error}", self.0.display()));
        }
    }
}
