//! What the common queries see of this database: its types, and the words in which it differs from others.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use holdfast_core::id::InstanceId;

pub(super) use super::SqliteStore as Database;
use crate::ports::session::MessageKey;
use crate::store::failure::Failure;
use crate::store::prepared::{self, prepared, value};
use crate::store::rows::NewValue;

pub(super) type Conn = SqliteConnection;
pub(super) type Backend = diesel::sqlite::Sqlite;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Begins a transaction that writes.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// Whether several processes may share it: the data directory is locked.
pub(super) const SHARED: bool = false;

/// The time in Unix milliseconds.
pub(super) const NOW_MS: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

/// What others hold: there is one writer.
pub(super) const FOR_SHARE: &str = "";
pub(super) const PASSING_OVER: &str = "";
pub(super) const PASSING_OVER_SESSIONS: &str = "";
pub(super) const STANDING_INSTANCES: &str = "";

/// Leaves only what this node has to deliver: everything.
pub(super) const OURS: &str = "";

/// Joins each lane with the oldest row that waits in it: in the order in which it is written, and over the index.
pub(super) const OLDEST: &str = "\
    CROSS JOIN holdfast_outbox waits INDEXED BY holdfast_outbox_pending \
      ON waits.state = 'pending' AND waits.sink = 'webhook' AND waits.instance_id = lane.id \
      AND waits.seq = (SELECT min(o.seq) FROM holdfast_outbox o \
        WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.instance_id = lane.id)";

/// Runs in a transaction that writes.
pub(super) fn exclusively<T>(
    conn: &mut Conn,
    work: impl FnOnce(&mut Conn) -> Result<T, Failure>,
) -> Result<T, Failure> {
    conn.immediate_transaction(work)
}

/// Returns the statement that reads the numbers in a parameter, a JSON list.
pub(super) fn numbers(parameter: &str) -> String {
    format!("SELECT value FROM json_each({parameter})")
}

/// Returns the statement that reads the texts in a parameter, a JSON list.
pub(super) fn texts(parameter: &str) -> String {
    numbers(parameter)
}

/// Tells whether no other process cleans up at the moment.
#[expect(clippy::unnecessary_wraps, reason = "as for the other kinds of database")]
pub(super) fn cleans_alone(_: &mut Conn) -> QueryResult<bool> {
    Ok(true)
}

/// Returns a message's key as the columns can hold it.
pub(super) fn storable(key: &MessageKey) -> Cow<'_, MessageKey> {
    Cow::Borrowed(key)
}

/// The statement of [`put`].
struct Put;

impl prepared::Text for Put {
    const SQL: &'static [&'static str] = &["\
        INSERT INTO holdfast_session_value (instance_id, category, key, value, expires_at) VALUES (?, ?, ?, ?, ?) \
        ON CONFLICT (instance_id, category, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"];
    type Row = ();
}

/// Inserts values of a session, or replaces them.
pub(super) fn put(conn: &mut Conn, id: &InstanceId, rows: Vec<NewValue<'_>>) -> QueryResult<()> {
    for NewValue { category, key, value: sealed, expires_at } in rows {
        let values = (
            value::<Text, _>(id.as_str()),
            value::<Text, _>(category),
            value::<Text, _>(key),
            value::<Binary, _>(sealed),
            value::<Nullable<BigInt>, _>(expires_at),
        );
        prepared(Put, values).execute(conn)?;
    }
    Ok(())
}
