//! Who may do what: whether this process is its node, whether another one lives, and what is refused to whom.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use holdfast_core::id::InstanceId;

use super::{Conn, Tx, dialect};
use crate::ports::store::StoreError;
use crate::store::failure::{Failure, unavailable};
use crate::store::member::Member;
use crate::store::prepared::{self, prepared, value};
use crate::store::schema::holdfast_session;

const NOTE_UNKNOWN: &str = r#"
    INSERT INTO holdfast_node (client_name, name, home, incarnation, version, joined_ms, seen_ms, expires_ms, draining)
    SELECT DISTINCT $1, s.lease_node, '', '', '', 0, 0, 0, FALSE FROM holdfast_session s JOIN "Instance" i ON i."id" = s.instance_id
    WHERE i."clientName" = $1 AND s.lease_node IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM holdfast_node n WHERE n.client_name = $1 AND n.name = s.lease_node)
    ORDER BY s.lease_node ON CONFLICT DO NOTHING"#;

/// Returns a statement in the words of this database.
pub(super) fn words(statement: &str, member: &Member) -> String {
    let ttl = i64::try_from(member.ttl.as_millis()).unwrap_or(i64::MAX);
    // Where the data directory is locked, nobody else counts how long that is.
    let expiry = if dialect::SHARED { format!("{} + {ttl}", dialect::NOW_MS) } else { i64::MAX.to_string() };
    statement.replace("EXPIRY", &expiry).replace("NOW_MS", dialect::NOW_MS)
}

/// What a node's row says of it, and the time at which it does.
#[derive(Queryable)]
pub(super) struct Standing {
    incarnation: String,
    expires_ms: i64,
    now_ms: i64,
}

macro_rules! standing {
    ($(#[$doc:meta])* $name:ident, $lock:expr) => {
        $(#[$doc])*
        pub(super) struct $name;
        impl prepared::Text for $name {
            const SQL: &'static [&'static str] = &[
                "SELECT incarnation, expires_ms, ",
                dialect::NOW_MS,
                " FROM holdfast_node WHERE client_name = ? AND name = ?",
                $lock,
            ];
            type Row = (Text, BigInt, BigInt);
        }
    };
}

standing!(
    /// The row as it is.
    AsItIs,
    ""
);
standing!(
    /// The same, and it stays so.
    AsItStays,
    dialect::FOR_SHARE
);

macro_rules! holder {
    ($(#[$doc:meta])* $name:ident, $rest:literal) => {
        $(#[$doc])*
        struct $name;
        impl prepared::Text for $name {
            const SQL: &'static [&'static str] = &["SELECT lease_node FROM holdfast_session WHERE instance_id = ?", $rest];
            type Row = (Nullable<Text>,);
        }
    };
}

holder!(
    /// Who holds a session.
    Holder,
    ""
);
holder!(
    /// The same, and nobody takes it meanwhile.
    FormerHolder,
    " FOR UPDATE"
);
holder!(
    /// This node, or nobody, and no other takes it meanwhile. It waits for nobody who has taken it already.
    Ours,
    " AND (lease_node = ? OR lease_node IS NULL) FOR SHARE"
);

/// Errs unless this node may take sessions.
pub(super) fn admit(tx: &mut Tx<'_>, member: &Member) -> Result<(), Failure> {
    if dialect::SHARED { stand(tx.conn, member, AsItIs) } else { Ok(()) }
}

/// Lets nobody take the session until this transaction has ended; returns the other node that owns it and lives.
pub(super) fn hold(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<Option<String>, Failure> {
    if !dialect::SHARED {
        return Ok(None);
    }
    let held = holder(tx.conn, id, FormerHolder)?.and_then(|(node,)| node).filter(|node| *node != member.node);
    match held {
        Some(by) if !is_dead(tx.conn, member, &by)? => Ok(Some(by)),
        Some(_) | None => Ok(None),
    }
}

/// Errs if another node owns the instance, and lets nobody take it until this transaction has ended: what a former owner still writes is not
/// kept. What nobody owns can be written.
pub(super) fn fence(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<(), Failure> {
    if !dialect::SHARED {
        return Ok(());
    }
    // Twice: one that was another's at first may be free at the second look, and nothing holds it yet.
    for _ in 0..2 {
        let own = prepared(Ours, (value::<Text, _>(id.as_str()), value::<Text, _>(member.node.as_str())));
        let ours: Option<Owner> = own.get_result(tx.conn).optional()?;
        // Without a row there is nothing to own.
        if ours.is_some() || holder(tx.conn, id, Holder)?.is_none() {
            return Ok(());
        }
    }
    Err(StoreError::FencedOff(id.clone()).into())
}

/// The same, if the other node lives.
pub(super) fn fence_living(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<(), Failure> {
    match hold(tx, member, id)? {
        Some(_) => Err(StoreError::FencedOff(id.clone()).into()),
        None => Ok(()),
    }
}

/// Who owns a session, if anybody does.
type Owner = (Option<String>,);

/// Returns the owner in a session's row, unless there is none.
fn holder<T: prepared::Text<Row = (Nullable<Text>,)>>(
    conn: &mut Conn,
    id: &InstanceId,
    holder: T,
) -> Result<Option<Owner>, Failure> {
    let row = prepared(holder, (value::<Text, _>(id.as_str()),));
    Ok(row.get_result(conn).optional()?)
}

/// Makes the instance this node's, which has just created it.
pub(super) fn own(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<(), Failure> {
    let owned = holdfast_session::lease_node.eq(&member.node);
    diesel::update(holdfast_session::table.find(id.as_str())).set(owned).execute(tx.conn)?;
    Ok(())
}

/// Tells whether a node's leases have ended; if so, it cannot revive them before this transaction has ended.
pub(super) fn is_dead(conn: &mut Conn, member: &Member, node: &str) -> Result<bool, Failure> {
    if !dialect::SHARED {
        // The lock on the data directory says so.
        return Ok(true);
    }
    // First without holding its row: one that lives has to renew it.
    match standing(conn, member, node, AsItIs)? {
        Some(row) if row.expires_ms > row.now_ms => return Ok(false),
        Some(_) => {}
        None => note_unknown(conn, member)?,
    }
    Ok(standing(conn, member, node, AsItStays)?.is_some_and(|row| row.expires_ms <= row.now_ms))
}

/// Notes nodes that own something and were never heard of, so that there is a row to hold.
pub(super) fn note_unknown(conn: &mut Conn, member: &Member) -> Result<(), Failure> {
    diesel::sql_query(NOTE_UNKNOWN).bind::<Text, _>(&member.client_name).execute(conn)?;
    Ok(())
}

/// Errs unless this process is its node, and alive.
pub(super) fn stand(conn: &mut Conn, member: &Member, look: impl Look) -> Result<(), Failure> {
    const DOING: &str = "taking instances";
    let Some(profile) = member.joined() else {
        return if dialect::SHARED { Err(has_not_joined(DOING)) } else { Ok(()) };
    };
    match standing(conn, member, &member.node, look)? {
        Some(row) if row.incarnation == profile.incarnation && row.expires_ms > row.now_ms => Ok(()),
        Some(row) if row.incarnation == profile.incarnation => {
            Err(unavailable(DOING, "the leases of this node have ended, and were not renewed yet").into())
        }
        Some(_) => Err(in_use(member)),
        None => Err(unavailable(DOING, "the others have forgotten this node, and it has not come back yet").into()),
    }
}

/// A way to look at a node's row.
pub(super) trait Look: prepared::Text<Row = (Text, BigInt, BigInt)> {}

impl<T: prepared::Text<Row = (Text, BigInt, BigInt)>> Look for T {}

pub(super) fn standing(
    conn: &mut Conn,
    member: &Member,
    node: &str,
    look: impl Look,
) -> Result<Option<Standing>, Failure> {
    let row = prepared(look, (value::<Text, _>(member.client_name.as_str()), value::<Text, _>(node)));
    Ok(row.get_result(conn).optional()?)
}

/// Tells whether this process is its node still, alive or not.
pub(super) fn is_present(conn: &mut Conn, member: &Member) -> Result<bool, Failure> {
    let Some(profile) = member.joined() else { return Ok(false) };
    Ok(standing(conn, member, &member.node, AsItIs)?.is_some_and(|row| row.incarnation == profile.incarnation))
}

pub(super) fn in_use(member: &Member) -> Failure {
    StoreError::NodeInUse { node: member.node.clone() }.into()
}

pub(super) fn has_not_joined(doing: &'static str) -> Failure {
    unavailable(doing, "this node has not joined the fleet").into()
}
