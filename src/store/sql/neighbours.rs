//! What tells this database from others, and which of those were seen at the same places.

use std::time::Duration;

use diesel::prelude::*;
use holdfast_core::id::DatabaseId;

use super::{Conn, Tx};
use crate::store::failure::Failure;
use crate::store::schema::{holdfast_meta, holdfast_session};

const OWN: &str = "database_id";
/// How the keys of the others begin.
const KEY: &str = "neighbour/";
/// How long another one is remembered that is not seen any more: its logins may come over then.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Returns the name of this database, which it has from its first moment.
pub(super) fn own(tx: &mut Tx<'_>) -> Result<DatabaseId, Failure> {
    let found: Option<Vec<u8>> =
        holdfast_meta::table.find(OWN).select(holdfast_meta::value).first(tx.conn).optional()?;
    let found = found.and_then(|bytes| DatabaseId::parse(std::str::from_utf8(&bytes).ok()?));
    if let Some(found) = found {
        return Ok(found);
    }
    let fresh = DatabaseId::of(uuid::Uuid::new_v4().into_bytes());
    put(tx.conn, OWN, fresh.as_str())?;
    Ok(fresh)
}

/// Notes that another one lives, if there is a login here: then it is none that comes before or after this one.
pub(super) fn note(tx: &mut Tx<'_>, other: &DatabaseId) -> Result<bool, Failure> {
    let logins = holdfast_session::table.filter(holdfast_session::paired.eq(true));
    let has_logins: bool = diesel::select(diesel::dsl::exists(logins)).get_result(tx.conn)?;
    if has_logins {
        let now = tx.now_ms().to_string();
        put(tx.conn, &format!("{KEY}{}", other.as_str()), &now)?;
    }
    Ok(has_logins)
}

/// Lists the others that were seen lately.
pub(super) fn list(conn: &mut Conn, now_ms: i64) -> Result<Vec<DatabaseId>, Failure> {
    // The next letter after the stroke: a range over the primary key.
    let keys = holdfast_meta::table.filter(holdfast_meta::key.ge(KEY)).filter(holdfast_meta::key.lt("neighbour0"));
    let rows: Vec<(String, Vec<u8>)> = keys.select((holdfast_meta::key, holdfast_meta::value)).load(conn)?;
    let since = now_ms - REMEMBERED.as_millis() as i64;
    let lately = |bytes: &[u8]| {
        let seen: Option<i64> = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        seen.is_some_and(|seen| seen >= since)
    };
    let recent = rows.iter().filter(|(_, seen)| lately(seen));
    Ok(recent.filter_map(|(key, _)| DatabaseId::parse(key.strip_prefix(KEY)?)).collect())
}

fn put(conn: &mut Conn, key: &str, value: &str) -> QueryResult<usize> {
    let value = holdfast_meta::value.eq(value.as_bytes());
    diesel::insert_into(holdfast_meta::table)
        .values((holdfast_meta::key.eq(key), value))
        .on_conflict(holdfast_meta::key)
        .do_update()
        .set(value)
        .execute(conn)
}
