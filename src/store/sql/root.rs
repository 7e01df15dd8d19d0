//! The queries, written once. This file and those beside it are compiled as a part of each database, because diesel's queries belong to
//! one kind of connection: what a database is, they see through their parent's `dialect` (its connection, its backend, its store, and the
//! few words in which it differs).
//!
//! A store that has them as a part gives them `read`, `write` and `lease`, and its `id`, `cipher`, `member`, `appended`, `changes` and
//! `reported`.
//!
//! All of it blocks: a whole job runs on one blocking thread, never one statement.

mod adopting;
mod archive;
mod copies;
mod dead_letters;
mod departed;
pub(super) mod group;
pub(super) mod housekeeping;
mod instances;
mod leases;
mod losses;
pub(super) mod migrations;
mod neighbours;
pub(super) mod outbox;
mod proxies;
mod queue;
mod sends;
mod sessions;
mod settings;
mod standing;
mod values;
mod webhooks;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::upsert::excluded;
use holdfast_core::id::{DatabaseId, InstanceId};

use self::group::{Lane, Tx};
use super::dialect::{self, Backend, Conn, Database};
use crate::failpoint::reach;
use crate::ports::changes::Change;
use crate::ports::clock::Clock;
use crate::ports::store::StoreError;
use crate::store::Retention;
use crate::store::cipher::{Cipher, Place};
use crate::store::failure::{Failure, corrupt};
use crate::store::member::Member;
use crate::store::schema::holdfast_meta;

pub(super) const CHECK_KEY: &str = "key_check";
pub(super) const CHECK_TEXT: &[u8] = b"holdfast";

/// What no other node that lives is connected for is closed.
const CLOSE: &str = r#"
    UPDATE "Instance" SET "connectionStatus" = 'close' WHERE "clientName" = $1 AND "connectionStatus" <> 'close'
      AND NOT EXISTS (SELECT 1 FROM holdfast_session s JOIN holdfast_node n ON n.client_name = $1 AND n.name = s.lease_node
        WHERE s.instance_id = "Instance"."id" AND n.name <> $2 AND n.expires_ms > NOW_MS)"#;

impl Database {
    /// Submits a job that changes what a copy of this instance holds: whoever keeps copies is told of it.
    async fn change<T: Send + 'static>(
        &self,
        doing: &'static str,
        id: &InstanceId,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.noted(doing, (id.clone(), Change::Content), work).await
    }

    /// Does the same for a job that ends a login or an instance.
    async fn end<T: Send + 'static>(
        &self,
        doing: &'static str,
        id: &InstanceId,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.noted(doing, (id.clone(), Change::End), work).await
    }

    async fn noted<T: Send + 'static>(
        &self,
        doing: &'static str,
        changed: (InstanceId, Change),
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lane = Lane::of(&changed.0);
        let noting = move |tx: &mut Tx<'_>| {
            let done = work(tx)?;
            tx.changed.push(changed);
            Ok(done)
        };
        self.write(doing, lane, noting).await
    }
}

/// Makes the rows of a database in shape true, before anybody reads them; returns which database it is.
pub(super) fn prepare(
    conn: &mut Conn,
    cipher: &Cipher,
    member: &Member,
    clock: Clock,
    retention: &Retention,
) -> Result<DatabaseId, StoreError> {
    let prepared = dialect::exclusively(conn, |conn| {
        let mut tx = Tx { conn, now: clock.wall(), queued: 0, changed: Vec::new() };
        check_key(&mut tx, cipher)?;
        reach!("open.key-checked");
        leases::begin(tx.conn)?;
        // Only a living process knows that a connection is open, and this one has none yet.
        diesel::sql_query(CLOSE.replace("NOW_MS", dialect::NOW_MS))
            .bind::<Text, _>(&member.client_name)
            .bind::<Text, _>(&member.node)
            .execute(tx.conn)?;
        housekeeping::prune(&mut tx, retention)?;
        neighbours::own(&mut tx)
    });
    prepared.map_err(|failure: Failure| failure.doing("preparing the database"))
}

/// Recognises a wrong key at once, rather than at the first value that does not open.
fn check_key(tx: &mut Tx<'_>, cipher: &Cipher) -> Result<(), Failure> {
    if check_key_of(tx.conn, cipher)? {
        return Ok(());
    }
    let row = (holdfast_meta::key.eq(CHECK_KEY), holdfast_meta::value.eq(cipher.seal(Place::Check, CHECK_TEXT)?));
    diesel::insert_into(holdfast_meta::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Errs if the database is under another key; false if it is under none yet.
pub(super) fn check_key_of(conn: &mut Conn, cipher: &Cipher) -> Result<bool, Failure> {
    let found: Option<Vec<u8>> =
        holdfast_meta::table.find(CHECK_KEY).select(holdfast_meta::value).first(conn).optional()?;
    let Some(sealed) = found else { return Ok(false) };
    cipher.open(Place::Check, &sealed).map_err(|error| corrupt(Place::Check, error))?;
    Ok(true)
}

/// Writes a row and reads it back.
pub(super) async fn ping(database: &Database) -> Result<(), StoreError> {
    let write = |tx: &mut Tx<'_>| {
        let row = (holdfast_meta::key.eq("ping"), holdfast_meta::value.eq(tx.now_ms().to_string().into_bytes()));
        diesel::insert_into(holdfast_meta::table)
            .values(row)
            .on_conflict(holdfast_meta::key)
            .do_update()
            .set(holdfast_meta::value.eq(excluded(holdfast_meta::value)))
            .execute(tx.conn)?;
        holdfast_meta::table.find("ping").select(holdfast_meta::value).first::<Vec<u8>>(tx.conn)?;
        Ok(())
    };
    database.write("looking whether the database answers", Lane::ANY, write).await
}
