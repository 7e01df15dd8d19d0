//! A database under test: opened like in the service, and reachable past the ports, to damage it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use holdfast::ports::clock::Clock;
use holdfast::ports::leases::Profile;
use holdfast::ports::outbox::{Delivery, Loaded};
use holdfast::ports::session::{SessionBatch, Write};
use holdfast::ports::store::{InstanceRecord, NewInstance, Settings, Store, StoreError, WebhookSpec};
use holdfast::store::sqlite::SqliteStore;
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions};
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::{Epoch, InstanceId};
use serde_json::json;
use tokio::runtime::Handle;

/// What a case answers.
pub(crate) type Outcome = anyhow::Result<()>;

/// The installation's name in every case.
pub(crate) const CLIENT: &str = "holdfast_test";
/// Later than every moment at which a case makes something due.
pub(crate) const LATE: i64 = i64::MAX;

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) key: [u8; 32],
    pub(crate) retention: Retention,
}

impl Default for Opening {
    fn default() -> Self {
        Self { key: [42; 32], retention: Retention::default() }
    }
}

/// One kind of database.
#[async_trait]
pub(crate) trait Database: Send + Sync {
    /// Opens it.
    async fn open(&self, opening: Opening) -> Result<Arc<dyn Store>, StoreError>;
    /// Runs statements past the store.
    fn execute(&self, sql: &str) -> anyhow::Result<()>;
    /// Reads one column of texts past the store.
    fn texts(&self, sql: &str) -> anyhow::Result<Vec<String>>;
    /// Writes a literal of bytes.
    fn bytes(&self, hex: &str) -> String;
    /// Writes a column of bytes as the text that it holds.
    fn text_of(&self, column: &str) -> String;
    /// Tells whether a column of JSON may hold what is none.
    fn keeps_broken_json(&self) -> bool;
    /// Tells whether its files contain these bytes.
    fn contains(&self, bytes: &[u8]) -> anyhow::Result<bool>;
}

/// A database and the store on it.
pub(crate) struct Bench {
    pub(crate) database: Box<dyn Database>,
    pub(crate) store: Arc<dyn Store>,
}

impl Bench {
    pub(crate) async fn new(database: impl Database + 'static) -> anyhow::Result<Self> {
        let store = database.open(Opening::default()).await?;
        Ok(Self { database: Box::new(database), store })
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopen(&mut self, opening: Opening) -> anyhow::Result<()> {
        self.store.close().await?;
        self.store = self.database.open(opening).await?;
        Ok(())
    }

    /// Inserts an instance whose id and name are alike.
    pub(crate) async fn instance(&self, name: &str) -> anyhow::Result<InstanceId> {
        Ok(self.store.insert(new_instance(name)).await?.id)
    }

    /// Inserts an instance with a webhook for these events.
    pub(crate) async fn subscriber(&self, name: &str, events: &[EventName]) -> anyhow::Result<InstanceId> {
        let id = self.instance(name).await?;
        self.store.set_webhook(&id, webhook(events)).await?;
        Ok(id)
    }

    /// Inserts an instance and claims its session.
    pub(crate) async fn session(&self, name: &str) -> anyhow::Result<(InstanceId, Epoch)> {
        let id = self.instance(name).await?;
        let epoch = self.store.claim(&id).await?.epoch;
        Ok((id, epoch))
    }

    pub(crate) async fn record(&self, id: &InstanceId) -> anyhow::Result<InstanceRecord> {
        self.store.get(id).await?.with_context(|| format!("instance {id} is gone"))
    }

    /// Reads, for each instance, its oldest delivery if that is due at `now_ms` and can be read; the longest waiting first.
    pub(crate) async fn deliveries(&self, now_ms: i64) -> anyhow::Result<Vec<Delivery>> {
        let mut heads = self.store.heads().await?;
        heads.sort_by_key(|head| head.seq);
        let mut deliveries = Vec::new();
        for head in heads {
            match self.store.next(&head.instance, now_ms).await? {
                Loaded::Ready(delivery) => {
                    anyhow::ensure!(delivery.seq == head.seq && head.due_ms <= now_ms && delivery.tries == head.tries);
                    deliveries.push(*delivery);
                }
                Loaded::Unreadable { seq, .. } => anyhow::ensure!(seq == head.seq),
                Loaded::Nothing => anyhow::ensure!(head.due_ms > now_ms),
            }
        }
        Ok(deliveries)
    }

    /// Reads the one of them that waits longest.
    pub(crate) async fn first(&self, now_ms: i64) -> anyhow::Result<Delivery> {
        self.deliveries(now_ms).await?.into_iter().next().context("nothing is due")
    }

    /// Returns the names of the deliveries that are due at `now_ms`, with their instances.
    pub(crate) async fn due(&self, now_ms: i64) -> anyhow::Result<Vec<String>> {
        let due = self.deliveries(now_ms).await?;
        Ok(due.iter().map(|delivery| format!("{} {}", delivery.instance, label(delivery))).collect())
    }
}

/// Returns the label of an event made by [`event`], or its name.
pub(crate) fn label(delivery: &Delivery) -> String {
    delivery.event.data["label"].as_str().unwrap_or(delivery.event.name.dotted()).to_owned()
}

pub(crate) fn new_instance(name: &str) -> NewInstance {
    NewInstance {
        id: InstanceId::new(name),
        name: name.to_owned(),
        token: format!("token-of-{name}"),
        integration: "WHATSAPP-BAILEYS".to_owned(),
        number: None,
        settings: Settings::default(),
        webhook: None,
        proxy: None,
    }
}

pub(crate) fn webhook(events: &[EventName]) -> WebhookSpec {
    WebhookSpec {
        enabled: true,
        url: "http://receiver.test/hook".to_owned(),
        headers: Some(json!({ "authorization": "Bearer x" })),
        by_events: false,
        base64: false,
        events: events.to_vec(),
    }
}

pub(crate) fn event(name: EventName, label: &str) -> EngineEvent {
    EngineEvent { name, data: json!({ "label": label }) }
}

pub(crate) fn put(category: &'static str, key: &str, value: &str) -> Write {
    Write { category, key: key.to_owned(), value: Some(value.as_bytes().to_vec()), expires_at: None }
}

pub(crate) fn writes(writes: Vec<Write>) -> SessionBatch {
    SessionBatch { writes, ..SessionBatch::default() }
}

pub(crate) fn device(text: &str) -> SessionBatch {
    SessionBatch { device: Some(text.as_bytes().to_vec()), paired: Some(true), ..SessionBatch::default() }
}

/// Returns an error with everything that caused it.
pub(crate) fn chain(error: &StoreError) -> String {
    let mut text = format!("{error} ({error:?})");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error} ({error:?})");
        cause = error.source();
    }
    text
}

/// Runs `condition` until it holds.
pub(crate) async fn eventually<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let wait = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.with_context(|| format!("never happened: {what}"))?
}

/// What a node of this name says of itself; its next process says the same but for the incarnation.
pub(crate) fn profile(node: &str) -> Profile {
    Profile {
        node: node.to_owned(),
        home: format!("the home of {node}"),
        incarnation: uuid::Uuid::new_v4().to_string(),
        url: Some(format!("http://{node}.test:8080")),
        version: "0.1.0".to_owned(),
    }
}

/// A SQLite file in a folder of its own.
pub(crate) struct SqliteFile {
    folder: tempfile::TempDir,
}

impl SqliteFile {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("holdfast.db")
    }

    pub(crate) fn options(&self, opening: Opening) -> StoreOptions {
        StoreOptions {
            url: format!("sqlite://{}", self.path().display()),
            client_name: CLIENT.to_owned(),
            node: "node".to_owned(),
            lease_ttl: Duration::from_secs(60),
            key: EncryptionKey::new(opening.key),
            runtime: Handle::current(),
            clock: Clock::start(),
            retention: opening.retention,
            pool: PoolOptions::default(),
        }
    }

    /// Opens it with what only this kind of store can tell.
    pub(crate) async fn open_sqlite(&self) -> Result<Arc<SqliteStore>, StoreError> {
        SqliteStore::open(self.options(Opening::default())).await
    }

    /// Copies the files as a killed process leaves them.
    pub(crate) fn as_after_a_kill(&self) -> anyhow::Result<Self> {
        let copy = Self::new()?;
        for file in std::fs::read_dir(self.folder.path())? {
            let file = file?;
            // The index of the write-ahead log is shared memory: a new process builds its own.
            if !file.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::copy(file.path(), copy.folder.path().join(file.file_name()))?;
            }
        }
        Ok(copy)
    }

    pub(crate) fn connect(&self) -> anyhow::Result<SqliteConnection> {
        let mut connection = SqliteConnection::establish(&self.path().display().to_string())?;
        connection.batch_execute("PRAGMA busy_timeout = 5000")?;
        Ok(connection)
    }
}

#[async_trait]
impl Database for SqliteFile {
    async fn open(&self, opening: Opening) -> Result<Arc<dyn Store>, StoreError> {
        holdfast::store::open(self.options(opening)).await
    }

    fn execute(&self, sql: &str) -> anyhow::Result<()> {
        Ok(self.connect()?.batch_execute(sql)?)
    }

    fn texts(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        Ok(diesel::dsl::sql::<Text>(sql).load(&mut self.connect()?)?)
    }

    fn bytes(&self, hex: &str) -> String {
        format!("X'{hex}'")
    }

    fn text_of(&self, column: &str) -> String {
        format!("CAST({column} AS TEXT)")
    }

    fn keeps_broken_json(&self) -> bool {
        true
    }

    fn contains(&self, bytes: &[u8]) -> anyhow::Result<bool> {
        for file in std::fs::read_dir(self.folder.path())? {
            if std::fs::read(file?.path())?.windows(bytes.len()).any(|window| window == bytes) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
