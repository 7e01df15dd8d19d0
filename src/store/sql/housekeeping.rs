//! Forgetting what is kept only for a look back.

use std::time::Duration;

use chrono::TimeDelta;
use diesel::prelude::*;

use super::{Tx, dialect, queue};
use crate::store::Retention;
use crate::store::failure::Failure;
use crate::store::schema::{holdfast_accepted, holdfast_archive, holdfast_outbox, holdfast_send, holdfast_unrecovered};

/// How often it is done; it is done at the start, too.
pub(in crate::store) const EVERY: Duration = Duration::from_secs(60 * 60);

/// Removes what is older than its retention, unless somebody else is at it.
pub(super) fn prune(tx: &mut Tx<'_>, retention: &Retention) -> Result<(), Failure> {
    if !dialect::cleans_alone(tx.conn)? {
        return Ok(());
    }
    let now = tx.now;
    let before = |kept: Duration| {
        let start = TimeDelta::from_std(kept).ok().and_then(|kept| now.checked_sub_signed(kept));
        start.map_or(i64::MIN, |start| start.timestamp_millis())
    };
    let archived = holdfast_archive::table.filter(holdfast_archive::archived_at.lt(before(retention.archive)));
    diesel::delete(archived).execute(tx.conn)?;
    let dead = holdfast_outbox::table
        .filter(queue::dead())
        .filter(holdfast_outbox::dead_ms.lt(before(retention.dead_letters)));
    diesel::delete(dead).execute(tx.conn)?;
    let lost = holdfast_unrecovered::table.filter(holdfast_unrecovered::since_ms.lt(before(retention.dead_letters)));
    diesel::delete(lost).execute(tx.conn)?;
    let accepted = holdfast_accepted::table.filter(holdfast_accepted::accepted_at.lt(before(retention.accepted)));
    diesel::delete(accepted).execute(tx.conn)?;
    let sends = holdfast_send::table.filter(holdfast_send::created_at.lt(before(retention.sends)));
    diesel::delete(sends).execute(tx.conn)?;
    Ok(())
}
