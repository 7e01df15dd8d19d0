//! Putting every encrypted value under another key.
//!
//! Whoever opens the database meanwhile, after a crash, needs both keys: each value names its own. Values are rewritten in small
//! transactions, so that a crash at any moment leaves each of them under one key or the other.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use holdfast_core::id::InstanceId;

use super::snapshot::open;
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, EncryptionKey, Place};
use crate::store::envelope::{self, Creds, is_foreign};
use crate::store::failure::Failure;
use crate::store::sqlite::sql::{CHECK_KEY, CHECK_TEXT, check_key_of, migrations};

/// Values in one transaction.
const PAGE: i64 = 200;
const DOING: &str = "changing the key of the database";

/// How a rotation went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Values that are under the current key from now on.
    pub rewritten: u64,
    /// Values that open with none of the keys. They stay as they are.
    pub unreadable: u64,
}

/// Puts every value of a database that nobody else uses under the current key.
///
/// # Errors
/// If the database does not open with these keys, or fails; what was rewritten until then stays.
pub fn rotate(database: &Path, key: &EncryptionKey) -> Result<Rotated, StoreError> {
    let cipher = Cipher::new(key);
    let mut conn = open(database)?;
    let rotate = |conn: &mut SqliteConnection| {
        // As in the store: a commit waits for the disk. What is overwritten must not remain in the file.
        conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
        migrations::migrate(conn)?;
        check_key_of(conn, &cipher)?;
        let rotated = under_current(conn, &cipher, true)?;
        conn.batch_execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(rotated)
    };
    rotate(&mut conn).map_err(|failure: Failure| failure.doing(DOING))
}

/// Looks at every encrypted value, and puts it under the current key if that is to be (`rewrite`).
pub(super) fn under_current(conn: &mut SqliteConnection, cipher: &Cipher, rewrite: bool) -> Result<Rotated, Failure> {
    let mut work = Work { cipher, rewrite, done: Rotated::default() };
    if rewrite {
        conn.immediate_transaction(|conn| check_value(conn, cipher))?;
    }
    work.pages(conn, Work::values)?;
    work.pages(conn, Work::devices)?;
    work.pages(conn, Work::archived)?;
    Ok(work.done)
}

/// Seals the check value anew. From then on the database opens with the current key alone as far as this value goes.
fn check_value(conn: &mut SqliteConnection, cipher: &Cipher) -> Result<(), Failure> {
    let sealed = cipher.seal(Place::Check, CHECK_TEXT)?;
    diesel::sql_query("UPDATE holdfast_meta SET value = ? WHERE key = ?")
        .bind::<Binary, _>(sealed)
        .bind::<Text, _>(CHECK_KEY)
        .execute(conn)?;
    Ok(())
}

struct Work<'c> {
    cipher: &'c Cipher,
    rewrite: bool,
    done: Rotated,
}

/// Where the next page begins.
type Position = (String, String, String, i64);

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = Text)]
    category: String,
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = Binary)]
    value: Vec<u8>,
}

impl Row {
    fn position(&self) -> Position {
        (self.instance_id.clone(), self.category.clone(), self.key.clone(), self.id)
    }
}

impl Work<'_> {
    /// Goes through a table, one transaction for each page.
    fn pages(
        &mut self,
        conn: &mut SqliteConnection,
        page: impl Fn(&mut Self, &mut SqliteConnection, &Position) -> Result<Option<Position>, Failure>,
    ) -> Result<(), Failure> {
        let mut after = Position::default();
        // A read alone must not take the lock of a database in use.
        loop {
            let last = if self.rewrite {
                conn.immediate_transaction(|conn| page(self, conn, &after))?
            } else {
                page(self, conn, &after)?
            };
            let Some(last) = last else { return Ok(()) };
            after = last;
        }
    }

    fn values(&mut self, conn: &mut SqliteConnection, after: &Position) -> Result<Option<Position>, Failure> {
        let rows: Vec<Row> = diesel::sql_query(
            "SELECT 0 AS id, instance_id, category, key, value FROM holdfast_session_value \
             WHERE (instance_id, category, key) > (?, ?, ?) ORDER BY instance_id, category, key LIMIT ?",
        )
        .bind::<Text, _>(&after.0)
        .bind::<Text, _>(&after.1)
        .bind::<Text, _>(&after.2)
        .bind::<BigInt, _>(PAGE)
        .load(conn)?;
        for row in &rows {
            let instance = InstanceId::new(&row.instance_id);
            let place = Place::Value { instance: &instance, category: &row.category, key: &row.key };
            if let Some(sealed) = self.value(place, &row.value)? {
                diesel::sql_query(
                    "UPDATE holdfast_session_value SET value = ? WHERE instance_id = ? AND category = ? AND key = ?",
                )
                .bind::<Binary, _>(sealed)
                .bind::<Text, _>(&row.instance_id)
                .bind::<Text, _>(&row.category)
                .bind::<Text, _>(&row.key)
                .execute(conn)?;
            }
        }
        Ok(rows.last().map(Row::position))
    }

    fn devices(&mut self, conn: &mut SqliteConnection, after: &Position) -> Result<Option<Position>, Failure> {
        let rows: Vec<Row> = diesel::sql_query(
            r#"SELECT 0 AS id, "sessionId" AS instance_id, '' AS category, '' AS key, CAST("creds" AS BLOB) AS value
               FROM "Session" WHERE "creds" IS NOT NULL AND "sessionId" > ? ORDER BY "sessionId" LIMIT ?"#,
        )
        .bind::<Text, _>(&after.0)
        .bind::<BigInt, _>(PAGE)
        .load(conn)?;
        for row in &rows {
            if let Some(text) = self.envelope(&row.instance_id, &row.value)? {
                diesel::sql_query(r#"UPDATE "Session" SET "creds" = ? WHERE "sessionId" = ?"#)
                    .bind::<Text, _>(text)
                    .bind::<Text, _>(&row.instance_id)
                    .execute(conn)?;
            }
        }
        Ok(rows.last().map(Row::position))
    }

    fn archived(&mut self, conn: &mut SqliteConnection, after: &Position) -> Result<Option<Position>, Failure> {
        let rows: Vec<Row> = diesel::sql_query(
            "SELECT id, instance_id, category, key, value FROM holdfast_archive WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind::<BigInt, _>(after.3)
        .bind::<BigInt, _>(PAGE)
        .load(conn)?;
        for row in &rows {
            let sealed = if row.category == "creds" {
                self.envelope(&row.instance_id, &row.value)?.map(String::into_bytes)
            } else {
                let instance = InstanceId::new(&row.instance_id);
                self.value(Place::Value { instance: &instance, category: &row.category, key: &row.key }, &row.value)?
            };
            if let Some(sealed) = sealed {
                diesel::sql_query("UPDATE holdfast_archive SET value = ? WHERE id = ?")
                    .bind::<Binary, _>(sealed)
                    .bind::<BigInt, _>(row.id)
                    .execute(conn)?;
            }
        }
        Ok(rows.last().map(Row::position))
    }

    /// Returns a value as it is to be stored, if that is to change.
    fn value(&mut self, place: Place<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        if self.rewrite && self.cipher.is_current(sealed) {
            return Ok(None);
        }
        let Ok(plain) = self.cipher.open(place, sealed) else {
            self.done.unreadable += 1;
            return Ok(None);
        };
        if !self.rewrite {
            return Ok(None);
        }
        self.done.rewritten += 1;
        Ok(Some(self.cipher.seal(place, &plain)?))
    }

    /// Does the same for the text of a device. Another program's is none of ours.
    fn envelope(&mut self, instance: &str, bytes: &[u8]) -> Result<Option<String>, Failure> {
        let text = String::from_utf8_lossy(bytes);
        if is_foreign(&text) || (self.rewrite && envelope::is_current(self.cipher, &text)) {
            return Ok(None);
        }
        let instance = InstanceId::new(instance);
        let Ok(Creds::Device(device)) = envelope::unwrap(self.cipher, &instance, &text) else {
            self.done.unreadable += 1;
            return Ok(None);
        };
        if !self.rewrite {
            return Ok(None);
        }
        self.done.rewritten += 1;
        Ok(Some(envelope::wrap(self.cipher, &instance, &device)?))
    }
}
