//! The composition root: the only place that knows every part, and the order in which they start and stop.

pub mod checkup;
pub mod data_dir;
mod fleet;
mod installation;
mod layers;
pub mod limits;
mod notify;
mod restoring;
mod signals;
pub mod upkeep;
mod wiring;

use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use anyhow::{Context, Result, bail};
use holdfast_core::shutdown::ShutdownReport;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use uuid::Uuid;

use self::data_dir::{DataDir, SessionKeys};
use self::fleet::Owned;
use self::layers::Layers;
use self::notify::Manager;
use self::restoring::{Restoring, Returning};
use self::signals::StopSignals;
use self::upkeep::Restorer;
use self::wiring::Parts;
use crate::actors::leases::protocol::{Keep, Manned};
use crate::actors::supervisor::protocol::{CommandError, StartInstance};
use crate::actors::system::SystemActor;
use crate::actors::system::protocol::{Booted, GiveUp};
use crate::config::{Place, Settings};
use crate::failpoint::{obey, reach};
use crate::http;
use crate::http::settings::NodeSettings;
use crate::ports::clock::Clock;
use crate::ports::leases::{Leases, Profile};
use crate::ports::node_key::NodeKey;
use crate::ports::restoration::Restoration;
use crate::ports::store::Store;
use crate::ports::tenure::Tenure;
use crate::restoration::{Places, Tools};
use crate::store::{PoolOptions, Retention, StoreOptions};

/// How long the HTTP server may take to close what is still open when everything else has stopped.
const HTTP_STOP: Duration = Duration::from_secs(1);

/// What the process may take to end when everything in it has.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// What is said before the log begins, because it must not be in it.
pub trait Announce {
    /// A new API key was made; it is shown this once.
    fn new_api_key(&self, key: &SecretString, settings: &Settings);
}

/// Runs the service until a signal has stopped it, and returns how that went.
///
/// `runtime` is the multi-thread runtime on which sockets, cryptography and SQL run; the caller runs this on an actix system.
///
/// # Errors
/// If something that the service cannot do without is missing; nothing was dialled then.
pub async fn run(settings: Settings, runtime: Handle, announce: &dyn Announce) -> Result<ShutdownReport> {
    obey();
    let mut signals = StopSignals::catch()?;
    let Some(data_dir) = unless_stopped(&mut signals, DataDir::take(&settings.data_dir)).await? else {
        return Ok(stopped_early());
    };
    reach!("boot.locked");
    checkup::complain(&checkup::disk(&settings.data_dir));
    let api_key = api_key(&settings, &data_dir, announce)?;
    let listener = bind(&settings)?;
    let address = listener.local_addr().context("the HTTP address cannot be read")?;
    reach!("boot.listening");
    let clock = Clock::start();
    let keys = session_keys(&settings, &data_dir, settings.database.file().is_some_and(Path::exists))?;
    if keys.old.is_some() {
        warn!(
            "A rotation of the session key was begun and not finished; run `holdfast rotate-key` with the engine stopped"
        );
    }
    let node = match &settings.node_id {
        Some(node) => node.clone(),
        None => data_dir.node_id()?,
    };
    let own = NodeSettings {
        name: node.clone(),
        url: settings.node_url.as_ref().map(ToString::to_string),
        key: NodeKey::derived_from(&keys.current.0),
    };
    let http_settings = Arc::new(wiring::http_settings(&settings, api_key.clone(), own.clone()));
    let layers = Layers::new(&settings.layers, &api_key, clock)?;
    let restoring = restoring(&settings, &layers, &keys, node.clone(), clock, &runtime);
    let opening = restoring.store(
        || open_store(&settings, node.clone(), &keys, clock, &runtime),
        &listener,
        Arc::clone(&http_settings),
        settings.database.file().is_none(),
    );
    let Some(store) = unless_stopped(&mut signals, opening).await? else {
        return Ok(stopped_early());
    };
    reach!("boot.store-open");
    installation::look_round(&settings, &keys, &runtime);
    let restoring = restoring.with(&store);
    let profile = Profile {
        node: own.name.clone(),
        home: data_dir.home_id()?,
        incarnation: Uuid::new_v4().to_string(),
        url: own.url.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let leases: Arc<dyn Leases> = Arc::clone(&store) as _;
    if unless_stopped(&mut signals, fleet::join(&leases, profile, clock, &runtime)).await?.is_none() {
        return Ok(stopped_early());
    }
    let restore = Restorer {
        database: settings.database.file().map(Path::to_owned),
        keys,
        store: Arc::clone(&store),
        runtime: runtime.clone(),
    };
    // Nothing may act before the first renewal, unless no other process can exist.
    let tenure = Arc::new(if leases.lease_ttl().is_some() { Tenure::none() } else { Tenure::forever() });
    let (withheld, report) = (Arc::clone(&restoring.tools.withheld), Arc::clone(&restoring.tools.report));
    let (parts, fallen) =
        wiring::build(&settings, Arc::clone(&store), clock, &runtime, (tenure, withheld, report), &layers)?;
    reach!("boot.wired");
    let api = parts.api(http_settings, Arc::new(restore), Arc::clone(&restoring.tools.report))?;
    let server = http::serve(api, listener).context("the HTTP server cannot be started")?;
    let http = server.handle();
    actix::spawn(server);
    let stopping = Arc::new(Notify::new());
    let manager = Manager::find(&settings.manager);
    let patience = settings.shutdown.forced_after + HTTP_STOP + LAST_BREATH;
    let announced = manager.clone();
    let announce_stop = move || announced.stopping(patience);
    let usurped = Arc::clone(&parts.usurped);
    actix::spawn(give_up(usurped, fallen, parts.system.clone(), Arc::clone(&stopping)));
    actix::spawn(signals.pass_on(parts.system.clone().recipient(), Arc::clone(&stopping), announce_stop));
    info!(address = %address, version = env!("CARGO_PKG_VERSION"), "Holdfast listens on http://{address}");

    reach!("boot.serving");
    if boot(&parts, &store, restoring, &settings).await? {
        manager.ready();
    }
    actix::spawn(manager.keep_informed(parts.vitals()));
    let report = stopped(parts, &stopping, settings.shutdown.forced_after).await;
    reach!("shutdown.reported");
    if timeout(HTTP_STOP, http.stop(false)).await.is_err() {
        warn!("The HTTP server did not stop in its time");
    }
    reach!("shutdown.over");
    Ok(report)
}

/// Runs a step of the start, and gives up on it when a signal says to stop.
async fn unless_stopped<T>(signals: &mut StopSignals, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    tokio::select! {
        done = work => done.map(Some),
        name = signals.next() => {
            info!(signal = name, "Stopped while starting");
            Ok(None)
        }
    }
}

fn api_key(settings: &Settings, data_dir: &DataDir, announce: &dyn Announce) -> Result<SecretString> {
    if let Some(key) = &settings.api_key {
        return Ok(key.clone());
    }
    let (key, new) = data_dir.api_key()?;
    if new {
        announce.new_api_key(&key, settings);
    }
    Ok(key)
}

async fn open_store(
    settings: &Settings,
    node: String,
    keys: &SessionKeys,
    clock: Clock,
    runtime: &Handle,
) -> Result<Arc<dyn Store>> {
    let options = StoreOptions {
        url: match &settings.database.place {
            Place::File(path) => path.display().to_string(),
            Place::Server(address) => address.expose_secret().to_owned(),
        },
        client_name: settings.database.client_name.clone(),
        node,
        lease_ttl: settings.leases.ttl,
        key: keys.encryption_key(),
        runtime: runtime.clone(),
        clock,
        retention: Retention {
            accepted: settings.accepted_retention,
            dead_letters: settings.webhook.dead_letters,
            ..Retention::default()
        },
        pool: PoolOptions {
            size: settings.database.pool_size,
            connect_timeout: settings.database.connect_timeout,
            statement_timeout: settings.database.statement_timeout,
        },
    };
    crate::store::open(options).await.with_context(|| match settings.database.file() {
        Some(path) => format!("the database {} cannot be opened", path.display()),
        None => "the database at DATABASE_CONNECTION_URI cannot be opened".to_owned(),
    })
}

/// Returns the keys of the database: those that are set, or those that the data directory keeps.
fn session_keys(settings: &Settings, data_dir: &DataDir, database: bool) -> Result<SessionKeys> {
    match set_session_keys(settings) {
        Some(keys) => Ok(keys),
        None => data_dir.session_keys(database),
    }
}

/// Returns the keys of the database that are set.
fn set_session_keys(settings: &Settings) -> Option<SessionKeys> {
    let current = settings.session_key.clone()?;
    Some(SessionKeys { current, old: settings.old_session_key.clone() })
}

fn bind(settings: &Settings) -> Result<TcpListener> {
    let (host, port) = (settings.server.host.as_str(), settings.server.port);
    TcpListener::bind((host, port)).with_context(|| {
        format!("{host}:{port} cannot be listened on; set SERVER_HOST or SERVER_PORT, or stop what uses it")
    })
}

/// Puts every instance that this process owns on the roster; the desired state of each decides whether it connects. Returns whether the service runs
/// now: a signal may have come first.
async fn boot(parts: &Parts, store: &Arc<dyn Store>, restoring: Restoring, settings: &Settings) -> Result<bool> {
    let leases: Arc<dyn Leases> = Arc::clone(store) as _;
    let settling = restoring.first().await?;
    // Before the rows are read: whatever is written after this is read anew when it comes.
    let held_back = restoring.tools.withheld.all();
    reach!("boot.restored");
    let Owned { asked_at, ids } = fleet::own(&leases, restoring.tools.clock, &restoring.tools.runtime)
        .await
        .context("what this process owns cannot be claimed")?;
    parts.keeper.send(Keep { asked_at }).await.context("the keeper of the leases is gone")?;
    let mut records = store.list().await.context("the stored instances cannot be read")?;
    for record in records.iter().filter(|record| !record.unreadable.is_empty()) {
        let columns = record.unreadable.join(", ");
        warn!(instance.id = %record.id, columns, "Of instance {} the database holds something that cannot be read: {columns}", record.name);
    }
    restoring.enlist(&records, ids.as_ref());
    records.retain(|record| ids.as_ref().is_none_or(|ids| ids.contains(&record.id)));
    let (held, mut records): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| held_back.contains(&record.id));
    let (count, paired) = (records.len(), records.iter().filter(|record| record.paired).count());
    limits::check(count);
    // Whoever was online last is missed first; never online comes last.
    records.sort_by_key(|record| std::cmp::Reverse(record.last_online_at));
    reach!("boot.listed");
    for record in records {
        let id = record.id.clone();
        let started = parts.supervisor.send(StartInstance { record }).await.context("the supervisor is gone")?;
        match started {
            Ok(()) => reach!("boot.enlisted"),
            // A signal came first: the report says how it ends.
            Err(CommandError::Stopping) => return Ok(false),
            Err(refused) => bail!("instance {id} cannot be put on the roster: {refused}"),
        }
    }
    parts.keeper.send(Manned).await.context("the keeper of the leases is gone")?;
    parts.system.send(Booted).await.context("the system actor is gone")?;
    reach!("boot.done");
    info!(instances = count, paired, "Restoring {paired} of {count} instances");
    restoring.renew_copies(&parts.copying);
    let patience = patience(settings, paired + held_back.len());
    restoring.watch(&parts.board, store, patience);
    let held = held.into_iter().map(|record| record.id).collect();
    let (board, store, supervisor) = (Arc::clone(&parts.board), Arc::clone(store), parts.supervisor.clone());
    actix::spawn(restoring.later(settling, Returning { board, store, supervisor, patience, held }));
    Ok(true)
}

/// Returns how long the last of so many instances may take to be open: its turn to dial, and two logins.
fn patience(settings: &Settings, instances: usize) -> Duration {
    let turns = Duration::from_secs(instances as u64) / settings.fleet.per_second.max(1);
    turns + settings.policy.login_timeout * 2
}

fn restoring(
    settings: &Settings,
    layers: &Layers,
    keys: &SessionKeys,
    node: String,
    clock: Clock,
    runtime: &Handle,
) -> Restoring {
    let report = Arc::new(Restoration::default());
    report.write(|report| report.since = clock.now());
    Restoring {
        places: Places { database: None, redis: layers.redis.clone(), files: layers.files.clone() },
        node,
        client_name: settings.database.client_name.clone(),
        key: Arc::new(keys.encryption_key()),
        tools: Tools {
            clock,
            runtime: runtime.clone(),
            report,
            neighbours: Arc::clone(&layers.neighbours),
            memory: Arc::default(),
            withheld: Arc::default(),
        },
    }
}

/// The report of a process that was stopped before it did anything.
fn stopped_early() -> ShutdownReport {
    ShutdownReport { clean: true, took_ms: 0, forced: Vec::new() }
}

/// Stops the service if another process has its name, or if an actor is gone on which everything rests: whoever runs it starts it again.
async fn give_up(
    usurped: Arc<Notify>,
    mut fallen: UnboundedReceiver<&'static str>,
    system: Addr<SystemActor>,
    stopping: Arc<Notify>,
) {
    let why = tokio::select! {
        () = usurped.notified() => "another process has this node's name".to_owned(),
        Some(name) = fallen.recv() => format!("{name} has crashed"),
    };
    error!("The service cannot go on, and stops: {why}");
    stopping.notify_one();
    if system.send(GiveUp { why }).await.is_err() {
        error!("The system actor is gone; the shutdown is forced when its time is over");
    }
}

/// Waits for the report. If the phases do not end by themselves in the time, that is the report.
async fn stopped(parts: Parts, stopping: &Notify, forced_after: Duration) -> ShutdownReport {
    let forced = async {
        stopping.notified().await;
        sleep(forced_after).await;
    };
    tokio::select! {
        report = parts.report => report.unwrap_or_else(|_| {
            error!("The system actor is gone without a report");
            forced_report("the system actor crashed", Duration::ZERO)
        }),
        () = forced => forced_report("the shutdown did not end in its time", forced_after),
    }
}

fn forced_report(why: &str, took: Duration) -> ShutdownReport {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    ShutdownReport { clean: false, took_ms, forced: vec![why.to_owned()] }
}
