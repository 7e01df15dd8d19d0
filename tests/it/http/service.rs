//! One served API: a base URL, a client, and hands on everything behind it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::Actor;
use actix_web::dev::ServerHandle;
use holdfast::http::settings::{CorsSettings, HttpSettings, Limits, MetricsSettings, NodeSettings};
use holdfast::http::{Api, Neighbours, serve};
use holdfast::ports::board::{Board, Entry};
use holdfast::ports::clock::Clock;
use holdfast::ports::leases::Leases;
use holdfast::ports::node_key::NodeKey;
use holdfast::ports::restore::{Restore, RestoreError, Restored};
use holdfast::ports::store::{Instances as _, Store};
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions, open};
use holdfast::telemetry::figures::Figures;
use holdfast_core::connection::Phase;
use holdfast_core::event::Owner;
use holdfast_core::id::InstanceId;
use holdfast_core::network::Networks;
use holdfast_core::status::InstanceStatus;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::actors::{Scripted, Supervisor};
use super::register::Register;
use crate::harness::faulty_store::{Faults, FaultyStore};

/// The global key.
pub(super) const KEY: &str = "a-global-key";

/// What a service is made of.
pub(super) struct Plan {
    pub(super) cors: CorsSettings,
    pub(super) metrics: Option<MetricsSettings>,
    /// The global key.
    pub(super) key: String,
    pub(super) node: NodeSettings,
    pub(super) leases: Arc<dyn Leases>,
    /// The store of another service, or one of its own.
    pub(super) store: Option<Arc<FaultyStore>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cors: CorsSettings::default(),
            metrics: None,
            key: KEY.to_owned(),
            node: NodeSettings { name: "it".to_owned(), url: None, key: NodeKey::derived_from(&[7; 32]) },
            leases: Arc::new(Register::alone()),
            store: None,
        }
    }
}

/// A restore that nobody has prepared.
struct NothingPrepared;

#[async_trait::async_trait]
impl Restore for NothingPrepared {
    async fn take_in(&self, _: &str) -> Result<Restored, RestoreError> {
        Err(RestoreError::NothingPrepared)
    }
}

pub(super) struct Service {
    pub(super) url: String,
    pub(super) client: reqwest::Client,
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
    pub(super) store: Arc<FaultyStore>,
    pub(super) script: Scripted,
    /// Its global key.
    pub(super) key: String,
    server: ServerHandle,
    _dir: Option<TempDir>,
    /// The one whose store it works on.
    first: Option<Box<Self>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Service {
    pub(super) async fn start() -> Self {
        Self::with(CorsSettings::default()).await
    }

    pub(super) async fn with(cors: CorsSettings) -> Self {
        Self::built(Plan { cors, ..Plan::default() }).await
    }

    /// A service whose figures can be read.
    pub(super) async fn measured(metrics: MetricsSettings) -> Self {
        Self::built(Plan { metrics: Some(metrics), ..Plan::default() }).await
    }

    pub(super) async fn built(plan: Plan) -> Self {
        let Plan { cors, metrics, key, node, leases, store } = plan;
        let clock = Clock::start();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (store, dir) = if let Some(store) = store {
            (store, None)
        } else {
            let dir = tempfile::tempdir().unwrap();
            let store = open_store(&dir, runtime.handle().clone(), clock).await;
            (FaultyStore::new(store, Faults::none()), Some(dir))
        };
        let board = Arc::new(Board::default());
        let script = Scripted::new();
        let supervisor = Supervisor { board: Arc::clone(&board), clock, script: script.clone(), dials: 0 }.start();
        let limits = Limits {
            qr_wait: Duration::from_millis(500),
            send_wait: Duration::from_millis(100),
            ack_within: Duration::from_millis(300),
            command_within: Duration::from_secs(2),
            board_within: Duration::from_millis(500),
            workers: Some(1),
            stop_timeout: Duration::from_secs(0),
            ..Limits::default()
        };
        let settings = HttpSettings {
            api_key: SecretString::from(key.as_str()),
            client_name: "it".to_owned(),
            version: "2.3.6".to_owned(),
            whatsapp_web_version: None,
            cors,
            qr_color: holdfast::http::qr::Color::default(),
            webhook_networks: Networks::parse(["10.1.0.0/16"]).unwrap(),
            metrics,
            ping_timeout: Duration::from_millis(300),
            node,
            report: Arc::default(),
            limits,
        };
        let api = Api {
            start: supervisor.clone().recipient(),
            connect: supervisor.clone().recipient(),
            restart: supervisor.clone().recipient(),
            reroute: supervisor.clone().recipient(),
            log_out: supervisor.clone().recipient(),
            delete: supervisor.clone().recipient(),
            where_is: supervisor.clone().recipient(),
            apply_settings: supervisor.clone().recipient(),
            system: supervisor.clone().recipient(),
            sink: supervisor.recipient(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            leases,
            neighbours: Neighbours::new(Duration::from_secs(2), runtime.handle().clone()).unwrap(),
            restore: Arc::new(NothingPrepared),
            restoration: Arc::default(),
            copying: Vec::new(),
            proxies: Arc::new(script.clone()),
            board: Arc::clone(&board),
            meter: Arc::new(Figures::new().unwrap()),
            clock,
            keys: Arc::default(),
            runtime: Handle::current(),
            settings: Arc::new(settings),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = serve(api, listener).unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let (client, runtime) = (client(), Some(runtime));
        Self { url, client, board, clock, store, script, key, server: handle, _dir: dir, first: None, runtime }
    }

    /// A request with the global key.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).header("apikey", &self.key)
    }

    pub(super) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub(super) async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    /// Creates an instance and returns its id and token.
    pub(super) async fn instance(&self, name: &str) -> (InstanceId, String) {
        let (status, body) =
            self.post("/instance/create", json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS" })).await;
        assert_eq!(status, 201, "{body}");
        let id = InstanceId::new(body["instance"]["instanceId"].as_str().unwrap());
        (id, body["hash"].as_str().unwrap().to_owned())
    }

    /// Puts an instance into a phase.
    pub(super) fn put(&self, id: &InstanceId, phase: Phase, change: impl FnOnce(&mut Entry)) {
        let now = self.clock.now();
        self.board.update(id, |entry| {
            let paired = !matches!(phase, Phase::Unpaired | Phase::Pairing);
            entry.status = InstanceStatus::without_actor(phase, now, paired, false);
            if phase == Phase::Online {
                entry.status.proof = Some(now);
                entry.status.fresh_until = Some(now.after(Duration::from_secs(40)));
                entry.owner = Owner {
                    jid: Some("5511999990001@s.whatsapp.net".to_owned()),
                    name: Some("Shop".to_owned()),
                    picture: None,
                };
            }
            change(entry);
            true
        });
    }

    /// What the actors were asked since the last look.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().asked)
    }

    /// Keeps the service alive whose store this one works on.
    pub(super) fn instead_of(mut self, first: Self) -> Self {
        self.first = Some(Box::new(first));
        self
    }

    /// Stops answering, as a process does that is gone.
    pub(super) async fn stop(&self) {
        self.server.stop(false).await;
    }

    pub(super) async fn names(&self) -> Vec<String> {
        self.store.list().await.unwrap().into_iter().map(|row| row.name).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.server.stop(false));
        drop(self.first.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads an answer, which has to be JSON.
pub(super) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    (status, response.json().await.unwrap())
}

/// The header of an answer, empty if absent.
pub(super) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn open_store(dir: &TempDir, runtime: Handle, clock: Clock) -> Arc<dyn Store> {
    let url = format!("sqlite://{}", dir.path().join("holdfast.db").display());
    let key = EncryptionKey::new([7; 32]);
    open(StoreOptions {
        url,
        client_name: "it".to_owned(),
        node: "node".to_owned(),
        lease_ttl: Duration::from_secs(60),
        key,
        runtime,
        clock,
        retention: Retention::default(),
        pool: PoolOptions::default(),
    })
    .await
    .unwrap()
}

/// A client that trusts nobody and uses no proxy.
pub(super) fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Waits until something holds.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), until).await.is_ok(), "there never was {what}");
}
