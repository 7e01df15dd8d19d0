//! The embedded database.

mod connection;
mod dialect;
pub(in crate::store) mod look;
#[cfg(test)]
mod plans;
mod readers;
#[cfg(test)]
mod shapes;
#[expect(clippy::duplicate_mod, reason = "one text of the queries, compiled for each database")]
#[path = "sql/root.rs"]
mod sql;
pub mod upkeep;
mod writer;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use diesel::prelude::*;
use holdfast_core::id::{DatabaseId, InstanceId};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Role;
use self::readers::Readers;
use self::sql::group::{self, Counters, Job, Lane, Tx};
use self::writer::WriterTask;
use super::cipher::Cipher;
use super::failure::{Failure, driver, unavailable};
use super::member::Member;
use super::{Stats, StoreOptions};
use crate::failpoint::reach;
use crate::ports::changes::Changes;
use crate::ports::store::{Store, StoreError};

/// A store in one SQLite file.
pub struct SqliteStore {
    id: DatabaseId,
    /// One writer is all there can be.
    lanes: [mpsc::Sender<Box<dyn Job>>; 1],
    readers: Readers,
    cipher: Arc<Cipher>,
    member: Arc<Member>,
    appended: Arc<Notify>,
    changes: Arc<Changes>,
    counters: Arc<Counters>,
    /// Instances whose foreign credentials were reported.
    reported: Mutex<HashSet<InstanceId>>,
    closing: CancellationToken,
    tasks: TaskTracker,
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
        let StoreOptions { url, client_name, node, lease_ttl, key, runtime, clock, retention, .. } = options;
        let member = Arc::new(Member::new(client_name, node, lease_ttl));
        let path = connection::path_of(&url)?;
        let cipher = Arc::new(Cipher::new(&key));
        connection::create(&path)?;
        reach!("open.created");
        let mut write_connection = connection::connect(&path, Role::Writer).await?;
        let prepared = {
            let (cipher, member) = (Arc::clone(&cipher), Arc::clone(&member));
            let prepare = move |conn: &mut SqliteConnection| {
                reach!("open.connected");
                sql::migrations::migrate(conn)?;
                reach!("open.migrated");
                sql::prepare(conn, &cipher, &member, clock, &retention)
            };
            write_connection.spawn_blocking(move |conn| Ok(prepare(conn)))
        };
        let id = prepared.await.map_err(|error| driver("preparing the database", &error))??;

        reach!("open.prepared");
        let (writer, jobs) = mpsc::channel(group::QUEUE);
        let (readers, reads) = Readers::new();
        let store = Self {
            id,
            lanes: [writer],
            readers,
            cipher,
            member,
            appended: Arc::default(),
            changes: Arc::default(),
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
            changes: Arc::clone(&store.changes),
            counters: Arc::clone(&store.counters),
            closing: store.closing.clone(),
        };
        store.tasks.spawn_on(task.run(write_connection, jobs), &runtime);
        store.tasks.close();
        Ok(Arc::new(store))
    }

    /// Returns how much was written.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Submits a job to the one writer.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        lane: Lane,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        group::submit(&self.lanes, lane, doing, work).await
    }

    /// Submits a job about leases.
    async fn lease<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write(doing, Lane::ANY, work).await
    }

    /// Reads, all from one moment.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.submit(doing, |conn| conn.transaction(read)).await
    }

    /// Reads what one statement tells, or several that need not see the same moment.
    async fn look<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.submit(doing, read).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        sql::ping(self).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closing.cancel();
        self.tasks.wait().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::id::InstanceId;

    use super::*;
    use crate::ports::clock::Clock;
    use crate::ports::store::Instances as _;
    use crate::store::schema::instance;
    use crate::store::{EncryptionKey, PoolOptions, Retention};

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_panics_harms_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            url: folder.path().join("test.db").display().to_string(),
            client_name: "test".to_owned(),
            node: "node".to_owned(),
            lease_ttl: std::time::Duration::from_secs(60),
            key: EncryptionKey::new([1; 32]),
            runtime: tokio::runtime::Handle::current(),
            clock: Clock::start(),
            retention: Retention::default(),
            pool: PoolOptions::default(),
        };
        let store = SqliteStore::open(options).await.unwrap();
        let harmless = |name: &'static str| {
            let row = (instance::id.eq(name), instance::name.eq(name));
            let insert =
                move |tx: &mut Tx<'_>| Ok(diesel::insert_into(instance::table).values(row).execute(tx.conn)?);
            store.write("inserting", Lane::ANY, insert)
        };
        let panics = |tx: &mut Tx<'_>| -> Result<(), Failure> {
            let row = (instance::id.eq("half"), instance::name.eq("half"));
            diesel::insert_into(instance::table).values(row).execute(tx.conn)?;
            panic!("planned")
        };
        let (before, panicked, after) =
            tokio::join!(harmless("before"), store.write("panicking", Lane::ANY, panics), harmless("after"));
        assert_eq!((before.unwrap(), after.unwrap()), (1, 1));
        assert!(matches!(panicked, Err(StoreError::Unavailable { doing: "panicking", .. })));
        assert!(store.get(&InstanceId::new("before")).await.unwrap().is_some());
        assert!(store.get(&InstanceId::new("half")).await.unwrap().is_none(), "what it had done is undone");
        let read = store.read("reading", |_conn| -> Result<(), Failure> { panic!("planned") }).await;
        assert!(matches!(read, Err(StoreError::Unavailable { doing: "reading", .. })));
        for _ in 0..10 {
            assert!(store.get(&InstanceId::new("after")).await.unwrap().is_some(), "the other reads go on");
        }
    }
}
