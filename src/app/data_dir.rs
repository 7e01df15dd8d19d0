//! The data directory: its lock, the keys that are kept in it, and the name of this node.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use secrecy::SecretString;
use tracing::warn;

use crate::config::SessionKey;
use crate::failpoint::reach;

/// How long a second process waits for the first to be gone, as in a rolling restart.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The locked data directory; the lock ends with the process, however it ends.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if it is missing, and takes its lock.
    ///
    /// # Errors
    /// If another process keeps the lock for longer than 30 seconds, or the directory cannot be written.
    pub async fn take(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("the data directory {} cannot be created", path.display()))?;
        let file = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file)
            .with_context(|| format!("the lock file {} cannot be opened", file.display()))?;
        let mut waited = Duration::ZERO;
        while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error).with_context(|| format!("the lock file {} cannot be taken", file.display()));
            }
            if waited >= PATIENCE {
                bail!(
                    "another process uses the data directory {}; stop it, or set DATA_DIR to another directory",
                    path.display()
                );
            }
            if waited.is_zero() {
                warn!(data_dir = %path.display(), "Another process uses the data directory; waiting for it to end");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Returns the kept API key, and whether it was made just now.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn api_key(&self) -> Result<(SecretString, bool)> {
        let (text, new) = keep(&self.path.join("api-key"), || random(24).map(|bytes| hex(&bytes)))?;
        Ok((SecretString::from(text), new))
    }

    /// Returns the kept session key; one is made only if there is no `database` yet, which no new key could open.
    ///
    /// # Errors
    /// If it cannot be read or written, if the file holds something else, or if it is missing beside a database.
    pub fn session_key(&self, database: bool) -> Result<SessionKey> {
        let path = self.path.join("session-key");
        if database && !path.exists() {
            bail!("there is a database, but its key file {} is missing; restore it from a backup", path.display());
        }
        let (text, _) = keep(&path, || random(32).map(|bytes| hex(&bytes)))?;
        SessionKey::parse(&text)
            .with_context(|| format!("the key file {} does not hold 32 bytes in hex or base64", path.display()))
    }

    /// Returns the kept name of this node.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn node_id(&self) -> Result<String> {
        Ok(keep(&self.path.join("node-id"), || Ok(uuid::Uuid::new_v4().to_string()))?.0)
    }
}

/// Reads the API key that a running engine keeps, without its lock.
///
/// # Errors
/// If there is none.
pub fn read_api_key(data_dir: &Path) -> Result<SecretString> {
    let path = data_dir.join("api-key");
    let text = fs::read_to_string(&path).with_context(|| format!("no API key at {}", path.display()))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

/// Reads a kept text, or makes it: written beside, synced and renamed, so that it is whole or not there.
fn keep(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<(String, bool)> {
    match File::open(path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(|| format!("{} cannot be read", path.display()))?;
            let text = text.trim().to_owned();
            if text.is_empty() {
                bail!("{} is empty; restore it from a backup", path.display());
            }
            return Ok((text, false));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{} cannot be opened", path.display())),
    }
    let text = make()?;
    let kept = path.file_name().unwrap_or_default().display();
    reach!("keep.{kept}.made");
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{text}")?;
    reach!("keep.{kept}.written");
    file.sync_all()?;
    reach!("keep.{kept}.synced");
    fs::rename(&beside, path).with_context(|| format!("{} cannot be written", path.display()))?;
    reach!("keep.{kept}.renamed");
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((text, true))
}

fn random(len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_process_gives_up_after_its_patience_and_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::take(directory.path()).await.unwrap();
        let refused = DataDir::take(directory.path()).await.err().unwrap().to_string();
        assert!(refused.contains("DATA_DIR"), "{refused}");
        drop(first);
        DataDir::take(directory.path()).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_kept_is_made_once_and_an_empty_file_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::take(directory.path()).await.unwrap();
        assert_eq!(data_dir.session_key(false).unwrap(), data_dir.session_key(true).unwrap());
        let (_, new) = data_dir.api_key().unwrap();
        let (_, again) = data_dir.api_key().unwrap();
        assert!(new && !again);
        fs::write(directory.path().join("session-key"), "").unwrap();
        assert!(data_dir.session_key(true).is_err(), "an emptied key file must not become a new key");
        fs::remove_file(directory.path().join("session-key")).unwrap();
        assert!(data_dir.session_key(true).is_err(), "a database has its key already");
        assert!(!directory.path().join("session-key").exists());
    }
}
