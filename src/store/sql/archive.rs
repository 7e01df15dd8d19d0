//! What is set aside instead of erased: sessions that ended, credentials that were replaced.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use holdfast_core::id::InstanceId;

use super::Tx;
use super::instances::ensure_session;
use super::sessions::creds;
use crate::failpoint::reach;
use crate::store::envelope::is_foreign;
use crate::store::failure::Failure;
use crate::store::schema::{holdfast_archive, holdfast_session, holdfast_session_value, session};

/// The category of a text of `Session.creds`; no value has it.
const CREDS: &str = "creds";

/// Moves the device and all values to the archive, as they are, marks the session unpaired and ends its epoch.
pub(super) fn session(tx: &mut Tx<'_>, id: &InstanceId, reason: &str) -> Result<(), Failure> {
    ensure_session(tx, id)?;
    // Another program's credentials are not this session's: they stay.
    if let Some(text) = creds(tx.conn, id)?.filter(|text| !is_foreign(text)) {
        set_aside(tx, id, reason, &text)?;
        diesel::delete(session::table.filter(session::session_id.eq(id.as_str()))).execute(tx.conn)?;
    }
    diesel::sql_query(
        "INSERT INTO holdfast_archive (instance_id, archived_at, reason, category, key, value) \
         SELECT instance_id, $1, $2, category, key, value FROM holdfast_session_value WHERE instance_id = $3",
    )
    .bind::<BigInt, _>(tx.now_ms())
    .bind::<Text, _>(reason)
    .bind::<Text, _>(id.as_str())
    .execute(tx.conn)?;
    let values = holdfast_session_value::table.filter(holdfast_session_value::instance_id.eq(id.as_str()));
    diesel::delete(values).execute(tx.conn)?;
    reach!("archive.moved");
    // Its node goes on owning it, in an epoch that nobody has: what the link of the ended login still writes must not bring anything back.
    let ended = (
        holdfast_session::paired.eq(false),
        holdfast_session::revision.eq(holdfast_session::revision + 1),
        holdfast_session::epoch.eq(holdfast_session::epoch + 1),
    );
    diesel::update(holdfast_session::table.find(id.as_str())).set(ended).execute(tx.conn)?;
    Ok(())
}

/// Copies another program's credentials before they are replaced.
pub(super) fn foreign(tx: &mut Tx<'_>, id: &InstanceId, text: &str) -> Result<(), Failure> {
    set_aside(tx, id, "foreign", text)
}

fn set_aside(tx: &mut Tx<'_>, id: &InstanceId, reason: &str, text: &str) -> Result<(), Failure> {
    let row = (
        holdfast_archive::instance_id.eq(id.as_str()),
        holdfast_archive::archived_at.eq(tx.now_ms()),
        holdfast_archive::reason.eq(reason),
        holdfast_archive::category.eq(CREDS),
        holdfast_archive::key.eq(""),
        holdfast_archive::value.eq(text.as_bytes()),
    );
    diesel::insert_into(holdfast_archive::table).values(row).execute(tx.conn)?;
    Ok(())
}
