//! Everything durable: instances, sessions, accepted messages and the outbox, in one database.
//!
//! [`open`] hands out the ports. Behind them, all SQL runs on the shared runtime that is named in the options: callers, which may live on
//! actix's arbiters, submit a job by channel and await its answer. Dropping the future that waits does not cancel the job.
//!
//! | file | noun |
//! |---|---|
//! | `sqlite` | the embedded database: one writer with group commit, a few readers |
//! | `cipher`, `envelope` | what is encrypted, and how `Session.creds` looks |
//! | `schema`, `rows`, `columns` | tables, rows, and what columns hold |
//! | `failure` | driver errors in the port's words |

mod cipher;
mod columns;
mod cuid;
mod envelope;
mod failure;
mod rows;
mod schema;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use self::cipher::EncryptionKey;
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a store needs to be opened.
pub struct StoreOptions {
    /// Where it is: `sqlite://` and a path, or a path alone.
    pub url: String,
    /// The installation's name in `Instance.clientName`: only its instances are listed.
    pub client_name: String,
    /// The key for everything secret. A database opens only with the key that it was first opened with.
    pub key: EncryptionKey,
    /// The multi-thread runtime on which all SQL runs.
    pub runtime: Handle,
    /// Tells the time of rows.
    pub clock: Clock,
    /// How long is kept what nobody needs any more.
    pub retention: Retention,
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
    Ok(sqlite::SqliteStore::open(options).await?)
}
