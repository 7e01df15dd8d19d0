//! Sessions: who owns them, their device, and batches of changes.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Timestamp};
use holdfast_core::id::{Epoch, InstanceId, Revision};

use super::instances::{ensure_session, require};
use super::losses::Missing;
use super::{Conn, Database, Lane, Tx, archive, dialect, leases, losses, queue, standing, values};
use crate::failpoint::reach;
use crate::ports::session::{Accepted, Claim, Clear, MessageKey, SessionBatch, Sessions, Unrecovered};
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, Place};
use crate::store::columns::column_time;
use crate::store::cuid::cuid;
use crate::store::envelope::{self, Creds};
use crate::store::failure::{Failure, unreadable};
use crate::store::member::Member;
use crate::store::prepared::{self, prepared, value};
use crate::store::schema::{holdfast_accepted, holdfast_session, instance, session};

#[async_trait]
impl Sessions for Database {
    async fn claim(&self, id: &InstanceId) -> Result<Claim, StoreError> {
        let (id, member) = (id.clone(), Arc::clone(&self.member));
        self.write("claiming a session", Lane::of(&id), move |tx| claim(tx, &member, &id)).await
    }

    async fn release(&self, id: &InstanceId, epoch: Epoch) -> Result<(), StoreError> {
        let id = id.clone();
        let member = Arc::clone(&self.member);
        self.write("releasing a session", Lane::of(&id), move |tx| release(tx, &member, &id, epoch)).await
    }

    async fn device(&self, id: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        let found = {
            let (id, cipher) = (id.clone(), self.cipher.clone());
            self.look("reading a device", move |conn| device(conn, &cipher, &id)).await?
        };
        match found {
            None => Ok(None),
            Some(Creds::Device(device)) => Ok(Some(device)),
            Some(Creds::Foreign) => {
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                if reported.insert(id.clone()) {
                    tracing::warn!(instance.id = %id, "Instance {id} has credentials of another program: they can be imported, and are left alone");
                }
                Ok(None)
            }
        }
    }

    async fn read(&self, id: &InstanceId, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (id, cipher, key) = (id.clone(), self.cipher.clone(), key.to_owned());
        self.look("reading a session value", move |conn| values::read(conn, &cipher, &id, category, &key)).await
    }

    async fn read_many(
        &self,
        id: &InstanceId,
        category: &'static str,
        keys: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (id, cipher, keys) = (id.clone(), self.cipher.clone(), keys.to_vec());
        let few = values::are_few(&keys);
        let read = move |conn: &mut Conn| values::read_many(conn, &cipher, &id, category, &keys);
        const DOING: &str = "reading session values";
        if few { self.look(DOING, read).await } else { self.read(DOING, read).await }
    }

    async fn scan(
        &self,
        id: &InstanceId,
        category: &'static str,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (id, cipher, prefix) = (id.clone(), self.cipher.clone(), prefix.to_owned());
        self.look("reading session values", move |conn| values::scan(conn, &cipher, &id, category, &prefix)).await
    }

    async fn last_key(&self, id: &InstanceId, category: &'static str) -> Result<Option<String>, StoreError> {
        let id = id.clone();
        self.look("reading the keys of a session", move |conn| values::last_key(conn, &id, category)).await
    }

    async fn count(&self, id: &InstanceId, clear: &Clear) -> Result<u64, StoreError> {
        let (id, clear) = (id.clone(), clear.clone());
        self.look("counting session values", move |conn| values::count(conn, &id, &clear)).await
    }

    async fn commit(&self, id: &InstanceId, epoch: Epoch, batch: SessionBatch) -> Result<Revision, StoreError> {
        let (own, cipher, member) = (id.clone(), self.cipher.clone(), Arc::clone(&self.member));
        let commit = move |tx: &mut Tx<'_>| {
            let state = next(tx, &member, &own, epoch)?;
            commit(tx, &cipher, &own, batch, state)
        };
        self.change("writing a session", id, commit).await
    }

    async fn is_accepted(&self, id: &InstanceId, message: &MessageKey) -> Result<bool, StoreError> {
        let (id, message) = (id.clone(), message.clone());
        self.look("looking for an accepted message", move |conn| is_accepted(conn, &id, &message)).await
    }

    async fn times_lost(&self, id: &InstanceId, message: &MessageKey) -> Result<u32, StoreError> {
        let (id, message) = (id.clone(), message.clone());
        self.look("looking for a lost message", move |conn| losses::times(conn, &id, &message)).await
    }

    async fn unrecovered(&self, id: Option<&InstanceId>, limit: u32) -> Result<Vec<Unrecovered>, StoreError> {
        let id = id.cloned();
        self.look("reading what was lost", move |conn| losses::list(conn, id.as_ref(), limit)).await
    }

    async fn archive(&self, id: &InstanceId, reason: &str) -> Result<(), StoreError> {
        let (own, reason) = (id.clone(), reason.to_owned());
        let member = Arc::clone(&self.member);
        let archive = move |tx: &mut Tx<'_>| {
            standing::fence(tx, &member, &own)?;
            archive::session(tx, &own, &reason)
        };
        self.end("archiving a session", id, archive).await
    }
}

/// Raises the epoch of a session that is this node's already.
struct Raise;

impl prepared::Text for Raise {
    const SQL: &'static [&'static str] = &["\
        UPDATE holdfast_session SET epoch = epoch + 1, lease_ended_at = NULL \
        WHERE instance_id = ? AND lease_node = ? RETURNING epoch, revision"];
    type Row = (BigInt, BigInt);
}

fn claim(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<Claim, Failure> {
    use holdfast_session::{epoch, lease_ended_at, lease_node, revision};
    standing::admit(tx, member)?;
    // Mostly it is this node's already.
    let ours = prepared(Raise, (value::<Text, _>(id.as_str()), value::<Text, _>(member.node.as_str())));
    let mut raised: Option<(i64, i64)> = ours.get_result(tx.conn).optional()?;
    if raised.is_none() {
        ensure_session(tx, id)?;
        if let Some(by) = standing::hold(tx, member, id)? {
            return Err(StoreError::LeaseHeld { instance: id.clone(), by }.into());
        }
        let claimed = (epoch.eq(epoch + 1), lease_node.eq(&member.node), lease_ended_at.eq(None::<i64>));
        let row = diesel::update(holdfast_session::table.find(id.as_str())).set(claimed);
        raised = row.returning((epoch, revision)).get_result(tx.conn).optional()?;
    }
    let (held, at) = raised.ok_or_else(|| StoreError::NoSuchInstance(id.clone()))?;
    reach!("claim.raised");
    Ok(Claim { epoch: Epoch(held as u64), revision: Revision(at as u64) })
}

fn release(tx: &mut Tx<'_>, member: &Member, id: &InstanceId, held: Epoch) -> Result<(), Failure> {
    use holdfast_session::{epoch, lease_ended_at, lease_node};
    let row = holdfast_session::table.find(id.as_str()).filter(epoch.eq(held.0 as i64));
    diesel::update(row.filter(lease_node.eq(&member.node)))
        .set((lease_node.eq(None::<String>), lease_ended_at.eq(leases::now())))
        .execute(tx.conn)?;
    Ok(())
}

fn device(conn: &mut Conn, cipher: &Cipher, id: &InstanceId) -> Result<Option<Creds>, Failure> {
    let columns = (session::creds.nullable(), holdfast_session::paired.nullable());
    let row = instance::table.find(id.as_str()).left_join(session::table).left_join(holdfast_session::table);
    let found: Option<(Option<String>, Option<bool>)> = row.select(columns).first(conn).optional()?;
    let Some((creds, marked)) = found else { return Err(StoreError::NoSuchInstance(id.clone()).into()) };
    let creds = creds.map(|text| envelope::unwrap(cipher, id, &text)).transpose()?;
    if marked == Some(true) && !matches!(creds, Some(Creds::Device(_))) {
        let said = if creds.is_some() {
            "another program replaced it"
        } else {
            "the session is marked paired, and it is missing"
        };
        return Err(unreadable(Place::Device { instance: id }.describe(), said).into());
    }
    Ok(creds)
}

/// Reads the text of `Session.creds`.
pub(super) fn creds(conn: &mut Conn, id: &InstanceId) -> Result<Option<String>, Failure> {
    let found: Option<Option<String>> =
        session::table.filter(session::session_id.eq(id.as_str())).select(session::creds).first(conn).optional()?;
    Ok(found.flatten())
}

/// Writes a batch as this revision; returns which it is in the end.
fn commit(
    tx: &mut Tx<'_>,
    cipher: &Cipher,
    id: &InstanceId,
    batch: SessionBatch,
    State { revision, is_paired }: State,
) -> Result<Revision, Failure> {
    let SessionBatch { device, paired, clears, writes, accepted, losses, events } = batch;
    for clear in &clears {
        values::clear(tx, id, clear)?;
    }
    values::write(tx, cipher, id, &writes)?;
    let mut new = Vec::with_capacity(accepted.len() + events.len());
    for message in &accepted {
        if accept(tx, id, message)? {
            new.extend(&message.event);
        }
    }
    new.extend(&events);
    for loss in &losses {
        losses::note(tx, id, loss)?;
    }
    reach!("session.values-written");
    queue::add(tx, id, new)?;
    reach!("session.events-queued");
    if let Some(device) = device {
        save_device(tx, cipher, id, &device)?;
    }
    if paired.is_none_or(|paired| paired == is_paired) {
        return Ok(revision);
    }
    // A new login is later than any copy of an earlier one.
    let last = if is_paired { revision } else { Revision::begun_at(tx.unix_ms(), revision) };
    let columns = (holdfast_session::paired.eq(!is_paired), holdfast_session::revision.eq(last.0 as i64));
    diesel::update(holdfast_session::table.find(id.as_str())).set(columns).execute(tx.conn)?;
    Ok(last)
}

/// A session as it is while its batch is written.
struct State {
    /// That of the batch.
    revision: Revision,
    /// Whether it was a login before.
    is_paired: bool,
}

/// The statement of [`next`].
struct Next;

impl prepared::Text for Next {
    // A node owns what it has made, and has not claimed it yet: no claim has the epoch 0.
    const SQL: &'static [&'static str] = &["\
        UPDATE holdfast_session SET revision = revision + 1 \
        WHERE instance_id = ? AND epoch = ? AND epoch > 0 AND lease_node = ? RETURNING revision, paired"];
    type Row = (BigInt, Bool);
}

/// Raises the revision, if this node owns the session under this epoch. That is the fence: it holds the row until the transaction ends, so that
/// nobody claims the session in between.
fn next(tx: &mut Tx<'_>, member: &Member, id: &InstanceId, claimed: Epoch) -> Result<State, Failure> {
    let values =
        (value::<Text, _>(id.as_str()), value::<BigInt, _>(claimed.0 as i64), value::<Text, _>(member.node.as_str()));
    let found: Option<(i64, bool)> = prepared(Next, values).get_result(tx.conn).optional()?;
    if let Some((at, is_paired)) = found {
        return Ok(State { revision: Revision(at as u64), is_paired });
    }
    require(tx.conn, id)?;
    Err(StoreError::FencedOff(id.clone()).into())
}

/// Notes a message, and tells whether it is new.
fn accept(tx: &mut Tx<'_>, id: &InstanceId, message: &Accepted) -> Result<bool, Failure> {
    let key = dialect::storable(&message.key);
    let missing = if message.recovered { losses::named(tx, id, &key.id)? } else { Vec::new() };
    if missing.is_empty() {
        // The phone names the sender in its own way: what it hands over may be here under another key, though nobody missed it.
        return Ok(!(message.recovered && is_known(tx.conn, id, &key.id)?) && accept_as(tx, id, &key)?);
    }
    let mut new = false;
    for Missing { key, given_up } in &missing {
        new |= accept_as(tx, id, key)? || *given_up;
    }
    Ok(new)
}

fn accept_as(tx: &mut Tx<'_>, id: &InstanceId, key: &MessageKey) -> Result<bool, Failure> {
    losses::forget(tx, id, key)?;
    let row = (
        value::<Text, _>(id.as_str()),
        value::<Text, _>(key.chat.as_str()),
        value::<Text, _>(key.sender.as_str()),
        value::<Text, _>(key.id.as_str()),
        value::<BigInt, _>(tx.now_ms()),
    );
    Ok(prepared(Accept, row).execute(tx.conn)? == 1)
}

/// The statement of [`accept_as`].
struct Accept;

impl prepared::Text for Accept {
    const SQL: &'static [&'static str] = &["\
        INSERT INTO holdfast_accepted (instance_id, chat, sender, message_id, accepted_at) VALUES (?, ?, ?, ?, ?) \
        ON CONFLICT DO NOTHING"];
    type Row = ();
}

/// Tells whether a message with this id was accepted, whoever is said to have sent it.
fn is_known(conn: &mut Conn, id: &InstanceId, message: &str) -> Result<bool, Failure> {
    let rows = holdfast_accepted::table
        .filter(holdfast_accepted::instance_id.eq(id.as_str()))
        .filter(holdfast_accepted::message_id.eq(message));
    Ok(diesel::select(diesel::dsl::exists(rows)).get_result(conn)?)
}

pub(super) fn is_accepted(conn: &mut Conn, id: &InstanceId, message: &MessageKey) -> Result<bool, Failure> {
    let message = dialect::storable(message);
    let row = holdfast_accepted::table.find((id.as_str(), &message.chat, &message.sender, &message.id));
    let found = instance::table.find(id.as_str()).select(diesel::dsl::exists(row)).first(conn).optional()?;
    found.ok_or_else(|| StoreError::NoSuchInstance(id.clone()).into())
}

fn save_device(tx: &mut Tx<'_>, cipher: &Cipher, id: &InstanceId, device: &[u8]) -> Result<(), Failure> {
    if let Some(text) = creds(tx.conn, id)? {
        // An envelope that cannot be read is not replaced: whoever writes a new device over it has not seen the old one.
        if envelope::unwrap(cipher, id, &text)? == Creds::Foreign {
            archive::foreign(tx, id, &text)?;
        }
    }
    put_creds(tx, id, &envelope::wrap(cipher, id, device)?)
}

/// Writes the text of `Session.creds`.
pub(super) fn put_creds(tx: &mut Tx<'_>, id: &InstanceId, text: &str) -> Result<(), Failure> {
    let row = (
        value::<Text, _>(cuid()?),
        value::<Text, _>(id.as_str()),
        value::<Text, _>(text),
        value::<Timestamp, _>(column_time(tx.now)),
    );
    prepared(PutCreds, row).execute(tx.conn)?;
    Ok(())
}

/// The statement of [`put_creds`].
struct PutCreds;

impl prepared::Text for PutCreds {
    const SQL: &'static [&'static str] = &[r#"
        INSERT INTO "Session" ("id", "sessionId", "creds", "createdAt") VALUES (?, ?, ?, ?)
        ON CONFLICT ("sessionId") DO UPDATE SET "creds" = excluded."creds""#];
    type Row = ();
}
