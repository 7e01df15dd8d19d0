//! Joining actors to drivers.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix::prelude::{Actor, Addr, Arbiter, ArbiterHandle};
use anyhow::{Context, Result, anyhow};
use holdfast_core::shutdown::ShutdownReport;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, oneshot};

use super::layers::Layers;
use super::notify::Vitals;
use crate::actors::dispatcher::{DispatcherActor, DispatcherParts};
use crate::actors::expiry::{ExpiryActor, ExpiryParts};
use crate::actors::health::HealthActor;
use crate::actors::instance::InstanceParts;
use crate::actors::keystone::Keystone;
use crate::actors::leases::{LeaseActor, LeaseParts};
use crate::actors::supervisor::{SupervisorActor, SupervisorParts};
use crate::actors::system::{LeaseWays, SystemActor, SystemParts};
use crate::config::{Settings, WhatsApp};
use crate::http::qr::{self, Color};
use crate::http::settings::{CorsSettings, HttpSettings, Limits, MetricsSettings, NodeSettings};
use crate::http::{Api, Neighbours};
use crate::mirror::Mirror;
use crate::ports::board::Board;
use crate::ports::clock::Clock;
use crate::ports::leases::Leases;
use crate::ports::link::Links;
use crate::ports::meter::Meter;
use crate::ports::proxies::Proxies;
use crate::ports::restoration::Restoration;
use crate::ports::restore::Restore;
use crate::ports::store::Store;
use crate::ports::tenure::Tenure;
use crate::ports::withheld::Withheld;
use crate::sinks::webhook::{WebhookSettings, WebhookSink};
use crate::telemetry::figures::Figures;
use crate::whatsapp::LinkSettings;

/// Evolution API's version whose interface is served.
const EVOLUTION: &str = "2.3.6";
/// How long connecting to another node may take.
const NODE_CONNECT: Duration = Duration::from_secs(2);
/// Threads for instances: their actors are light, more than these only cost memory.
const MOST_ARBITERS: usize = 4;

/// The started actors, and what they share.
pub(super) struct Parts {
    pub(super) supervisor: Addr<SupervisorActor>,
    pub(super) system: Addr<SystemActor>,
    pub(super) keeper: Addr<LeaseActor>,
    dispatcher: Addr<DispatcherActor>,
    /// Is notified if another process has this node's name.
    pub(super) usurped: Arc<Notify>,
    /// Takes the shutdown report.
    pub(super) report: oneshot::Receiver<ShutdownReport>,
    store: Arc<dyn Store>,
    pub(super) board: Arc<Board>,
    meter: Arc<dyn Meter>,
    proxies: Arc<dyn Proxies>,
    /// Those who keep the copies of the layers.
    pub(super) copying: Vec<Arc<Mirror>>,
    clock: Clock,
    runtime: Handle,
}

/// Starts the actors over their drivers. What is returned beside them says which one is gone of those on which everything rests.
pub(super) fn build(
    settings: &Settings,
    store: Arc<dyn Store>,
    clock: Clock,
    runtime: &Handle,
    (tenure, withheld, restoration): (Arc<Tenure>, Arc<Withheld>, Arc<Restoration>),
    layers: &Layers,
) -> Result<(Parts, UnboundedReceiver<&'static str>)> {
    let leases: Arc<dyn Leases> = Arc::clone(&store) as _;
    let usurped = Arc::new(Notify::new());
    let board = Arc::new(Board::default());
    let meter: Arc<dyn Meter> = Arc::new(Figures::new().context("the figures cannot be set up")?);
    let links = crate::whatsapp::WhatsApp::new(
        link_settings(settings, Arc::clone(&tenure)),
        Arc::clone(&store),
        runtime.clone(),
        clock,
    )
    .context("the WhatsApp driver cannot be set up")?;
    let driver = Arc::new(links);
    let proxies: Arc<dyn Proxies> = Arc::clone(&driver) as _;
    let links: Arc<dyn Links> = driver;
    let policy = Arc::new(settings.policy.clone());
    let (fell, fallen) = unbounded_channel();
    let keystone = |fault, name| Keystone::new(name, fault, &fell);
    let health = HealthActor::new(clock, Arc::clone(&board), Arc::clone(&meter), policy.health_interval)
        .holding(keystone("health.passes", "the HealthActor"))
        .start();

    let instance = {
        let (store, board, health, runtime) = (Arc::clone(&store), Arc::clone(&board), health.clone(), runtime.clone());
        let meter = Arc::clone(&meter);
        move |supervisor| InstanceParts {
            links: Arc::clone(&links),
            store: Arc::clone(&store),
            board: Arc::clone(&board),
            meter: Arc::clone(&meter),
            clock,
            policy: Arc::clone(&policy),
            runtime: runtime.clone(),
            health: health.clone().recipient(),
            supervisor,
        }
    };
    let supervisor = SupervisorActor::new(SupervisorParts {
        instance: Box::new(instance),
        arbiters: arbiters(),
        watch: health.clone().recipient(),
        unwatch: health.recipient(),
        policy: settings.supervision,
        fleet: settings.fleet,
        withheld,
    })
    .holding(keystone("supervisor.passes", "the SupervisorActor"))
    .start();

    let dispatcher = DispatcherActor::new(DispatcherParts {
        store: Arc::clone(&store),
        sink: Arc::new(webhook(settings, clock)?),
        policy: settings.webhook.retry.clone(),
        clock,
        runtime: runtime.clone(),
    })
    .holding(keystone("dispatcher.passes", "the DispatcherActor"))
    .start();

    if let Some(after) = settings.expire_unpaired {
        let expiry = ExpiryParts {
            after,
            clock,
            board: Arc::clone(&board),
            store: Arc::clone(&store),
            restoration,
            runtime: runtime.clone(),
            expire: supervisor.clone().recipient(),
        };
        ExpiryActor::new(expiry).start();
    }

    let keeper = LeaseActor::new(LeaseParts {
        leases: Arc::clone(&leases),
        instances: Arc::clone(&store) as _,
        tenure,
        policy: settings.leases,
        clock,
        runtime: runtime.clone(),
        seal: supervisor.clone().recipient(),
        own: supervisor.clone().recipient(),
        take_in: supervisor.clone().recipient(),
        hand_over: supervisor.clone().recipient(),
        let_gone: supervisor.clone().recipient(),
        usurped: Arc::clone(&usurped),
    })
    .holding(keystone("leases.passes", "the LeaseActor"))
    .start();

    let copying = layers.mirrors(&store, &board, clock, runtime);
    let (sender, report) = oneshot::channel();
    let system = SystemActor::new(SystemParts {
        clock,
        budgets: settings.shutdown.budgets,
        drain: supervisor.clone().recipient(),
        flush: dispatcher.clone().recipient(),
        copying: copying.iter().map(|mirror| Arc::clone(mirror) as _).collect(),
        leases: LeaseWays {
            retire: keeper.clone().recipient(),
            closed: keeper.clone().recipient(),
            leave: keeper.clone().recipient(),
        },
        store: Arc::clone(&store),
        runtime: runtime.clone(),
        report: sender,
    })
    .start();
    let parts = Parts {
        supervisor,
        system,
        keeper,
        dispatcher,
        usurped,
        report,
        store,
        board,
        meter,
        proxies,
        copying,
        clock,
        runtime: runtime.clone(),
    };
    Ok((parts, fallen))
}

impl Parts {
    /// Returns what shows the service manager that the service lives.
    pub(super) fn vitals(&self) -> Vitals {
        Vitals {
            system: self.system.clone().recipient(),
            supervisor: self.supervisor.clone().recipient(),
            board: Arc::clone(&self.board),
            clock: self.clock,
        }
    }

    /// Returns what the HTTP interface works with.
    ///
    /// # Errors
    /// If the HTTP client for other nodes cannot be made.
    pub(super) fn api(
        &self,
        settings: Arc<HttpSettings>,
        restore: Arc<dyn Restore>,
        restoration: Arc<Restoration>,
    ) -> Result<Api> {
        let neighbours =
            Neighbours::new(NODE_CONNECT, self.runtime.clone()).context("other nodes cannot be reached")?;
        Ok(Api {
            start: self.supervisor.clone().recipient(),
            connect: self.supervisor.clone().recipient(),
            restart: self.supervisor.clone().recipient(),
            reroute: self.supervisor.clone().recipient(),
            log_out: self.supervisor.clone().recipient(),
            delete: self.supervisor.clone().recipient(),
            where_is: self.supervisor.clone().recipient(),
            apply_settings: self.supervisor.clone().recipient(),
            system: self.system.clone().recipient(),
            sink: self.dispatcher.clone().recipient(),
            store: Arc::clone(&self.store),
            leases: Arc::clone(&self.store) as _,
            neighbours,
            restore,
            restoration,
            copying: self.copying.iter().map(|mirror| Arc::clone(mirror) as _).collect(),
            proxies: Arc::clone(&self.proxies),
            board: Arc::clone(&self.board),
            meter: Arc::clone(&self.meter),
            clock: self.clock,
            keys: Arc::default(),
            runtime: self.runtime.clone(),
            settings,
        })
    }
}

/// Returns what the HTTP interface is told of the settings.
pub(super) fn http_settings(settings: &Settings, api_key: SecretString, node: NodeSettings) -> HttpSettings {
    let cors = &settings.server.cors;
    let version = settings.whatsapp.version.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}"));
    HttpSettings {
        api_key,
        client_name: settings.database.client_name.clone(),
        version: EVOLUTION.to_owned(),
        whatsapp_web_version: version,
        cors: CorsSettings {
            origins: cors.origins.clone(),
            methods: cors.methods.clone(),
            credentials: cors.credentials,
        },
        qr_color: color(settings),
        webhook_networks: settings.webhook.networks.clone(),
        metrics: metrics(settings),
        ping_timeout: settings.policy.ping_timeout,
        node,
        report: Arc::clone(&settings.report),
        limits: Limits::default(),
    }
}

fn arbiters() -> Vec<ArbiterHandle> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (0..cores.min(MOST_ARBITERS)).map(|_| Arbiter::new().handle()).collect()
}

fn color(settings: &Settings) -> Color {
    // The settings were validated; the usual colour stands in for what could not be read.
    settings.server.qr_color.parse().unwrap_or_default()
}

fn metrics(settings: &Settings) -> Option<MetricsSettings> {
    let metrics = &settings.metrics;
    metrics.enabled.then(|| MetricsSettings {
        allowed: metrics.allowed.clone(),
        auth_required: metrics.auth_required,
        login: metrics.user.clone().zip(metrics.password.clone()),
        server_url: settings.server.url.clone().unwrap_or_default(),
    })
}

fn webhook(settings: &Settings, clock: Clock) -> Result<WebhookSink> {
    let dark = color(settings);
    let sink = WebhookSettings {
        timeout: settings.webhook.timeout,
        server_url: settings.server.url.clone(),
        expose_token: settings.expose_token,
        draw_qr: Arc::new(move |text| qr::data_url(text, dark)),
        networks: settings.webhook.networks.clone(),
        signing_key: settings.webhook.signing_key.clone(),
    };
    WebhookSink::new(sink, clock).map_err(|error| anyhow!(error)).context("webhooks cannot be delivered")
}

pub(super) fn link_settings(settings: &Settings, tenure: Arc<Tenure>) -> LinkSettings {
    let WhatsApp { url, version, device_name, browser, proxy } = &settings.whatsapp;
    let usual = LinkSettings::default();
    LinkSettings {
        url: url.as_ref().map_or(usual.url, ToString::to_string),
        version: *version,
        proxy: proxy.clone(),
        client_name: device_name.clone(),
        browser: browser.clone(),
        connect_timeout: settings.policy.connect_timeout,
        store_grace: settings.store_grace,
        tenure,
        ..LinkSettings::default()
    }
}
