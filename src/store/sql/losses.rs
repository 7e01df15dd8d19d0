//! Messages that came without their content.

use diesel::prelude::*;
use holdfast_core::id::InstanceId;

use super::instances::require;
use super::sessions::is_accepted;
use super::{Conn, Tx, dialect};
use crate::ports::session::{Loss, MessageKey, Unrecovered};
use crate::store::failure::Failure;
use crate::store::schema::holdfast_unrecovered as lost;

/// Notes a loss, or that the message came once more. One that was accepted meanwhile is no loss.
pub(super) fn note(tx: &mut Tx<'_>, id: &InstanceId, loss: &Loss) -> Result<(), Failure> {
    if !loss.given_up && is_accepted(tx.conn, id, &loss.key)? {
        return Ok(());
    }
    let key = dialect::storable(&loss.key);
    let (now_ms, why) = (tx.now_ms(), loss.why.as_str());
    let ended = loss.given_up.then_some(now_ms);
    let row = (
        lost::instance_id.eq(id.as_str()),
        lost::chat.eq(&key.chat),
        lost::sender.eq(&key.sender),
        lost::message_id.eq(&key.id),
        lost::why.eq(why),
        lost::since_ms.eq(now_ms),
        lost::times.eq(1),
        lost::given_up_ms.eq(ended),
    );
    diesel::insert_into(lost::table)
        .values(row)
        .on_conflict((lost::instance_id, lost::chat, lost::sender, lost::message_id))
        .do_update()
        .set((lost::times.eq(lost::times + 1), lost::why.eq(why), lost::given_up_ms.eq(ended)))
        .execute(tx.conn)?;
    Ok(())
}

/// Forgets a loss, because the message is here after all.
pub(super) fn forget(tx: &mut Tx<'_>, id: &InstanceId, message: &MessageKey) -> Result<(), Failure> {
    diesel::delete(lost::table.find((id.as_str(), &message.chat, &message.sender, &message.id))).execute(tx.conn)?;
    Ok(())
}

/// A message that is missing.
pub(super) struct Missing {
    pub(super) key: MessageKey,
    /// Whether it counts as accepted, though nobody was told what it said.
    pub(super) given_up: bool,
}

/// Returns what is missing under this id.
pub(super) fn named(tx: &mut Tx<'_>, id: &InstanceId, message: &str) -> Result<Vec<Missing>, Failure> {
    let rows = lost::table.filter(lost::instance_id.eq(id.as_str())).filter(lost::message_id.eq(message)).select((
        lost::chat,
        lost::sender,
        lost::given_up_ms.is_not_null(),
    ));
    let found: Vec<(String, String, bool)> = rows.load(tx.conn)?;
    let read = |(chat, sender, given_up)| {
        let key = MessageKey { chat, sender, id: message.to_owned() };
        Missing { key, given_up }
    };
    Ok(found.into_iter().map(read).collect())
}

/// Returns how often a message came without its content.
pub(super) fn times(conn: &mut Conn, id: &InstanceId, message: &MessageKey) -> Result<u32, Failure> {
    require(conn, id)?;
    let message = dialect::storable(message);
    let row = lost::table.find((id.as_str(), &message.chat, &message.sender, &message.id));
    let found: Option<i32> = row.select(lost::times).first(conn).optional()?;
    Ok(found.unwrap_or_default() as u32)
}

#[derive(Queryable)]
struct Row {
    instance: String,
    chat: String,
    sender: String,
    id: String,
    why: String,
    since_ms: i64,
    times: i32,
    given_up_ms: Option<i64>,
}

/// Reads the losses, the newest first.
pub(super) fn list(conn: &mut Conn, id: Option<&InstanceId>, limit: u32) -> Result<Vec<Unrecovered>, Failure> {
    let mut rows = lost::table.order(lost::since_ms.desc()).limit(i64::from(limit)).into_boxed();
    if let Some(id) = id {
        require(conn, id)?;
        rows = rows.filter(lost::instance_id.eq(id.as_str()));
    }
    let read = |row: Row| Unrecovered {
        instance: InstanceId::new(row.instance),
        key: MessageKey { chat: row.chat, sender: row.sender, id: row.id },
        why: row.why,
        since_ms: row.since_ms,
        times: row.times as u32,
        given_up_ms: row.given_up_ms,
    };
    Ok(rows.load(conn)?.into_iter().map(read).collect())
}
