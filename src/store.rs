//! Everything durable: instances, sessions, accepted messages and the outbox, in one database.
//!
//! [`open`] hands out the ports. Behind them, all SQL runs on the shared runtime that is named in the options: callers, which may live on
//! actix's arbiters, submit a job by channel and await its answer. Dropping the future that waits does not cancel the job.
//!
//! | file | noun |
//! |---|---|
//! | `sql` | the queries, written once, and jobs that share a transaction; compiled as a part of each database |
//! | `sqlite` | the embedded database: one writer with group commit, a few readers |
//! | `postgres` | PostgreSQL: a pool, lanes of writers with group commit |
//! | `cipher`, `envelope` | what is encrypted, and how `Session.creds` looks |
//! | `schema`, `rows`, `columns` | tables, rows, and what columns hold |
//! | `look` | what a database is like, seen from outside |
//! | `member` | the node that a store acts for |
//! | `particulars` | what of a copy of a session only the key opens |
//! | `failure` | driver errors in the port's words |

mod cipher;
mod columns;
mod cuid;
mod envelope;
mod failure;
mod look;
mod member;
mod particulars;
pub mod postgres;
mod prepared;
mod rows;
mod schema;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use self::cipher::EncryptionKey;
pub use self::look::{Look, Looking, Server, StoredInstance, StoredNode, look};
pub use self::particulars::open_copy;
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a store needs to be opened.
pub struct StoreOptions {
    /// Where it is: `sqlite://` and a path, a path alone, or an address of PostgreSQL as Prisma writes it.
    pub url: String,
    /// The installation's name in `Instance.clientName`: only its instances are listed.
    pub client_name: String,
    /// The node that the store acts for.
    pub node: String,
    /// How long the leases of a node hold without a renewal, where several may share the database.
    pub lease_ttl: Duration,
    /// The key for everything secret. A database opens only with the key that it was first opened with.
    pub key: EncryptionKey,
    /// The multi-thread runtime on which all SQL runs.
    pub runtime: Handle,
    /// Tells the time of rows.
    pub clock: Clock,
    /// How long is kept what nobody needs any more.
    pub retention: Retention,
    /// The connections to a server; an embedded database has its own.
    pub pool: PoolOptions,
}

/// How many connections there may be to a server, and how long they may take.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Connections at the same time. An address may say less.
    pub size: usize,
    /// How long a connection may take until it is ready.
    pub connect_timeout: Duration,
    /// How long a statement may take, and how long it is waited for a connection.
    pub statement_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { size: 10, connect_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(10) }
    }
}

/// How much was written since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Transactions, each of which waited for the disk once.
    pub transactions: u64,
    /// The jobs in them.
    pub jobs: u64,
}

/// How long rows are kept that are only there for a look back.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Archived sessions.
    pub archive: Duration,
    /// Deliveries that were given up.
    pub dead_letters: Duration,
    /// Ids of accepted messages; longer than WhatsApp keeps messages for a device that is away.
    pub accepted: Duration,
    /// Requests to send that have a key, and their answers.
    pub sends: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { archive: 30 * DAY, dead_letters: 30 * DAY, accepted: 90 * DAY, sends: DAY }
    }
}

/// Opens the database, creating and migrating it as needed. Rows that claim a live connection are set to `close`: nothing runs yet.
///
/// # Errors
/// [`StoreError::Corrupt`] if it was written with another encryption key; [`StoreError::Unavailable`] if it cannot be opened.
pub async fn open(options: StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    if is_postgres(&options.url) {
        return Ok(postgres::PostgresStore::open(options).await?);
    }
    Ok(sqlite::SqliteStore::open(options).await?)
}

/// Tells whether an address is one of PostgreSQL.
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}
