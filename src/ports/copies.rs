//! Sessions on their way between the database and the layers that hold copies of them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_core::id::{DatabaseId, InstanceId};
use holdfast_core::restoration::{Database, Mark, Member};

use super::changes::Changes;
use super::layer::SessionCopy;
use super::restore::Renewal;
use super::store::{ProxySpec, Settings, StoreError, WebhookSpec};

/// What a copy says of its instance that only the key opens.
#[derive(Clone, PartialEq)]
pub struct Particulars {
    pub token: String,
    pub integration: Option<String>,
    pub number: Option<String>,
    pub business_id: Option<String>,
    pub owner_jid: Option<String>,
    pub profile_name: Option<String>,
    pub profile_picture: Option<String>,
    pub settings: Option<Settings>,
    pub proxy: Option<ProxySpec>,
    pub webhook: Option<WebhookSpec>,
}

/// All of it is somebody's secret.
impl fmt::Debug for Particulars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Particulars")
    }
}

/// What the database has of an instance, for whoever keeps a copy.
#[derive(Debug)]
pub enum Export {
    /// Its login.
    Login(Box<SessionCopy>),
    /// No login. A copy of a state up to this one is of a login that has ended; one of a later state is all that is left of it.
    NoLogin(Mark),
    /// An operator has deleted it.
    Deleted,
}

/// For whom a copy is written into the database, and over what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The node that does it: what another one owns is left alone.
    pub node: String,
    /// The state that the database said it holds; `None` if it said that it does not know the instance.
    pub seen: Option<Mark>,
    /// The newest state that any copy was seen to hold, if one was: what is written is beyond it, and never goes on exactly from an older one.
    pub proved: Option<Mark>,
}

/// What came of writing a copy into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// The database holds this very state, and it is whole: nothing was written.
    Held(Mark),
    /// What was damaged in the database is as it was, and goes on exactly.
    Repaired(Mark),
    /// The login goes on with its identity and without its Signal sessions.
    Renewed(Mark),
}

impl Adopted {
    /// Returns the state that the database holds now.
    pub fn mark(self) -> Mark {
        match self {
            Self::Held(mark) | Self::Repaired(mark) | Self::Renewed(mark) => mark,
        }
    }
}

/// Copies of sessions. One that is handed out opens with the key, in every part: what is damaged is an error, and never overwrites a whole
/// copy elsewhere.
#[async_trait]
pub trait Copies: Send + Sync {
    /// Returns who is told when a copy of an instance would be another one.
    fn changes(&self) -> &Changes;

    /// Returns which database it is.
    fn database(&self) -> DatabaseId;

    /// Lists the other databases that are known to be of other installations.
    async fn neighbours(&self, now: DateTime<Utc>) -> Result<Vec<DatabaseId>, StoreError>;

    /// Says that the engine of another database lives. Returns whether that is another installation: so it is if this one has a login.
    async fn note_neighbour(&self, other: &DatabaseId) -> Result<bool, StoreError>;

    /// Says of every instance of this installation's client name which state of a login the database holds, and names those that were
    /// deleted.
    async fn states(&self) -> Result<Vec<(InstanceId, Member<Database>)>, StoreError>;

    /// Copies a session, as it was at one moment, and dates the copy. `None` if there is no login.
    async fn export(&self, id: &InstanceId, taken_at: DateTime<Utc>) -> Result<Option<SessionCopy>, StoreError>;

    /// Copies several sessions, all as they were at the same moment. An error of one is no error of the others; one that the database does not
    /// know is left out.
    async fn export_many(
        &self,
        ids: &[InstanceId],
        taken_at: DateTime<Utc>,
    ) -> Result<Vec<(InstanceId, Result<Export, StoreError>)>, StoreError>;

    /// Writes a copy into the database, in one transaction, and ends its ownership: whoever wants to dial claims the session.
    ///
    /// A copy of the very state that the database holds repairs it. Any other one is kept for its identity: its Signal sessions are given up,
    /// and its numbers raised beyond all that any history of it can have reached. What was there goes to the archive.
    ///
    /// # Errors
    /// Nothing was written: [`StoreError::Corrupt`] if the copy does not open, [`StoreError::FencedOff`] if the database does not hold what
    /// it was said to, or has gone on since the copy, [`StoreError::LeaseHeld`] if another node owns the session,
    /// [`StoreError::NoSuchInstance`] if an operator has deleted the instance, [`StoreError::NameTaken`] if another one has its name.
    async fn adopt_copy(
        &self,
        copy: SessionCopy,
        adoption: Adoption,
        renewal: Arc<dyn Renewal>,
    ) -> Result<Adopted, StoreError>;
}
