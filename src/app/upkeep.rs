//! What the commands `backup`, `restore` and `rotate-key` do, and the engine's part in a restore while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tracing::info;

use super::data_dir::{DataDir, SessionKeys, Upkeep, new_session_key, read_api_key, read_session_keys};
use super::{session_keys, set_session_keys};
use crate::config::Settings;
use crate::ports::clock::Clock;
use crate::ports::restore::{Restore, RestoreError, Restored};
use crate::ports::store::{Store, StoreError};
use crate::store::sqlite::upkeep::{self, BackupRequest, Merged, Staged, StagingRequest, Summary, WorkFolder, Written};
use crate::whatsapp::DeviceRenewal;

pub use crate::store::sqlite::upkeep::{BackupError, Rotated};

/// Writes a backup, whether or not an engine runs.
///
/// # Errors
/// If there is no database, or the backup cannot be written and read back.
pub fn back_up(settings: &Settings, passphrase: &SecretString, file: &Path, replace: bool) -> Result<Written> {
    let database = embedded(settings, "pg_dump")?;
    if !database.exists() {
        bail!("there is no database at {}; set DATA_DIR as the engine has it", database.display());
    }
    let _alone = Upkeep::take(&settings.data_dir)?;
    let key = kept_keys(settings)?.encryption_key();
    // A key that is set belongs to the settings, which are no part of a backup.
    let api_key = if settings.api_key.is_some() { None } else { read_api_key(&settings.data_dir).ok() };
    let request = BackupRequest {
        database,
        key: &key,
        api_key,
        client_name: &settings.database.client_name,
        passphrase,
        file,
        replace,
        now: Clock::start().wall(),
    };
    Ok(upkeep::back_up(&request)?)
}

/// What is to be restored, and how.
pub struct RestoreRequest<'a> {
    /// The backup.
    pub file: &'a Path,
    /// Opens it.
    pub passphrase: &'a SecretString,
    /// Instances that the backup's take the place of.
    pub replace: &'a [String],
    /// Whether the backup becomes the database.
    pub whole: bool,
}

/// What came of a restore.
pub enum Outcome {
    /// The backup is the database.
    Whole {
        /// What was in it.
        summary: Summary,
        /// When it was made.
        created_at: String,
        /// Where the database is that was there before.
        set_aside: Option<PathBuf>,
    },
    /// Its instances joined the database.
    Joined {
        /// Which.
        merged: Merged,
        /// Where a copy of the database is, as it was before.
        set_aside: PathBuf,
    },
    /// It is ready for the engine that runs.
    Prepared(Prepared),
}

/// A backup that a running engine takes in when it is asked to; gone when this is dropped.
pub struct Prepared {
    staged: Staged,
    _work: WorkFolder,
    _alone: Upkeep,
}

impl Prepared {
    /// Returns the id by which the engine finds it.
    pub fn id(&self) -> &str {
        &self.staged.id
    }
}

/// Brings a backup back, or prepares it for the engine if one runs.
///
/// # Errors
/// If the backup cannot be used, or something would be overwritten that was not named; nothing was changed then.
pub fn restore(settings: &Settings, request: &RestoreRequest<'_>) -> Result<Outcome> {
    let database = embedded(settings, "pg_restore, with every engine stopped")?;
    let data_dir = DataDir::try_take(&settings.data_dir)?;
    let alone = Upkeep::take(&settings.data_dir)?;
    // A key that is made here is kept only once the backup has proven to be usable.
    let mut made = None;
    let keys = match &data_dir {
        Some(data_dir) if data_dir.has_session_keys() || (database.exists() && !request.whole) => {
            session_keys(settings, data_dir, true)?
        }
        Some(_) => match set_session_keys(settings) {
            Some(keys) => keys,
            None => made.insert(SessionKeys { current: new_session_key()?, old: None }).clone(),
        },
        None if request.whole || !request.replace.is_empty() => bail!(
            "an engine runs in {}; stop it for --whole and --replace. Without them, instances that it does not have are added while it runs",
            settings.data_dir.display()
        ),
        None => kept_keys(settings)?,
    };
    let clock = Clock::start();
    let renewal = DeviceRenewal::new(clock);
    let staging = StagingRequest {
        file: request.file,
        passphrase: request.passphrase,
        key: &keys.current.0,
        client_name: &settings.database.client_name,
        renewal: &renewal,
        now_ms: clock.wall().timestamp_millis(),
    };
    let work = WorkFolder::make(database)?;
    let staged = upkeep::stage(&staging, &work)?;
    let Some(data_dir) = data_dir else {
        return Ok(Outcome::Prepared(Prepared { staged, _work: work, _alone: alone }));
    };
    if let Some(keys) = made {
        data_dir.set_session_keys(&keys)?;
    }
    if let (Some(key), None) = (&staged.api_key, &settings.api_key) {
        data_dir.keep_api_key(key)?;
    }
    let stamp = clock.wall().format("%Y%m%dT%H%M%S%3fZ").to_string();
    if request.whole || !database.exists() {
        let (summary, created_at) = (staged.summary.clone(), staged.created_at.clone());
        let set_aside = upkeep::adopt(database, staged, &stamp)?;
        return Ok(Outcome::Whole { summary, created_at, set_aside });
    }
    let set_aside = upkeep::set_aside(database, &stamp)
        .context("the present database cannot be copied aside; --whole takes the backup in its place")?;
    let merged = upkeep::merge(database, &staged, &keys.encryption_key(), request.replace)?;
    Ok(Outcome::Joined { merged, set_aside })
}

/// Puts everything under a new session key.
///
/// # Errors
/// If an engine runs, or the database fails. It opens all the same, with what is kept or set; running it again goes on.
pub fn rotate_key(settings: &Settings) -> Result<Rotated> {
    let database = embedded(settings, "a session key that stays: rotating it is not supported there yet")?;
    if !database.exists() {
        bail!("there is no database at {}; set DATA_DIR as the engine has it", database.display());
    }
    let Some(data_dir) = DataDir::try_take(&settings.data_dir)? else {
        bail!("an engine runs in {}; stop it, and rotate the key then", settings.data_dir.display());
    };
    let _alone = Upkeep::take(&settings.data_dir)?;
    if let Some(keys) = set_session_keys(settings) {
        if keys.old.is_none() {
            bail!(
                "the session key is set: put the present one into SESSION_ENCRYPTION_KEY_OLD and a new one into SESSION_ENCRYPTION_KEY"
            );
        }
        return Ok(upkeep::rotate(database, &keys.encryption_key())?);
    }
    let kept = data_dir.session_keys(true)?;
    let keys = match &kept.old {
        // A rotation that was cut off goes on; a third key would be one too many.
        Some(_) => kept,
        None => SessionKeys { current: new_session_key()?, old: Some(kept.current) },
    };
    // Both keys are kept before the first value is under the new one, and until the last one is.
    data_dir.set_session_keys(&keys)?;
    let rotated = upkeep::rotate(database, &keys.encryption_key())?;
    data_dir.set_session_keys(&SessionKeys { old: None, ..keys })?;
    Ok(rotated)
}

/// Returns the file of the embedded database. PostgreSQL has tools of its own.
fn embedded<'s>(settings: &'s Settings, instead: &str) -> Result<&'s Path> {
    match settings.database.file() {
        Some(file) => Ok(file),
        None => bail!("this command is for the embedded database; with PostgreSQL, use {instead}"),
    }
}

/// Returns the keys of a database that is there, with or without an engine on it.
fn kept_keys(settings: &Settings) -> Result<SessionKeys> {
    match set_session_keys(settings) {
        Some(keys) => Ok(keys),
        None => read_session_keys(&settings.data_dir),
    }
}

/// Takes prepared backups into the database of this engine.
pub(super) struct Restorer {
    /// The file of the embedded database; nothing is restored into another one.
    pub(super) database: Option<PathBuf>,
    pub(super) keys: SessionKeys,
    pub(super) store: Arc<dyn Store>,
    pub(super) runtime: Handle,
}

#[async_trait]
impl Restore for Restorer {
    async fn take_in(&self, id: &str) -> Result<Restored, RestoreError> {
        let Some(database) = self.database.clone() else { return Err(RestoreError::NothingPrepared) };
        let (key, id) = (self.keys.encryption_key(), id.to_owned());
        let merging = self.runtime.spawn_blocking(move || {
            let staged = upkeep::prepared(&database, &id, &key)?;
            Ok::<_, RestoreError>(upkeep::merge(&database, &staged, &key, &[])?)
        });
        let merged: Merged = merging.await.unwrap_or_else(|crashed| {
            let doing = "taking a backup in";
            Err(StoreError::Unavailable { doing, cause: Box::new(crashed) }.into())
        })?;
        let mut instances = Vec::with_capacity(merged.taken.len());
        for (id, name) in &merged.taken {
            info!(instance.id = %id, "Instance {name} was restored from a backup");
            instances.extend(self.store.find(id).await?);
        }
        // Their deliveries came past the writer, which therefore has told nobody.
        self.store.appended().notify_one();
        Ok(Restored { instances, left: merged.left })
    }
}
