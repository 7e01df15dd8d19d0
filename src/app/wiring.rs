//! Joining actors to drivers.

use std::sync::Arc;
use std::thread;

use actix::prelude::{Actor, Addr, Arbiter, ArbiterHandle};
use anyhow::{Context, Result, anyhow};
use holdfast_core::shutdown::ShutdownReport;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::actors::dispatcher::{DispatcherActor, DispatcherParts};
use crate::actors::expiry::{ExpiryActor, ExpiryParts};
use crate::actors::health::HealthActor;
use crate::actors::instance::InstanceParts;
use crate::actors::supervisor::{SupervisorActor, SupervisorParts};
use crate::actors::system::{SystemActor, SystemParts};
use crate::config::{Settings, WhatsApp};
use crate::http::Api;
use crate::http::qr::{self, Color};
use crate::http::settings::{CorsSettings, HttpSettings, Limits};
use crate::ports::board::Board;
use crate::ports::clock::Clock;
use crate::ports::link::Links;
use crate::ports::restore::Restore;
use crate::ports::store::Store;
use crate::sinks::webhook::{WebhookSettings, WebhookSink};
use crate::whatsapp::LinkSettings;

/// Evolution API's version whose interface is served.
const EVOLUTION: &str = "2.3.6";
/// Threads for instances: their actors are light, more than these only cost memory.
const MOST_ARBITERS: usize = 4;

/// The started actors, and what they share.
pub(super) struct Parts {
    pub(super) supervisor: Addr<SupervisorActor>,
    pub(super) system: Addr<SystemActor>,
    dispatcher: Addr<DispatcherActor>,
    /// Takes the shutdown report.
    pub(super) report: oneshot::Receiver<ShutdownReport>,
    store: Arc<dyn Store>,
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
}

/// Starts the actors over their drivers.
pub(super) fn build(
    settings: &Settings,
    store: Arc<dyn Store>,
    clock: Clock,
    runtime: &Handle,
    node: String,
) -> Result<Parts> {
    let board = Arc::new(Board::default());
    let links =
        crate::whatsapp::WhatsApp::new(link_settings(settings, node), Arc::clone(&store), runtime.clone(), clock)
            .context("the WhatsApp driver cannot be set up")?;
    let links: Arc<dyn Links> = Arc::new(links);
    let policy = Arc::new(settings.policy.clone());
    let health = HealthActor::new(clock, Arc::clone(&board), policy.health_interval).start();

    let instance = {
        let (store, board, health, runtime) = (Arc::clone(&store), Arc::clone(&board), health.clone(), runtime.clone());
        move |supervisor| InstanceParts {
            links: Arc::clone(&links),
            store: Arc::clone(&store),
            board: Arc::clone(&board),
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
        starts_per_second: settings.starts_per_second,
    })
    .start();

    let dispatcher = DispatcherActor::new(DispatcherParts {
        store: Arc::clone(&store),
        sink: Arc::new(webhook(settings, clock)?),
        policy: settings.webhook.retry.clone(),
        clock,
        runtime: runtime.clone(),
    })
    .start();

    if let Some(after) = settings.expire_unpaired {
        let expiry = ExpiryParts {
            after,
            clock,
            board: Arc::clone(&board),
            store: Arc::clone(&store),
            runtime: runtime.clone(),
            delete: supervisor.clone().recipient(),
            start: supervisor.clone().recipient(),
        };
        ExpiryActor::new(expiry).start();
    }

    let (sender, report) = oneshot::channel();
    let system = SystemActor::new(SystemParts {
        clock,
        budgets: settings.shutdown.budgets,
        drain: supervisor.clone().recipient(),
        flush: dispatcher.clone().recipient(),
        store: Arc::clone(&store),
        runtime: runtime.clone(),
        report: sender,
    })
    .start();
    Ok(Parts { supervisor, system, dispatcher, report, store, board, clock })
}

impl Parts {
    /// Returns what the HTTP interface works with.
    pub(super) fn api(&self, settings: &Settings, api_key: SecretString, restore: Arc<dyn Restore>) -> Api {
        let cors = &settings.server.cors;
        let version = settings.whatsapp.version.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}"));
        Api {
            start: self.supervisor.clone().recipient(),
            connect: self.supervisor.clone().recipient(),
            restart: self.supervisor.clone().recipient(),
            log_out: self.supervisor.clone().recipient(),
            delete: self.supervisor.clone().recipient(),
            where_is: self.supervisor.clone().recipient(),
            system: self.system.clone().recipient(),
            sink: self.dispatcher.clone().recipient(),
            store: Arc::clone(&self.store),
            restore,
            board: Arc::clone(&self.board),
            clock: self.clock,
            keys: Arc::default(),
            settings: Arc::new(HttpSettings {
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
                limits: Limits::default(),
            }),
        }
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

fn link_settings(settings: &Settings, node: String) -> LinkSettings {
    let WhatsApp { url, version, device_name, browser } = &settings.whatsapp;
    let usual = LinkSettings::default();
    LinkSettings {
        url: url.as_ref().map_or(usual.url, ToString::to_string),
        version: *version,
        client_name: device_name.clone(),
        browser: browser.clone(),
        connect_timeout: settings.policy.connect_timeout,
        store_grace: settings.store_grace,
        node,
        ..LinkSettings::default()
    }
}
