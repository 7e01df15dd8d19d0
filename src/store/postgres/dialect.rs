//! What the common queries see of this database: its types, and the words in which it differs from others.

use std::borrow::Cow;
use std::fmt::Write as _;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use holdfast_core::id::InstanceId;
use sha2::{Digest as _, Sha256};

pub(super) use super::PostgresStore as Database;
use crate::ports::session::MessageKey;
use crate::store::failure::Failure;
use crate::store::prepared::{self, prepared, value};
use crate::store::rows::NewValue;

/// A connection that blocks its thread, which is one of the runtime's blocking threads.
pub(super) type Conn = AsyncConnectionWrapper<AsyncPgConnection>;
pub(super) type Backend = diesel::pg::Pg;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Begins a transaction that writes. Each statement sees what others have finished before it.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Whether several processes may share it.
pub(super) const SHARED: bool = true;

/// The time by its clock, in Unix milliseconds: that of the statement, whenever its transaction began.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Lets nobody change what a statement has found.
pub(super) const FOR_SHARE: &str = " FOR SHARE";

/// Holds what a statement finds, and passes over what others hold.
pub(super) const PASSING_OVER: &str = "FOR UPDATE SKIP LOCKED";
/// The same for sessions, called "s".
pub(super) const PASSING_OVER_SESSIONS: &str = "FOR UPDATE OF s SKIP LOCKED";
/// Finds only instances, called "i", that nobody is about to delete.
pub(super) const STANDING_INSTANCES: &str = "FOR KEY SHARE OF i SKIP LOCKED";

/// Leaves only what this node ($1, of the installation $2) has to deliver: the rows of its instances. Those of an instance that is gone go to
/// the node that has deleted it, or, when that is gone too, to the first one that lives.
pub(super) const OURS: &str = r#"
    LEFT JOIN "Instance" present ON present."id" = waits.instance_id
    LEFT JOIN holdfast_session held ON held.instance_id = waits.instance_id
    WHERE CASE WHEN present."id" IS NOT NULL THEN held.lease_node = $1 AND present."clientName" = $2
      ELSE coalesce((SELECT last.client_name FROM holdfast_outbox last WHERE last.seq = waits.seq), $2) = $2 AND coalesce(
        (SELECT n.name FROM holdfast_outbox last JOIN holdfast_node n ON n.client_name = $2 AND n.name = last.deleted_by
          WHERE last.seq = waits.seq AND n.expires_ms > NOW_MS),
        (SELECT min(n.name) FROM holdfast_node n WHERE n.client_name = $2 AND n.expires_ms > NOW_MS)) = $1 END"#;

/// Joins each lane with the oldest row that waits in it. Written so, it is a look into the index for each, also before anything is known of
/// the table.
pub(super) const OLDEST: &str = "\
    CROSS JOIN LATERAL (SELECT o.seq, o.instance_id, o.due_ms, o.tries FROM holdfast_outbox o \
      WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.instance_id = lane.id ORDER BY o.seq LIMIT 1) waits";

/// Runs in a transaction that writes.
pub(super) fn exclusively<T>(
    conn: &mut Conn,
    work: impl FnOnce(&mut Conn) -> Result<T, Failure>,
) -> Result<T, Failure> {
    conn.transaction(work)
}

/// Returns the statement that reads the numbers in a parameter, a JSON list.
pub(super) fn numbers(parameter: &str) -> String {
    format!("SELECT value::bigint FROM jsonb_array_elements_text({parameter}::jsonb)")
}

/// Returns the statement that reads the texts in a parameter, a JSON list.
pub(super) fn texts(parameter: &str) -> String {
    format!("SELECT value FROM jsonb_array_elements_text({parameter}::jsonb)")
}

/// Tells whether no other process cleans up at the moment; none will, before this transaction has ended.
pub(super) fn cleans_alone(conn: &mut Conn) -> QueryResult<bool> {
    let alone = "pg_try_advisory_xact_lock(hashtextextended('holdfast cleans ' || current_schema(), 0))";
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(alone)).get_result(conn)
}

/// Values in one statement.
const CHUNK: usize = 500;

/// The statement of [`put`].
struct Put;

impl prepared::Text for Put {
    const SQL: &'static [&'static str] = &["\
        INSERT INTO holdfast_session_value (instance_id, category, key, value, expires_at) \
        SELECT ?, new.category, new.key, new.value, new.expires_at \
          FROM unnest(?::text[], ?::text[], ?::bytea[], ?::bigint[]) AS new (category, key, value, expires_at) \
        ON CONFLICT (instance_id, category, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"];
    type Row = ();
}

/// Inserts values of a session, or replaces them: in one statement, because each may be a way over the network. No key comes twice.
pub(super) fn put(conn: &mut Conn, id: &InstanceId, rows: Vec<NewValue<'_>>) -> QueryResult<()> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let (mut categories, mut keys, mut values, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for NewValue { category, key, value, expires_at } in rows.by_ref().take(CHUNK) {
            categories.push(category);
            keys.push(key);
            values.push(value);
            ends.push(expires_at);
        }
        let values = (
            value::<Text, _>(id.as_str()),
            value::<Array<Text>, _>(categories),
            value::<Array<Text>, _>(keys),
            value::<Array<Binary>, _>(values),
            value::<Array<Nullable<BigInt>>, _>(ends),
        );
        prepared(Put, values).execute(conn)?;
    }
    Ok(())
}

/// Returns a message's key as the columns can hold it. The id of a message is whatever its sender likes; a text here has no NUL, and an index
/// holds no long one.
pub(super) fn storable(key: &MessageKey) -> Cow<'_, MessageKey> {
    let MessageKey { chat, sender, id } = key;
    if [chat, sender, id].iter().all(|text| fits(text)) {
        return Cow::Borrowed(key);
    }
    let short = |text: &str| if fits(text) { text.to_owned() } else { fingerprint(text) };
    Cow::Owned(MessageKey { chat: short(chat), sender: short(sender), id: short(id) })
}

/// Letters of a text in an index. Three of them in one row are below what an index of PostgreSQL holds, whatever the letters.
const MOST_LETTERS: usize = 150;

fn fits(text: &str) -> bool {
    text.len() <= MOST_LETTERS && !text.contains('\0')
}

/// Returns a text of its own for each text.
fn fingerprint(text: &str) -> String {
    let begin: String = text.chars().filter(|letter| *letter != '\0').take(20).collect();
    Sha256::digest(text).iter().fold(format!("{begin}~"), |mut short, byte| {
        // Writing into a text cannot fail.
        let _written = write!(short, "{byte:02x}");
        short
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_kept_apart_and_usual_ones_are_kept() {
        let stored = |id: &str| {
            let key = MessageKey { chat: "a@s.whatsapp.net".to_owned(), sender: "b@lid".to_owned(), id: id.to_owned() };
            storable(&key).into_owned().id
        };
        assert_eq!(stored("3EB0C431C26A1916E07A"), "3EB0C431C26A1916E07A");
        let odd = ["a\0b", "ab\0", &"x".repeat(151), &"x".repeat(152), &"\u{10FFFF}".repeat(40)].map(stored);
        assert!(odd.iter().all(|id| fits(id) && id.contains('~')), "{odd:?}");
        assert!((1..odd.len()).all(|at| !odd[..at].contains(&odd[at])), "{odd:?}");
    }
}
