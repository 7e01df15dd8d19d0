//! The data directory: its lock, the keys that are kept in it, and the name of this node.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use crate::config::SessionKey;
use crate::failpoint::reach;
use crate::store::EncryptionKey;

/// How long a second process waits for the first to be gone, as in a rolling restart.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const API_KEY: &str = "api-key";
const SESSION_KEY: &str = "session-key";

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
        let mut waited = Duration::ZERO;
        loop {
            if let Some(taken) = Self::try_take(path)? {
                return Ok(taken);
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
    }

    /// Takes the lock if nobody has it: `None` if an engine runs there.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn try_take(path: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(path).with_context(|| format!("the data directory {} cannot be created", path.display()))?;
        Ok(lock(&path.join("lock"))?.map(|lock| Self { path: path.to_owned(), _lock: lock }))
    }

    /// Returns the kept API key, and whether it was made just now.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn api_key(&self) -> Result<(SecretString, bool)> {
        let (text, new) = keep(&self.path.join(API_KEY), || random(24).map(|bytes| hex(&bytes)))?;
        Ok((SecretString::from(text), new))
    }

    /// Returns the kept session key; one is made only if there is no `database` yet, which no new key could open.
    ///
    /// # Errors
    /// If it cannot be read or written, if the file holds something else, or if it is missing beside a database.
    pub fn session_keys(&self, database: bool) -> Result<SessionKeys> {
        let path = self.path.join(SESSION_KEY);
        if database && !path.exists() {
            bail!("there is a database, but its key file {} is missing; restore it from a backup", path.display());
        }
        let (text, _) = keep(&path, || Ok(hex(&new_session_key()?.0)))?;
        parse_keys(&path, &text)
    }

    /// Tells whether session keys are kept here.
    pub fn has_session_keys(&self) -> bool {
        self.path.join(SESSION_KEY).exists()
    }

    /// Replaces the kept session keys, durably: the file holds the earlier ones or these, whatever happens.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_session_keys(&self, keys: &SessionKeys) -> Result<()> {
        let lines: Vec<String> = keys.all().map(|key| hex(&key.0)).collect();
        write_whole(&self.path.join(SESSION_KEY), &lines.join("\n"))
    }

    /// Keeps an API key that came with a backup, unless there is one.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn keep_api_key(&self, key: &SecretString) -> Result<()> {
        keep(&self.path.join(API_KEY), || Ok(key.expose_secret().to_owned())).map(drop)
    }

    /// Returns the kept name of this node.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn node_id(&self) -> Result<String> {
        Ok(keep(&self.path.join("node-id"), || Ok(uuid::Uuid::new_v4().to_string()))?.0)
    }

    /// Returns what tells this data directory from every other, whatever its process is called.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn home_id(&self) -> Result<String> {
        Ok(keep(&self.path.join("home-id"), || Ok(uuid::Uuid::new_v4().to_string()))?.0)
    }
}

/// The keys that open a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKeys {
    /// The one that seals.
    pub current: SessionKey,
    /// The one before it, while a rotation is under way.
    pub old: Option<SessionKey>,
}

impl SessionKeys {
    /// Returns the keys, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &SessionKey> {
        std::iter::once(&self.current).chain(&self.old)
    }

    /// Returns them as the store takes them.
    pub fn encryption_key(&self) -> EncryptionKey {
        let current = EncryptionKey::new(self.current.0);
        self.old.iter().fold(current, |key, old| key.and_older(old.0))
    }
}

/// Keeps backups, restores and rotations of one data directory from meeting each other. The engine does not take it.
pub struct Upkeep {
    _lock: File,
}

impl Upkeep {
    /// Takes the lock.
    ///
    /// # Errors
    /// If another of these commands is at work.
    pub fn take(data_dir: &Path) -> Result<Self> {
        let lock = lock(&data_dir.join("upkeep.lock"))?;
        let taken = lock.map(|lock| Self { _lock: lock });
        taken.context("another backup, restore or rotation is at work in this data directory; wait for it to end")
    }
}

/// Reads the API key that a running engine keeps, without its lock.
///
/// # Errors
/// If there is none.
pub fn read_api_key(data_dir: &Path) -> Result<SecretString> {
    let path = data_dir.join(API_KEY);
    let text = fs::read_to_string(&path).with_context(|| format!("no API key at {}", path.display()))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

/// Reads the session keys that an engine keeps, without its lock.
///
/// # Errors
/// If there are none, or the file holds something else.
pub fn read_session_keys(data_dir: &Path) -> Result<SessionKeys> {
    let path = data_dir.join(SESSION_KEY);
    let text = fs::read_to_string(&path).with_context(|| format!("no session key at {}", path.display()))?;
    parse_keys(&path, text.trim())
}

/// Makes a session key.
///
/// # Errors
/// If the system has no randomness.
pub fn new_session_key() -> Result<SessionKey> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(SessionKey(bytes))
}

/// Reads the current key from the first line, and the one before it, during a rotation, from a second.
fn parse_keys(path: &Path, text: &str) -> Result<SessionKeys> {
    let keys: Option<Vec<SessionKey>> = text.lines().map(SessionKey::parse).collect();
    match keys.as_deref() {
        Some([current]) => Ok(SessionKeys { current: current.clone(), old: None }),
        Some([current, old]) => Ok(SessionKeys { current: current.clone(), old: Some(old.clone()) }),
        Some(_) | None => bail!("the key file {} does not hold 32 bytes in hex or base64", path.display()),
    }
}

/// Takes a lock that ends with the process; `None` if another process has it.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("the lock file {} cannot be opened", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the lock file {} cannot be taken", path.display())),
    }
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
    write_whole(path, &text)?;
    Ok((text, true))
}

/// Writes beside, syncs and renames.
fn write_whole(path: &Path, text: &str) -> Result<()> {
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
    Ok(())
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
        assert_eq!(data_dir.session_keys(false).unwrap(), data_dir.session_keys(true).unwrap());
        let (_, new) = data_dir.api_key().unwrap();
        let (_, again) = data_dir.api_key().unwrap();
        assert!(new && !again);
        fs::write(directory.path().join("session-key"), "").unwrap();
        assert!(data_dir.session_keys(true).is_err(), "an emptied key file must not become a new key");
        fs::remove_file(directory.path().join("session-key")).unwrap();
        assert!(data_dir.session_keys(true).is_err(), "a database has its key already");
        assert!(!directory.path().join("session-key").exists());
    }

    #[tokio::test]
    async fn both_keys_of_a_rotation_are_kept_until_the_old_one_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::take(directory.path()).await.unwrap();
        let old = data_dir.session_keys(false).unwrap();
        let both = SessionKeys { current: new_session_key().unwrap(), old: Some(old.current.clone()) };
        data_dir.set_session_keys(&both).unwrap();
        assert_eq!(data_dir.session_keys(true).unwrap(), both);
        assert_eq!(read_session_keys(directory.path()).unwrap(), both);
        let new = SessionKeys { old: None, ..both };
        data_dir.set_session_keys(&new).unwrap();
        assert_eq!(data_dir.session_keys(true).unwrap(), new);
        fs::write(directory.path().join("session-key"), "00\n11\n22\n").unwrap();
        assert!(data_dir.session_keys(true).is_err());
    }

    #[test]
    fn two_commands_of_upkeep_never_meet() {
        let directory = tempfile::tempdir().unwrap();
        let first = Upkeep::take(directory.path()).unwrap();
        assert!(Upkeep::take(directory.path()).is_err());
        drop(first);
        Upkeep::take(directory.path()).unwrap();
    }
}
