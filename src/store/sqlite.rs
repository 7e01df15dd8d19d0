//! The embedded database.

mod archive;
mod connection;
mod dead_letters;
mod housekeeping;
mod instances;
mod losses;
mod migrations;
mod outbox;
mod proxies;
mod queue;
mod readers;
mod sends;
mod sessions;
mod settings;
pub mod upkeep;
mod values;
mod webhooks;
mod writer;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use diesel::prelude::*;
use holdfast_core::id::InstanceId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Role;
use self::readers::Readers;
use self::writer::{Counters, Tx, Writer, WriterTask};
use super::cipher::{Cipher, Place};
use super::failure::{Failure, corrupt, driver, unavailable};
use super::schema::{holdfast_meta, instance};
use super::{Retention, StoreOptions};
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreError};

const CHECK_KEY: &str = "key_check";
const CHECK_TEXT: &[u8] = b"holdfast";

/// A store in one SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    cipher: Arc<Cipher>,
    client_name: String,
    appended: Arc<Notify>,
    counters: Arc<Counters>,
    /// Instances whose foreign credentials were reported.
    reported: Mutex<HashSet<InstanceId>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// How much was written since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Transactions, each of which waited for the disk once.
    pub transactions: u64,
    /// The jobs in them.
    pub jobs: u64,
}

impl SqliteStore {
    /// Opens the file, creating and migrating it as needed.
    ///
    /// # Errors
    /// See [`super::open`].
    pub async fn open(options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        // On the shared runtime, so that a caller on another one, or one that stops waiting, never holds a query in its hands.
        let opening = options.runtime.clone().spawn(Self::open_here(options));
        opening.await.map_err(|error| unavailable("opening the database", error))?
    }

    async fn open_here(options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let StoreOptions { url, client_name, key, runtime, clock, retention } = options;
        let path = connection::path_of(&url)?;
        let cipher = Arc::new(Cipher::new(&key));
        connection::create(&path)?;
        reach!("open.created");
        let mut write_connection = connection::connect(&path, Role::Writer).await?;
        let prepared = {
            let (cipher, client_name) = (Arc::clone(&cipher), client_name.clone());
            write_connection.spawn_blocking(move |conn| Ok(prepare(conn, &cipher, &client_name, clock, &retention)))
        };
        prepared.await.map_err(|error| driver("preparing the database", &error))??;

        reach!("open.prepared");
        let (writer, jobs) = Writer::new();
        let (readers, reads) = Readers::new();
        let store = Self {
            writer,
            readers,
            cipher,
            client_name,
            appended: Arc::default(),
            counters: Arc::default(),
            reported: Mutex::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for _ in 0..readers::COUNT {
            let connection = connection::connect(&path, Role::Reader).await?;
            store.tasks.spawn_on(
                readers::serve(path.clone(), connection, Arc::clone(&reads), store.closing.clone()),
                &runtime,
            );
        }
        let task = WriterTask {
            path,
            clock,
            retention,
            appended: Arc::clone(&store.appended),
            counters: Arc::clone(&store.counters),
            closing: store.closing.clone(),
        };
        store.tasks.spawn_on(task.run(write_connection, jobs), &runtime);
        store.tasks.close();
        Ok(Arc::new(store))
    }

    /// Returns how much was written.
    pub fn stats(&self) -> Stats {
        Stats {
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            jobs: self.counters.jobs.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        let write = |tx: &mut Tx<'_>| {
            let row = (holdfast_meta::key.eq("ping"), holdfast_meta::value.eq(tx.now_ms().to_string().into_bytes()));
            diesel::replace_into(holdfast_meta::table).values(row).execute(tx.conn)?;
            holdfast_meta::table.find("ping").select(holdfast_meta::value).first::<Vec<u8>>(tx.conn)?;
            Ok(())
        };
        self.writer.submit("looking whether the database answers", write).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closing.cancel();
        self.tasks.wait().await;
        Ok(())
    }
}

/// Brings the file into shape and makes its rows true, before anybody reads them.
fn prepare(
    conn: &mut SqliteConnection,
    cipher: &Cipher,
    client_name: &str,
    clock: Clock,
    retention: &Retention,
) -> Result<(), StoreError> {
    reach!("open.connected");
    migrations::migrate(conn)?;
    reach!("open.migrated");
    let prepared = conn.immediate_transaction(|conn| {
        let mut tx = Tx { conn, now: clock.wall(), queued: 0 };
        check_key(&mut tx, cipher)?;
        reach!("open.key-checked");
        // Only a living process knows that a connection is open, and this one has none yet.
        let ours = instance::table
            .filter(instance::client_name.eq(client_name))
            .filter(instance::connection_status.ne("close"));
        diesel::update(ours).set(instance::connection_status.eq("close")).execute(tx.conn)?;
        housekeeping::prune(&mut tx, retention)
    });
    prepared.map_err(|failure: Failure| failure.doing("preparing the database"))
}

/// Recognises a wrong key at once, rather than at the first value that does not open.
fn check_key(tx: &mut Tx<'_>, cipher: &Cipher) -> Result<(), Failure> {
    if check_key_of(tx.conn, cipher)? {
        return Ok(());
    }
    let row = (holdfast_meta::key.eq(CHECK_KEY), holdfast_meta::value.eq(cipher.seal(Place::Check, CHECK_TEXT)?));
    diesel::insert_into(holdfast_meta::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Errs if the database is under another key; false if it is under none yet.
fn check_key_of(conn: &mut SqliteConnection, cipher: &Cipher) -> Result<bool, Failure> {
    let found: Option<Vec<u8>> =
        holdfast_meta::table.find(CHECK_KEY).select(holdfast_meta::value).first(conn).optional()?;
    let Some(sealed) = found else { return Ok(false) };
    cipher.open(Place::Check, &sealed).map_err(|error| corrupt(Place::Check, error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use holdfast_core::id::InstanceId;

    use super::*;
    use crate::ports::store::Instances as _;
    use crate::store::EncryptionKey;

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_panics_harms_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            url: folder.path().join("test.db").display().to_string(),
            client_name: "test".to_owned(),
            key: EncryptionKey::new([1; 32]),
            runtime: tokio::runtime::Handle::current(),
            clock: Clock::start(),
            retention: Retention::default(),
        };
        let store = SqliteStore::open(options).await.unwrap();
        let harmless = |name: &'static str| {
            let row = (instance::id.eq(name), instance::name.eq(name));
            let insert =
                move |tx: &mut Tx<'_>| Ok(diesel::insert_into(instance::table).values(row).execute(tx.conn)?);
            store.writer.submit("inserting", insert)
        };
        let panics = |tx: &mut Tx<'_>| -> Result<(), Failure> {
            let row = (instance::id.eq("half"), instance::name.eq("half"));
            diesel::insert_into(instance::table).values(row).execute(tx.conn)?;
            panic!("planned")
        };
        let (before, panicked, after) =
            tokio::join!(harmless("before"), store.writer.submit("panicking", panics), harmless("after"));
        assert_eq!((before.unwrap(), after.unwrap()), (1, 1));
        assert!(matches!(panicked, Err(StoreError::Unavailable { doing: "panicking", .. })));
        assert!(store.get(&InstanceId::new("before")).await.unwrap().is_some());
        assert!(store.get(&InstanceId::new("half")).await.unwrap().is_none(), "what it had done is undone");
        let read = store.readers.submit("reading", |_conn| -> Result<(), Failure> { panic!("planned") }).await;
        assert!(matches!(read, Err(StoreError::Unavailable { doing: "reading", .. })));
        for _ in 0..10 {
            assert!(store.get(&InstanceId::new("after")).await.unwrap().is_some(), "the other reads go on");
        }
    }
}
