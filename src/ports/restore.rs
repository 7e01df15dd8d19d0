//! Logins that come back from a backup, and the way into an engine that runs.

use std::error::Error;

use async_trait::async_trait;

use super::session::Write;
use super::store::{InstanceRecord, StoreError};

/// Makes of a device from a backup one that may be dialled. What becomes of the values beside it is decided in
/// [`holdfast_core::restored`].
pub trait Renewal: Send + Sync {
    /// Returns the device as it goes on.
    ///
    /// # Errors
    /// If it cannot be understood.
    fn renew(&self, device: &[u8]) -> Result<Renewed, Box<dyn Error + Send + Sync>>;
}

/// A device that may be dialled.
pub struct Renewed {
    /// The device.
    pub device: Vec<u8>,
    /// The users that it is: number and LID.
    pub own: Vec<String>,
    /// Values that belong to it from now on.
    pub writes: Vec<Write>,
}

/// Why what was prepared could not be taken in. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Nothing was prepared, or something else.
    #[error("no restore with this id was prepared")]
    NothingPrepared,
    /// It was prepared for another database.
    #[error("what was prepared does not fit this engine: {0}")]
    Unfit(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a restore.
#[derive(Debug, Default)]
pub struct Restored {
    /// Instances that were taken in.
    pub instances: Vec<InstanceRecord>,
    /// Names of instances of the backup that were there already, and were left as they are.
    pub left: Vec<String>,
}

/// Takes restored instances into a database in use.
#[async_trait]
pub trait Restore: Send + Sync {
    /// Takes in what was prepared under this id, in one transaction. Instances that exist are left alone.
    async fn take_in(&self, id: &str) -> Result<Restored, RestoreError>;
}
