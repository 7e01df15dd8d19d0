//! What is stored of a session: the device, its keys, the messages it has accepted, and who owns it.

use async_trait::async_trait;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::{Epoch, InstanceId, Revision};

use super::store::StoreError;

/// Ownership of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Every write names it; it is refused once another claim was made.
    pub epoch: Epoch,
    /// The session's revision at the claim.
    pub revision: Revision,
}

/// Identifies an inbound message: a stanza id is unique only within a chat and a sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageKey {
    pub chat: String,
    pub sender: String,
    pub id: String,
}

/// A message that is handed over. One that was accepted before is not an error: its event is not queued again.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Which message.
    pub key: MessageKey,
    /// Its event, queued for the sinks that asked for it if the message is new.
    pub event: Option<EngineEvent>,
    /// Whether it came by another way than its delivery, and perhaps under another name of its sender: a loss with its id is meant.
    pub recovered: bool,
}

/// Why the content of a message is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// It could not be decrypted.
    Undecryptable,
    /// It was decrypted before, and neither its content nor its acceptance is stored.
    ContentGone,
    /// It was stored, but for days nobody came for it.
    NeverHandedOver,
}

impl LossReason {
    /// Returns the reason as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecryptable => "undecryptable",
            Self::ContentGone => "content-gone",
            Self::NeverHandedOver => "never-handed-over",
        }
    }
}

/// A message came without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Which message.
    pub key: MessageKey,
    /// What is the matter with it.
    pub why: LossReason,
    /// Whether it is not waited for any more.
    pub given_up: bool,
}

/// What is known of a message whose content has not come. It is forgotten when the message is accepted after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrecovered {
    /// Whose message it is.
    pub instance: InstanceId,
    /// Which message.
    pub key: MessageKey,
    /// What is the matter with it, in the word of [`LossReason::as_str`].
    pub why: String,
    /// When it first came, in Unix milliseconds.
    pub since_ms: i64,
    /// How often it came without its content.
    pub times: u32,
    /// When it was given up, in Unix milliseconds.
    pub given_up_ms: Option<i64>,
}

/// One change of the key-value table. A `value` of `None` deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The kind of value, one of a fixed few.
    pub category: &'static str,
    /// The key within the category.
    pub key: String,
    /// The plain value; the store encrypts it.
    pub value: Option<Vec<u8>>,
    /// Unix seconds after which it may be forgotten; `None` keeps it.
    pub expires_at: Option<i64>,
}

/// A set of keys to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clear {
    /// The kind of value.
    pub category: &'static str,
    /// Only keys that begin so; empty for all.
    pub prefix: String,
    /// Only rows that expired at or before this Unix second.
    pub expired_at: Option<i64>,
}

/// Changes that become durable together, or not at all.
#[derive(Debug, Clone, Default)]
pub struct SessionBatch {
    /// The device, as bytes; the store encrypts it into `Session.creds`.
    pub device: Option<Vec<u8>>,
    /// Whether there are credentials from now on.
    pub paired: Option<bool>,
    /// Applied first.
    pub clears: Vec<Clear>,
    /// Applied in order.
    pub writes: Vec<Write>,
    /// Messages that are handed over with this batch.
    pub accepted: Vec<Accepted>,
    /// Messages that came without their content. What was accepted is not noted.
    pub losses: Vec<Loss>,
    /// Events that belong to no message, queued for the sinks that asked for them.
    pub events: Vec<EngineEvent>,
}

impl SessionBatch {
    /// Tells whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.device.is_none()
            && self.paired.is_none()
            && self.clears.is_empty()
            && self.writes.is_empty()
            && self.accepted.is_empty()
            && self.losses.is_empty()
            && self.events.is_empty()
    }
}

/// Sessions. Reading errs rather than answer "absent" for what could not be read.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Takes the session for the node that the store acts for; an earlier claim of it is replaced.
    ///
    /// # Errors
    /// [`StoreError::LeaseHeld`] while another node owns the instance; [`StoreError::NodeInUse`] if another process has taken this node's
    /// place. Also if the leases of this node do not hold.
    async fn claim(&self, id: &InstanceId) -> Result<Claim, StoreError>;

    /// Gives ownership up, if `epoch` still has it.
    async fn release(&self, id: &InstanceId, epoch: Epoch) -> Result<(), StoreError>;

    /// Reads the device. `None` only if none was ever saved; a session that is marked paired and has no device is corrupt.
    async fn device(&self, id: &InstanceId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads one value.
    async fn read(&self, id: &InstanceId, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads those of the keys that exist.
    async fn read_many(
        &self,
        id: &InstanceId,
        category: &'static str,
        keys: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Reads all values whose key begins with `prefix`, ordered by key.
    async fn scan(
        &self,
        id: &InstanceId,
        category: &'static str,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Returns the last key of a category, without its value.
    async fn last_key(&self, id: &InstanceId, category: &'static str) -> Result<Option<String>, StoreError>;

    /// Returns the number of rows that [`Clear`] would delete.
    async fn count(&self, id: &InstanceId, clear: &Clear) -> Result<u64, StoreError>;

    /// Writes a batch in one transaction that checks the epoch and raises the revision. Returns once it is on disk.
    ///
    /// # Errors
    /// [`StoreError::FencedOff`] if `epoch` is no longer the owner's; nothing was written.
    async fn commit(&self, id: &InstanceId, epoch: Epoch, batch: SessionBatch) -> Result<Revision, StoreError>;

    /// Tells whether a message was accepted before.
    async fn is_accepted(&self, id: &InstanceId, message: &MessageKey) -> Result<bool, StoreError>;

    /// Returns how often a message came without its content.
    async fn times_lost(&self, id: &InstanceId, message: &MessageKey) -> Result<u32, StoreError>;

    /// Returns the messages whose content has not come, of one instance or of all, the newest first, at most `limit`.
    async fn unrecovered(&self, id: Option<&InstanceId>, limit: u32) -> Result<Vec<Unrecovered>, StoreError>;

    /// Moves device and keys to the archive, kept for 30 days, marks the session unpaired and ends its epoch: what a link of the ended
    /// login still writes is refused. Credentials of another program stay where they are.
    ///
    /// # Errors
    /// [`StoreError::FencedOff`] if another node owns the instance.
    async fn archive(&self, id: &InstanceId, reason: &str) -> Result<(), StoreError>;
}
