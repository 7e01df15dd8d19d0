//! What is done to a database as a whole, by commands: taking a backup, bringing one back, changing the key.
//!
//! | file | noun |
//! |---|---|
//! | `container` | the encrypted file of a backup |
//! | `manifest` | what a backup says about itself, and what is counted |
//! | `snapshot` | one consistent copy of a database in use, and looking at such a copy |
//! | `backup` | writing a backup, and reading it back |
//! | `staging` | a backup on its way into a database: decrypted, migrated, under the key in use, its logins renewed |
//! | `merge` | taking the instances of a staged backup into a database, or taking it as the database |
//! | `rotation` | putting every value under another key |
//!
//! All of it blocks: it works on files and connections of its own, never on the writer's.

mod backup;
mod container;
mod manifest;
mod merge;
mod rotation;
mod snapshot;
mod staging;

use std::io;

pub use self::backup::{BackupRequest, Written, back_up};
pub use self::manifest::Summary;
pub use self::merge::{Merged, adopt, merge, set_aside};
pub use self::rotation::{Rotated, rotate};
pub use self::snapshot::WorkFolder;
pub use self::staging::{Staged, StagingRequest, prepared, stage};
use crate::ports::store::StoreError;

/// Why a backup was not written or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file has another beginning.
    #[error("the file is no backup of Holdfast")]
    NotABackup,
    /// A later version has written it.
    #[error(
        "the backup was written by a newer version of Holdfast ({0}); restore it with that version, or a newer one"
    )]
    Newer(String),
    /// Its first piece does not decrypt.
    #[error("the passphrase is wrong, or the beginning of the file was damaged")]
    WrongPassphrase,
    /// A later piece does not decrypt, or is missing.
    #[error("the backup is damaged or was cut off: {0}")]
    Damaged(String),
    /// What was written is not what is read back.
    #[error("the backup does not read back as it was written, and was not kept: {0}")]
    NotVerified(String),
    /// The file system failed.
    #[error("{doing}")]
    Files {
        /// What was being done.
        doing: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    fn files(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Files { doing, cause }
    }

    /// Tells whether it is the file that cannot be used, rather than this machine.
    pub fn is_about_the_file(&self) -> bool {
        match self {
            Self::NotABackup | Self::Newer(_) | Self::WrongPassphrase | Self::Damaged(_) => true,
            Self::NotVerified(_) | Self::Files { .. } | Self::Store(_) => false,
        }
    }
}
