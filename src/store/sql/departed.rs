//! Which instances an operator has deleted: a copy of one that a layer still holds must not come back as a login.

use diesel::prelude::*;
use holdfast_core::id::InstanceId;

use super::{Conn, Tx};
use crate::store::failure::Failure;
use crate::store::schema::{holdfast_meta, holdfast_session};

/// How the keys of these facts begin.
const KEY: &str = "deleted/";

fn key(id: &InstanceId) -> String {
    format!("{KEY}{id}")
}

/// Notes that an instance is being deleted, if it ever had a session that somebody may have a copy of.
pub(super) fn note(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Failure> {
    let written: Option<i64> =
        holdfast_session::table.find(id.as_str()).select(holdfast_session::revision).first(tx.conn).optional()?;
    if written.unwrap_or(0) == 0 {
        return Ok(());
    }
    let row = (holdfast_meta::key.eq(key(id)), holdfast_meta::value.eq(tx.now_ms().to_string().into_bytes()));
    diesel::insert_into(holdfast_meta::table).values(row).on_conflict_do_nothing().execute(tx.conn)?;
    Ok(())
}

/// Tells whether an instance was deleted.
pub(super) fn is(conn: &mut Conn, id: &InstanceId) -> Result<bool, Failure> {
    Ok(diesel::select(diesel::dsl::exists(holdfast_meta::table.find(key(id)))).get_result(conn)?)
}

/// Lists them all.
pub(super) fn list(conn: &mut Conn) -> Result<Vec<InstanceId>, Failure> {
    // The next letter after the stroke: a range over the primary key.
    let keys = holdfast_meta::table.filter(holdfast_meta::key.ge(KEY)).filter(holdfast_meta::key.lt("deleted0"));
    let found: Vec<String> = keys.order(holdfast_meta::key).select(holdfast_meta::key).load(conn)?;
    Ok(found.iter().filter_map(|key| key.strip_prefix(KEY)).map(InstanceId::new).collect())
}
