//! A backup on its way into a database: decrypted, in this version's shape, under the key in use, its logins renewed.
//!
//! All of this happens to the copy, so that what follows is one short transaction or one rename.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use holdfast_core::id::{InstanceId, Revision};
use holdfast_core::restored::{Fate, REVISIONS_PASSED_OVER, fate, may_be_own_sender_key};
use secrecy::SecretString;

use super::backup::{key_of, unhex, unpack};
use super::manifest::Summary;
use super::snapshot::{WorkFolder, look, open, sync};
use super::{BackupError, rotation};
use crate::ports::restore::{Renewal, RestoreError};
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, EncryptionKey, Place};
use crate::store::envelope::{self, Creds};
use crate::store::failure::{Failure, unreadable};
use crate::store::sqlite::sql::{CHECK_KEY, CHECK_TEXT, check_key_of, migrations};

const FILE: &str = "restore.db";
/// The row of `holdfast_meta` by which a running engine recognises what was prepared for it.
const RESTORE_ID: &str = "restore_id";
const DOING: &str = "preparing the backup";

/// A backup, and the database that it is to become or to join.
pub struct StagingRequest<'a> {
    /// The backup.
    pub file: &'a Path,
    /// Opens it.
    pub passphrase: &'a SecretString,
    /// The key of the database that it joins.
    pub key: &'a [u8; 32],
    /// Whose instances they are from now on.
    pub client_name: &'a str,
    /// Renews the logins.
    pub renewal: &'a dyn Renewal,
    /// The time from which waiting deliveries are due, in Unix milliseconds.
    pub now_ms: i64,
}

/// A backup that is ready to be taken in.
pub struct Staged {
    pub(super) path: PathBuf,
    /// By which a running engine finds it.
    pub id: String,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// What is in it.
    pub summary: Summary,
    /// The API key that came with it.
    pub api_key: Option<SecretString>,
}

/// Prepares a backup in the folder.
///
/// # Errors
/// If it cannot be used; nothing but the folder was touched.
pub fn stage(request: &StagingRequest<'_>, work: &WorkFolder) -> Result<Staged, BackupError> {
    let path = work.file(FILE);
    let (manifest, created_at) = unpack(request.file, request.passphrase, &path)?;
    let theirs = key_of(&manifest)?;
    let mut conn = open(&path)?;
    conn.batch_execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;")
        .map_err(|error| Failure::from(error).doing(DOING))?;
    let found = look(&mut conn, &Cipher::new(&theirs)).map_err(|failure| failure.doing(DOING))?;
    if found != manifest.summary {
        return Err(BackupError::Damaged("its rows are not those that were written".to_owned()));
    }
    match migrations::migrate(&mut conn) {
        Err(StoreError::Corrupt { .. }) => return Err(BackupError::Newer("its database".to_owned())),
        migrated => migrated?,
    }
    let keys: Vec<[u8; 32]> = manifest.keys.iter().filter_map(|text| unhex(text)).collect();
    let both = keys.iter().fold(EncryptionKey::new(*request.key), |key, theirs| key.and_older(*theirs));
    let id = uuid::Uuid::new_v4().to_string();
    let prepare = |conn: &mut SqliteConnection| -> Result<(), Failure> {
        let cipher = Cipher::new(&both);
        check_key_of(conn, &cipher)?;
        rotation::under_current(conn, &cipher, true)?;
        conn.transaction(|conn| {
            renew(conn, &cipher, request.renewal)?;
            make_ours(conn, &cipher, &manifest.client_name, request, &id)
        })
    };
    prepare(&mut conn).map_err(|failure| failure.doing(DOING))?;
    drop(conn);
    sync(&path)?;
    let api_key = manifest.api_key.map(SecretString::from);
    Ok(Staged { path, id, created_at, summary: found, api_key })
}

/// Finds what a command has prepared beside the database of this engine.
///
/// # Errors
/// If there is nothing under this id, or if it is not for this key.
pub fn prepared(database: &Path, id: &str, key: &EncryptionKey) -> Result<Staged, RestoreError> {
    let path = WorkFolder::of(database).join(FILE);
    if !path.exists() {
        return Err(RestoreError::NothingPrepared);
    }
    let mut conn = open(&path)?;
    let read = |conn: &mut SqliteConnection| -> Result<Option<String>, Failure> {
        let found: Option<Value> =
            diesel::sql_query("SELECT CAST(value AS TEXT) AS text FROM holdfast_meta WHERE key = ?")
                .bind::<Text, _>(RESTORE_ID)
                .get_result(conn)
                .optional()?;
        Ok(found.map(|found| found.text))
    };
    let found = read(&mut conn).map_err(|failure| failure.doing("reading what was prepared"))?;
    if found.as_deref() != Some(id) {
        return Err(RestoreError::NothingPrepared);
    }
    migrations::migrate(&mut conn)
        .map_err(|_newer| RestoreError::Unfit("the command is of a newer version than the engine".to_owned()))?;
    check_key_of(&mut conn, &Cipher::new(key)).map_err(|_other_key| {
        RestoreError::Unfit("the command has used another session key than the engine".to_owned())
    })?;
    let (created_at, summary) = (String::new(), Summary::default());
    Ok(Staged { path, id: id.to_owned(), created_at, summary, api_key: None })
}

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    text: String,
}

#[derive(QueryableByName)]
struct Device {
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = Text)]
    creds: String,
}

#[derive(QueryableByName)]
struct Key {
    #[diesel(sql_type = Text)]
    category: String,
    #[diesel(sql_type = Text)]
    key: String,
}

/// Lets each login go on with its identity and without its ratchets.
fn renew(conn: &mut SqliteConnection, cipher: &Cipher, renewal: &dyn Renewal) -> Result<(), Failure> {
    let devices: Vec<Device> = diesel::sql_query(
        r#"SELECT "sessionId" AS instance_id, "creds" AS creds FROM "Session" WHERE "creds" IS NOT NULL"#,
    )
    .load(conn)?;
    let ours = devices.into_iter().filter(|device| !envelope::is_foreign(&device.creds));
    for Device { instance_id, creds } in ours {
        let id = InstanceId::new(&instance_id);
        let own = match envelope::unwrap(cipher, &id, &creds)? {
            Creds::Foreign => continue,
            Creds::Device(device) => {
                let renewed = renewal
                    .renew(&device)
                    .map_err(|error| unreadable(Place::Device { instance: &id }.describe(), error))?;
                let text = envelope::wrap(cipher, &id, &renewed.device)?;
                diesel::sql_query(r#"UPDATE "Session" SET "creds" = ? WHERE "sessionId" = ?"#)
                    .bind::<Text, _>(text)
                    .bind::<Text, _>(&instance_id)
                    .execute(conn)?;
                for write in renewed.writes {
                    let Some(plain) = write.value else { continue };
                    let place = Place::Value { instance: &id, category: write.category, key: &write.key };
                    diesel::sql_query("INSERT OR REPLACE INTO holdfast_session_value VALUES (?, ?, ?, ?, ?)")
                        .bind::<Text, _>(&instance_id)
                        .bind::<Text, _>(write.category)
                        .bind::<Text, _>(&write.key)
                        .bind::<diesel::sql_types::Binary, _>(cipher.seal(place, &plain)?)
                        .bind::<diesel::sql_types::Nullable<BigInt>, _>(write.expires_at)
                        .execute(conn)?;
                }
                renewed.own
            }
        };
        give_up(conn, &instance_id, &own)?;
    }
    // What has no login any more has no use for its values either.
    conn.batch_execute(
        r#"DELETE FROM holdfast_session_value WHERE instance_id NOT IN
           (SELECT "sessionId" FROM "Session" WHERE "creds" IS NOT NULL)"#,
    )?;
    Ok(())
}

fn give_up(conn: &mut SqliteConnection, instance: &str, own: &[String]) -> Result<(), Failure> {
    let keys: Vec<Key> = diesel::sql_query("SELECT category, key FROM holdfast_session_value WHERE instance_id = ?")
        .bind::<Text, _>(instance)
        .load(conn)?;
    for Key { category, key } in keys {
        let kept = match fate(&category) {
            Some(Fate::Kept) => true,
            Some(Fate::KeptIfOthers) => !may_be_own_sender_key(&key, own),
            // What nobody has decided about may be a ratchet.
            Some(Fate::GivenUp) | None => false,
        };
        if !kept {
            diesel::sql_query("DELETE FROM holdfast_session_value WHERE instance_id = ? AND category = ? AND key = ?")
                .bind::<Text, _>(instance)
                .bind::<Text, _>(category)
                .bind::<Text, _>(key)
                .execute(conn)?;
        }
    }
    Ok(())
}

/// Makes the copy a database of this installation: nobody owns its sessions, and its deliveries begin anew.
fn make_ours(
    conn: &mut SqliteConnection,
    cipher: &Cipher,
    theirs: &str,
    request: &StagingRequest<'_>,
    id: &str,
) -> Result<(), Failure> {
    diesel::sql_query(r#"UPDATE "Instance" SET "clientName" = ? WHERE "clientName" = ?"#)
        .bind::<Text, _>(request.client_name)
        .bind::<Text, _>(theirs)
        .execute(conn)?;
    diesel::sql_query(r#"UPDATE "Instance" SET "connectionStatus" = 'close'"#).execute(conn)?;
    // As `Mark::begun_at` says: no copy of what came after the backup is later than what an operator brings back.
    let begun = Revision::begun_at(u64::try_from(request.now_ms).unwrap_or_default(), Revision(0));
    diesel::sql_query(
        "UPDATE holdfast_session \
         SET revision = CASE WHEN revision < ?2 THEN ?2 ELSE revision + ?1 END, epoch = epoch + ?1, \
         lease_node = NULL, lease_ended_at = NULL",
    )
    .bind::<BigInt, _>(REVISIONS_PASSED_OVER)
    .bind::<BigInt, _>(begun.0 as i64)
    .execute(conn)?;
    diesel::sql_query("UPDATE holdfast_outbox SET attempts = 0, due_ms = ?1, waiting_ms = ?1 WHERE state = 'pending'")
        .bind::<BigInt, _>(request.now_ms)
        .execute(conn)?;
    for (name, value) in [(RESTORE_ID, id.as_bytes().to_vec()), (CHECK_KEY, cipher.seal(Place::Check, CHECK_TEXT)?)] {
        diesel::sql_query("INSERT OR REPLACE INTO holdfast_meta VALUES (?, ?)")
            .bind::<Text, _>(name)
            .bind::<diesel::sql_types::Binary, _>(value)
            .execute(conn)?;
    }
    Ok(())
}

impl Drop for Staged {
    fn drop(&mut self) {
        // It was taken in, or never will be.
        let _renamed = fs::remove_file(&self.path);
    }
}
