//! The library's storage traits over the session port: one key-value table, one device, and the rules of the Seal.
//!
//! - What cannot be read is an error, never "absent". The library would otherwise make a new session, or a new identity.
//! - A failing operation is tried again within the grace. When that is used up the seal is set, and only then the error is returned.
//! - No text of an error holds the words by which the library recognises a database that is worth another try.
//! - A batched method is one commit.

mod app_state;
mod debts;
mod device;
mod inbound;
mod protocol;
mod secrets;
mod signal;
#[cfg(test)]
mod tests;
mod under_way;
mod value;

pub(super) use self::debts::Debt;
pub(super) use self::protocol::SENT_TTL_SECS;
pub(super) use self::signal::signed_pre_key;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use holdfast_core::id::{Epoch, InstanceId, Revision};
use tokio::sync::{Mutex as AsyncMutex, RwLock};
use tokio::time::{sleep, timeout};
use tracing::warn;
use wacore::store::error::StoreError as LibraryError;
use whatsapp_rust::Client;
use whatsapp_rust::store::persistence_manager::PersistenceManager;

use self::inbound::PendingRows;
use self::under_way::UnderWay;
use super::backlog::Backlog;
use super::seal::Seal;
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::link::SealReason;
use crate::ports::session::{Clear, SessionBatch, Sessions, Write};
use crate::ports::store::StoreError;

/// What the library's traits return.
type Result<T, E = LibraryError> = std::result::Result<T, E>;

/// The first wait before an operation is tried again; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(25);

/// All that the library is told of a failure.
#[derive(Debug, thiserror::Error)]
#[error("the session store cannot be used")]
pub(super) struct Unusable;

impl From<Unusable> for LibraryError {
    fn from(unusable: Unusable) -> Self {
        Self::Database(Box::new(unusable))
    }
}

/// Whether the instance is ours, and since which state of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// Nobody else has written since we last did.
    Continues,
    /// Somebody has: what a client holds in memory is not the newest.
    Changed,
}

/// The storage of one client.
pub(super) struct Backend {
    store: Arc<dyn Sessions>,
    instance: InstanceId,
    seal: Arc<Seal>,
    clock: Clock,
    grace: Duration,
    /// Commits hold it while they run, so that a new claim does not fence off what the same client has under way.
    epoch: RwLock<Option<Epoch>>,
    /// The newest revision that this client has seen.
    revision: AtomicU64,
    rows: PendingRows,
    operations: Arc<UnderWay>,
    /// Read, change and write of values that several tasks change.
    prekeys: AsyncMutex<()>,
    tokens: AsyncMutex<()>,
    secrets: AsyncMutex<()>,
    mappings: AsyncMutex<()>,
    saving: AsyncMutex<device::OnDisk>,
    /// Whether a device that is linked to an account is on disk.
    linked: AtomicBool,
    known: OnceLock<device::Identity>,
    /// Holds the newest state of the device.
    memory: OnceLock<Weak<PersistenceManager>>,
    client: OnceLock<Weak<Client>>,
    /// Is told of messages that are dealt with.
    backlog: OnceLock<Arc<Backlog>>,
    /// How often messages were decrypted, and how many of those times their ratchets were on disk.
    received: AtomicU64,
    flushed: AtomicU64,
}

impl Backend {
    pub(super) fn new(
        store: Arc<dyn Sessions>,
        instance: InstanceId,
        seal: Arc<Seal>,
        clock: Clock,
        grace: Duration,
    ) -> Self {
        Self {
            store,
            instance,
            seal,
            clock,
            grace,
            epoch: RwLock::new(None),
            revision: AtomicU64::new(0),
            rows: PendingRows::default(),
            operations: Arc::default(),
            prekeys: AsyncMutex::default(),
            tokens: AsyncMutex::default(),
            secrets: AsyncMutex::default(),
            mappings: AsyncMutex::default(),
            saving: AsyncMutex::default(),
            linked: AtomicBool::new(false),
            known: OnceLock::new(),
            memory: OnceLock::new(),
            client: OnceLock::new(),
            backlog: OnceLock::new(),
            received: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
        }
    }

    /// The seal of the link that it serves.
    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Lets the backend save what the library holds of the device in memory.
    pub(super) fn remember(&self, memory: Weak<PersistenceManager>) {
        let _ = self.memory.set(memory);
    }

    /// Lets the backend ask the phone for messages through its client.
    pub(super) fn serve(&self, client: Weak<Client>) {
        let _ = self.client.set(client);
    }

    /// Lets the backend say which messages are dealt with, because they came before.
    pub(super) fn relieve(&self, backlog: Arc<Backlog>) {
        let _ = self.backlog.set(backlog);
    }

    /// Takes the session for the next dial, if the process may act at all.
    pub(super) async fn claim(&self) -> Result<Claimed, Unusable> {
        let mut epoch = self.epoch.write().await;
        self.seal.check_frame().map_err(|_sealed| Unusable)?;
        reach!("claim.before");
        let claim = self.attempt("claim", || self.store.claim(&self.instance)).await?;
        reach!("claim.after");
        let first = epoch.replace(claim.epoch).is_none();
        let seen = self.revision.swap(claim.revision.0, Ordering::AcqRel);
        Ok(if first || seen == claim.revision.0 { Claimed::Continues } else { Claimed::Changed })
    }

    fn now_secs(&self) -> i64 {
        self.clock.wall().timestamp()
    }

    async fn read(&self, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, Unusable> {
        self.attempt("read", || self.store.read(&self.instance, category, key)).await
    }

    async fn read_many(&self, category: &'static str, keys: &[String]) -> Result<Vec<(String, Vec<u8>)>, Unusable> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.attempt("read many", || self.store.read_many(&self.instance, category, keys)).await
    }

    async fn scan(&self, category: &'static str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, Unusable> {
        self.attempt("scan", || self.store.scan(&self.instance, category, prefix)).await
    }

    async fn last_key(&self, category: &'static str) -> Result<Option<String>, Unusable> {
        self.attempt("last key", || self.store.last_key(&self.instance, category)).await
    }

    async fn count(&self, clear: &Clear) -> Result<u64, Unusable> {
        self.attempt("count", || self.store.count(&self.instance, clear)).await
    }

    async fn write(&self, write: Write) -> Result<(), Unusable> {
        self.commit(SessionBatch { writes: vec![write], ..SessionBatch::default() }).await
    }

    /// Makes a batch durable under our epoch.
    pub(super) async fn commit(&self, batch: SessionBatch) -> Result<(), Unusable> {
        if batch.is_empty() {
            return Ok(());
        }
        let epoch = self.epoch.read().await;
        let Some(owner) = *epoch else {
            self.seal.set(SealReason::FencedOff);
            return Err(Unusable);
        };
        reach!("commit.{}.before", subject(&batch));
        let Revision(revision) =
            self.attempt("commit", || self.store.commit(&self.instance, owner, batch.clone())).await?;
        reach!("commit.{}.after", subject(&batch));
        self.revision.fetch_max(revision, Ordering::AcqRel);
        Ok(())
    }

    /// Makes a batch durable that advances ratchets, after the messages whose advances it may hold.
    async fn commit_ratchets(&self, batch: SessionBatch) -> Result<(), Unusable> {
        // What was decrypted just now is on its way here, but not submitted yet: its task may be busy with something else before.
        let coming = async {
            for _ in 0..2 {
                self.operations.begun_is_over().await;
                sleep(inbound::ROWS_COME_WITHIN).await;
            }
        };
        let _in_time = timeout(inbound::OPERATIONS_WITHIN, coming).await;
        self.rows.submitted_are_durable(&self.seal).await?;
        self.commit(batch).await
    }

    /// Does something with the store, again and again within the grace; seals the link before it returns an error.
    async fn attempt<T, F>(&self, doing: &'static str, operation: impl Fn() -> F) -> Result<T, Unusable>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let _under_way = self.operations.begin();
        let until = self.clock.now().after(self.grace);
        let mut wait = FIRST_RETRY;
        loop {
            self.seal.check().map_err(|_sealed| Unusable)?;
            let left = self.clock.now().until(until);
            let failed = match timeout(left, operation()).await {
                Ok(Ok(value)) => {
                    // What was read before the seal is not used after it.
                    self.seal.check().map_err(|_sealed| Unusable)?;
                    return Ok(value);
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            match failed {
                Some(StoreError::Unavailable { .. }) if self.clock.now().after(wait) < until => {
                    sleep(wait).await;
                    wait *= 2;
                    continue;
                }
                Some(error) => {
                    warn!(instance.id = %self.instance, "The store failed during {doing}: {error}");
                    self.seal.set(reason(&error));
                }
                None => {
                    warn!(instance.id = %self.instance, "The store did not answer {doing} within the grace");
                    self.seal.set(SealReason::StoreUnavailable);
                }
            }
            return Err(Unusable);
        }
    }

    /// Seals the link because a value is not what it has to be.
    fn corrupt(&self, what: &str) -> Unusable {
        warn!(instance.id = %self.instance, "A stored {what} cannot be understood");
        self.seal.set(SealReason::Corrupt);
        Unusable
    }
}

fn reason(error: &StoreError) -> SealReason {
    match error {
        StoreError::FencedOff(_) | StoreError::LeaseHeld { .. } | StoreError::NodeInUse { .. } => SealReason::FencedOff,
        StoreError::Corrupt { .. } => SealReason::Corrupt,
        StoreError::Unavailable { .. } | StoreError::NameTaken(_) | StoreError::NoSuchInstance(_) => {
            SealReason::StoreUnavailable
        }
    }
}

/// Says in a word what a batch is about.
fn subject(batch: &SessionBatch) -> &'static str {
    if !batch.accepted.is_empty() {
        return "accepted";
    }
    if batch.device.is_some() {
        return "device";
    }
    let written = batch.writes.first().map(|write| (write.category, write.value.is_some()));
    match written.or_else(|| batch.clears.first().map(|clear| (clear.category, false))) {
        Some((inbound::PENDING, false)) => "pending-inbound-gone",
        Some((signal::PRE_KEY, false)) => "pre-key-gone",
        Some((category, _)) => category,
        None => "nothing",
    }
}

fn put(category: &'static str, key: impl Into<String>, value: Vec<u8>) -> Write {
    Write { category, key: key.into(), value: Some(value), expires_at: None }
}

fn delete(category: &'static str, key: impl Into<String>) -> Write {
    Write { category, key: key.into(), value: None, expires_at: None }
}

fn writes(writes: Vec<Write>) -> SessionBatch {
    SessionBatch { writes, ..SessionBatch::default() }
}

fn clear(category: &'static str, prefix: impl Into<String>) -> SessionBatch {
    let all = Clear { category, prefix: prefix.into(), expired_at: None };
    SessionBatch { clears: vec![all], ..SessionBatch::default() }
}
