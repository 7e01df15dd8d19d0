//! Writing a backup, and reading it back before it gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::BackupError;
use super::container::{Opening, Sealing};
use super::manifest::{Manifest, Summary};
use super::snapshot::{WorkFolder, copy, look, open, sync};
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, EncryptionKey};
use crate::store::failure::Failure;
use crate::store::sqlite::sql::check_key_of;

/// The manifest is small; a length beyond this is damage.
const MOST_MANIFEST: usize = 1024 * 1024;

/// What a backup is made of, and where it goes.
pub struct BackupRequest<'a> {
    /// The file of the database, in use or not.
    pub database: &'a Path,
    /// The keys of its values.
    pub key: &'a EncryptionKey,
    /// The API key that the data directory keeps.
    pub api_key: Option<SecretString>,
    /// Whose instances they are.
    pub client_name: &'a str,
    /// Opens the backup.
    pub passphrase: &'a SecretString,
    /// Where it goes.
    pub file: &'a Path,
    /// Whether a file that is there is replaced.
    pub replace: bool,
    /// The time that is written into it.
    pub now: DateTime<Utc>,
}

/// A backup that was written and read back.
#[derive(Debug)]
pub struct Written {
    /// What is in it.
    pub summary: Summary,
    /// Its size.
    pub bytes: u64,
}

/// Writes a backup of a database, which may be in use. The file has its name only once it was read back.
///
/// # Errors
/// If anything fails; then there is no file, or still the earlier one.
pub fn back_up(request: &BackupRequest<'_>) -> Result<Written, BackupError> {
    let refuse_existing = || {
        let exists = request.file.exists() && !request.replace;
        let named = io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name; --force replaces it");
        if exists { Err(BackupError::files(format!("{} is kept", request.file.display()))(named)) } else { Ok(()) }
    };
    refuse_existing()?;
    let cipher = Cipher::new(request.key);
    let work = WorkFolder::make(request.database)?;
    let snapshot = work.file("snapshot.db");
    let mut conn = open(request.database)?;
    check_key_of(&mut conn, &cipher).map_err(at("checking the key"))?;
    copy(&mut conn, &snapshot)?;
    drop(conn);
    let summary = look(&mut open(&snapshot)?, &cipher).map_err(at("looking at the copy of the database"))?;

    let beside = Beside::of(request.file);
    let bytes = write(request, &snapshot, &summary, &beside.0)?;
    fs::remove_file(&snapshot).map_err(BackupError::files("the copy of the database cannot be removed"))?;
    let found = verify(&beside.0, request.passphrase, &work.file("verified.db"))?;
    if found != summary {
        return Err(BackupError::NotVerified("its rows are not those that were written".to_owned()));
    }
    refuse_existing()?;
    fs::rename(&beside.0, request.file)
        .map_err(BackupError::files(format!("{} cannot be written", request.file.display())))?;
    sync(request.file)?;
    Ok(Written { summary, bytes })
}

fn at(doing: &'static str) -> impl FnOnce(Failure) -> StoreError {
    move |failure| failure.doing(doing)
}

/// The file under its name for the time being; removed unless it was renamed.
struct Beside(PathBuf);

impl Beside {
    fn of(file: &Path) -> Self {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        Self(file.with_file_name(name))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After the rename there is nothing of this name, which is as it should be.
        let _renamed = fs::remove_file(&self.0);
    }
}

fn write(request: &BackupRequest<'_>, snapshot: &Path, summary: &Summary, beside: &Path) -> Result<u64, BackupError> {
    let writing = || BackupError::files(format!("{} cannot be written", beside.display()));
    let mut database = File::open(snapshot).map_err(writing())?;
    let manifest = Manifest {
        keys: request.key.to_hex(),
        api_key: request.api_key.as_ref().map(|key| key.expose_secret().to_owned()),
        client_name: request.client_name.to_owned(),
        summary: summary.clone(),
        bytes: database.metadata().map_err(writing())?.len(),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(|error| writing()(error.into()))?;
    // What a killed command has left under this name is replaced.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside).map_err(writing())?;
    let created_at = request.now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut sealing = Sealing::begin(BufWriter::new(file), created_at, request.passphrase)?;
    sealing.write_all(&(manifest.len() as u64).to_le_bytes()).map_err(writing())?;
    sealing.write_all(&manifest).map_err(writing())?;
    io::copy(&mut database, &mut sealing).map_err(writing())?;
    let file = sealing.finish().and_then(|buffer| buffer.into_inner().map_err(io::Error::from)).map_err(writing())?;
    file.sync_all().map_err(writing())?;
    Ok(file.metadata().map_err(writing())?.len())
}

/// Reads a backup as a restore does, and looks at the database in it.
fn verify(file: &Path, passphrase: &SecretString, into: &Path) -> Result<Summary, BackupError> {
    let not_verified = |error: BackupError| BackupError::NotVerified(error.to_string());
    let (manifest, _created_at) = unpack(file, passphrase, into).map_err(not_verified)?;
    let key = key_of(&manifest).map_err(not_verified)?;
    let found = look(&mut open(into)?, &Cipher::new(&key)).map_err(at("looking at the database in the backup"))?;
    if found == manifest.summary { Ok(found) } else { Err(BackupError::NotVerified("rows are missing".to_owned())) }
}

/// Decrypts a backup: its database goes to a file that must not exist. Returns the manifest and when it was made.
pub(super) fn unpack(file: &Path, passphrase: &SecretString, into: &Path) -> Result<(Manifest, String), BackupError> {
    let from = File::open(file).map_err(BackupError::files(format!("{} cannot be read", file.display())))?;
    let (mut opening, header) = Opening::begin(BufReader::new(from), passphrase)?;
    let mut length = [0; 8];
    opening.fill(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST_MANIFEST {
        return Err(BackupError::Damaged("its description is too long".to_owned()));
    }
    let mut text = vec![0; length];
    opening.fill(&mut text)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_other_fields| BackupError::Newer(header.engine.clone()))?;

    let writing = || BackupError::files(format!("{} cannot be written", into.display()));
    let mut database = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into).map_err(writing())?;
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let some = opening.some(&mut buffer)?;
        if some == 0 {
            break;
        }
        database.write_all(&buffer[..some]).map_err(writing())?;
        bytes += some as u64;
    }
    if bytes != manifest.bytes {
        return Err(BackupError::Damaged("its database has another length".to_owned()));
    }
    database.sync_all().map_err(writing())?;
    Ok((manifest, header.created_at))
}

/// Returns the keys that the values in a backup are under.
pub(super) fn key_of(manifest: &Manifest) -> Result<EncryptionKey, BackupError> {
    let damaged = || BackupError::Damaged("its keys cannot be read".to_owned());
    let keys: Option<Vec<[u8; 32]>> = manifest.keys.iter().map(|text| unhex(text)).collect();
    let keys = keys.ok_or_else(damaged)?;
    let (current, older) = keys.split_first().ok_or_else(damaged)?;
    Ok(older.iter().fold(EncryptionKey::new(*current), |key, older| key.and_older(*older)))
}

/// Reads a key in hexadecimal.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}
