//! PostgreSQL.
//!
//! | file | noun |
//! |---|---|
//! | `address`, `tls` | where it is, and how it is reached |
//! | `link`, `pool` | one connection, all of them |
//! | `writer` | lanes of jobs, with group commit |
//! | `shape` | the schema and its migrations |
//! | `dialect` | what the common queries in `sql` see of it |

mod address;
mod dialect;
mod link;
pub(in crate::store) mod look;
mod pool;
mod shape;
#[expect(clippy::duplicate_mod, reason = "one text of the queries, compiled for each database")]
#[path = "sql/root.rs"]
mod sql;
mod tls;
mod writer;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use holdfast_core::id::{DatabaseId, InstanceId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address::Address;
use self::dialect::Conn;
use self::link::Limits;
use self::pool::{Connector, Pool};
use self::sql::group::{self, CLOSED, Counters, Job, Lane, Tx, planned};
use self::tls::Tls;
use self::writer::LaneTask;
use super::cipher::Cipher;
use super::failure::{Failure, unavailable};
use super::member::Member;
use super::{Stats, StoreOptions};
use crate::failpoint::fails;
use crate::ports::changes::Changes;
use crate::ports::store::{Store, StoreError};

/// One snapshot for all that a read looks at.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    id: DatabaseId,
    lanes: Vec<mpsc::Sender<Box<dyn Job>>>,
    pool: Pool,
    /// Jobs about leases have a lane and a connection of their own: they wait for nothing else, and share no transaction.
    leases: mpsc::Sender<Box<dyn Job>>,
    leases_pool: Pool,
    /// Places for reads that wait.
    readers: Arc<Semaphore>,
    runtime: Handle,
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

impl PostgresStore {
    /// Connects, and brings the database into shape as needed.
    ///
    /// # Errors
    /// See [`super::open`].
    pub async fn open(options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        // On the shared runtime, so that a caller on another one, or one that stops waiting, never holds a query in its hands.
        let opening = options.runtime.clone().spawn(Self::open_here(options));
        opening.await.map_err(|error| unavailable("opening the database", error))?
    }

    async fn open_here(options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let StoreOptions { url, client_name, node, lease_ttl, key, runtime, clock, retention, pool } = options;
        let member = Arc::new(Member::new(client_name, node, lease_ttl));
        let address = Address::parse(&url)?;
        if address.is_unproven() {
            tracing::warn!(
                "Nothing proves that the database is the one that is meant: anybody on the way can read along. \
                 Add sslaccept=strict or sslmode=verify-full to DATABASE_CONNECTION_URI, with sslrootcert if its authority is your own"
            );
        }
        let size = address.most.map_or(pool.size, |most| most.min(pool.size));
        let limits = Limits { connect: pool.connect_timeout, statement: pool.statement_timeout };
        let tls = Tls::new(&address.trust)?;
        let connector = Connector { address, tls, limits };
        let cipher = Arc::new(Cipher::new(&key));
        let id = shape::bring(&connector, Arc::clone(&cipher), Arc::clone(&member), clock, retention).await?;

        // One of the connections is for leases, if there are more.
        let size = size.saturating_sub(1).max(1);
        let leases_pool = Pool::new(connector.clone(), 1, limits.statement)?;
        let pool = Pool::new(connector, size, limits.statement)?;
        let (leases, lease_jobs) = mpsc::channel(group::QUEUE);
        let (lanes, receivers): (Vec<_>, Vec<_>) =
            (0..writer::lanes(size)).map(|_lane| mpsc::channel(group::QUEUE)).unzip();
        let store = Self {
            id,
            lanes,
            pool,
            leases,
            leases_pool,
            readers: Arc::new(Semaphore::new(group::QUEUE)),
            runtime,
            cipher,
            member,
            appended: Arc::default(),
            changes: Arc::default(),
            counters: Arc::default(),
            reported: Mutex::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let task = LaneTask {
            pool: store.pool.clone(),
            most: group::MOST,
            clock,
            retention: None,
            appended: Arc::clone(&store.appended),
            changes: Arc::clone(&store.changes),
            counters: Arc::clone(&store.counters),
            closing: store.closing.clone(),
        };
        let of_leases = LaneTask { pool: store.leases_pool.clone(), most: 1, ..task.clone() };
        store.tasks.spawn_on(of_leases.run(lease_jobs), &store.runtime);
        for (number, jobs) in receivers.into_iter().enumerate() {
            let task = LaneTask { retention: (number == 0).then_some(retention), ..task.clone() };
            store.tasks.spawn_on(task.run(jobs), &store.runtime);
        }
        Ok(Arc::new(store))
    }

    /// Returns how much was written.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Submits a job to its lane.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        lane: Lane,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        group::submit(lane.choose(&self.lanes), doing, work).await
    }

    /// Submits a job about leases to the lane of its own.
    async fn lease<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        group::submit(Some(&self.leases), doing, work).await
    }

    /// Reads, in one read transaction. It is done whether or not anybody still waits, and a caller on another runtime waits for a message
    /// alone.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&mut Conn) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.readers).acquire_owned().await;
        if self.closing.is_cancelled() {
            return Err(unavailable(doing, CLOSED));
        }
        let (reply, answer) = oneshot::channel();
        let pool = self.pool.clone();
        let reading = async move {
            let _place = place;
            let mut link = match pool.begin(doing, SNAPSHOT).await {
                Ok(link) => link,
                Err(error) => {
                    let _nobody_waits = reply.send(Err(error));
                    return;
                }
            };
            let watch = link.watch();
            // A read that panics drops its reply and the link, which is engaged still and thus never used again.
            let work = tokio::task::spawn_blocking(move || {
                let result = planned(fails("store.read")).map_err(Failure::from).and_then(|()| read(&mut link.conn));
                let _nobody_waits = reply.send(result.map_err(|failure| failure.doing(doing)));
                link
            });
            if let Ok(mut link) = watch.wait_for(work).await {
                let ended = link.execute("ROLLBACK").await;
                link.engage(ended.is_err());
            }
            if watch.has_cut() {
                pool.forget_idle();
            }
        };
        self.tasks.spawn_on(reading, &self.runtime);
        answer.await.unwrap_or_else(|_gone| Err(unavailable(doing, "the reader stopped before it answered")))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn ping(&self) -> Result<(), StoreError> {
        sql::ping(self).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.pool.close();
        self.leases_pool.close();
        Ok(())
    }
}
