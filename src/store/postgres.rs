//! PostgreSQL.
//!
//! | file | noun |
//! |---|---|
//! | `address`, `tls` | where it is, and how it is reached |
//! | `link`, `pool` | one connection, all of them |
//! | `reader` | reads, in a transaction and without |
//! | `writer` | lanes of jobs, with group commit |
//! | `shape` | the schema and its migrations |
//! | `dialect` | what the common queries in `sql` see of it |

mod address;
mod dialect;
mod link;
pub(in crate::store) mod look;
mod pool;
mod reader;
mod shape;
#[expect(clippy::duplicate_mod, reason = "one text of the queries, compiled for each database")]
#[path = "sql/root.rs"]
mod sql;
mod tls;
mod writer;

use std::collections::HashSet;
use std::slice;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use holdfast_core::id::{DatabaseId, InstanceId};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address::Address;
use self::dialect::Conn;
use self::link::Limits;
use self::pool::{Connector, Pool};
use self::reader::{Readers, View};
use self::sql::group::{self, Counters, Job, Lane, Tx};
use self::tls::Tls;
use self::writer::LaneTask;
use super::cipher::Cipher;
use super::failure::{Failure, unavailable};
use super::member::Member;
use super::{Stats, StoreOptions};
use crate::ports::changes::Changes;
use crate::ports::store::{Store, StoreError};

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    id: DatabaseId,
    lanes: Vec<mpsc::Sender<Box<dyn Job>>>,
    pool: Pool,
    /// Jobs about leases have a lane and a connection of their own: they wait for nothing else, and share no transaction.
    leases: mpsc::Sender<Box<dyn Job>>,
    leases_pool: Pool,
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
        // Behind PgBouncer each transaction may be another connection of the server, which knows nothing of what was prepared.
        let direct = address.prepares;
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
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let readers = Readers::new(pool.clone(), direct, runtime.clone(), closing.clone(), tasks.clone());
        let store = Self {
            id,
            lanes,
            pool,
            leases,
            leases_pool,
            readers,
            cipher,
            member,
            appended: Arc::default(),
            changes: Arc::default(),
            counters: Arc::default(),
            reported: Mutex::default(),
            closing,
            tasks,
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
        store.tasks.spawn_on(of_leases.run(lease_jobs), &runtime);
        for (number, jobs) in receivers.into_iter().enumerate() {
            let task = LaneTask { retention: (number == 0).then_some(retention), ..task.clone() };
            store.tasks.spawn_on(task.run(jobs), &runtime);
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
        group::submit(&self.lanes, lane, doing, work).await
    }

    /// Submits a job about leases to the lane of its own.
    async fn lease<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        group::submit(slice::from_ref(&self.leases), Lane::ANY, doing, work).await
    }

    /// Reads, all from one moment.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl Fn(&mut Conn) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.readers.submit(View::Moment, doing, read).await
    }

    /// Reads what one statement tells, or several that need not see the same moment.
    async fn look<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl Fn(&mut Conn) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.readers.submit(View::Moments, doing, read).await
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
