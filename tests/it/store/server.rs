//! The conformance suite's PostgreSQL: a server of the test's own, reached like any other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast::ports::clock::Clock;
use holdfast::ports::leases::Leases as _;
use holdfast::ports::store::{Store, StoreError};
use holdfast::store::postgres::PostgresStore;
use holdfast::store::{EncryptionKey, PoolOptions, StoreOptions};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::bench::{CLIENT, Database, Opening, profile};
use crate::harness::postgres::{Server, ask};

/// A database on a server that is started when it is first opened.
pub(crate) struct OnServer {
    server: OnceCell<Server>,
}

impl OnServer {
    #[expect(clippy::unnecessary_wraps, reason = "as for the other kinds of database")]
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { server: OnceCell::new() })
    }

    pub(crate) async fn server(&self) -> anyhow::Result<&Server> {
        self.server.get_or_try_init(Server::start).await
    }

    fn running(&self) -> anyhow::Result<&Server> {
        self.server.get().ok_or_else(|| anyhow::anyhow!("the server was never started"))
    }
}

/// Returns the options for a store at this address.
pub(crate) fn options(url: String, opening: Opening) -> StoreOptions {
    StoreOptions {
        url,
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

#[async_trait]
impl Database for OnServer {
    async fn open(&self, opening: Opening) -> Result<Arc<dyn Store>, StoreError> {
        let failed = |error: anyhow::Error| StoreError::Unavailable { doing: "starting a server", cause: error.into() };
        let url = self.server().await.map_err(failed)?.url("postgres");
        let store = PostgresStore::open(options(url, opening)).await?;
        store.join(profile("node")).await?;
        Ok(store)
    }

    fn execute(&self, sql: &str) -> anyhow::Result<()> {
        self.texts(sql).map(drop)
    }

    fn texts(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        now(&self.running()?.url("postgres"), sql)
    }

    fn bytes(&self, hex: &str) -> String {
        format!(r"'\x{hex}'::bytea")
    }

    fn text_of(&self, column: &str) -> String {
        format!("convert_from({column}, 'UTF8')")
    }

    fn keeps_broken_json(&self) -> bool {
        false
    }

    fn contains(&self, bytes: &[u8]) -> anyhow::Result<bool> {
        self.execute("CHECKPOINT")?;
        let mut folders = vec![self.running()?.files()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                // Files come and go.
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(path).unwrap_or_default().windows(bytes.len()).any(|window| window == bytes) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Asks from a thread of its own, for callers that cannot wait.
fn now(url: &str, sql: &str) -> anyhow::Result<Vec<String>> {
    std::thread::scope(|scope| {
        let asking =
            scope.spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(ask(url, sql)));
        asking.join().map_err(|_panic| anyhow::anyhow!("asking panicked"))?
    })
}
