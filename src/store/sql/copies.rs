//! Copies of sessions: taking them, and writing them back.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use holdfast_core::connection::Desired;
use holdfast_core::event::EventName;
use holdfast_core::id::{DatabaseId, Epoch, InstanceId, Revision};
use holdfast_core::restoration::{self, Mark, Standing};
use holdfast_core::restored::{Fate, fate, may_be_own_sender_key};

use super::group::Lane;
use super::instances::{ensure_session, get};
use super::sessions::{creds, put_creds};
use super::{
    Conn, Database, Tx, archive, departed, dialect, leases, neighbours, proxies, settings, standing, values, webhooks,
};
use crate::ports::changes::Changes;
use crate::ports::copies::{Adopted, Adoption, Copies, Particulars};
use crate::ports::layer::{CopyHeader, SealedValue, SessionCopy};
use crate::ports::restore::Renewal;
use crate::ports::store::{InstanceRecord, StoreError, WebhookRow, WebhookSpec};
use crate::store::cipher::{Cipher, Place};
use crate::store::columns::{self, Status, clip, column_time};
use crate::store::envelope::{self, Creds, is_foreign};
use crate::store::failure::{Failure, unreadable};
use crate::store::member::Member;
use crate::store::particulars::{self, Opened};
use crate::store::rows::{NewValue, desired_word};
use crate::store::schema::{holdfast_session, holdfast_session_value as value, instance, session};

/// What is said in the archive of a login that a copy has replaced.
const REPLACED: &str = "replaced by a copy";

#[async_trait]
impl Copies for Database {
    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn database(&self) -> DatabaseId {
        self.id.clone()
    }

    async fn neighbours(&self, now: DateTime<Utc>) -> Result<Vec<DatabaseId>, StoreError> {
        let now_ms = now.timestamp_millis();
        self.read("reading which other databases there are", move |conn| neighbours::list(conn, now_ms)).await
    }

    async fn note_neighbour(&self, other: &DatabaseId) -> Result<bool, StoreError> {
        let other = other.clone();
        self.write("noting another database", Lane::ANY, move |tx| neighbours::note(tx, &other)).await
    }

    async fn states(&self) -> Result<Vec<(InstanceId, restoration::Member<restoration::Database>)>, StoreError> {
        let (cipher, client_name) = (self.cipher.clone(), self.member.client_name.clone());
        self.read("reading the states of all sessions", move |conn| states(conn, &cipher, &client_name)).await
    }

    async fn export(&self, id: &InstanceId, taken_at: DateTime<Utc>) -> Result<Option<SessionCopy>, StoreError> {
        let (id, from) = (id.clone(), self.exporter(taken_at));
        self.read("copying a session", move |conn| from.export(conn, &id)).await
    }

    async fn export_many(
        &self,
        ids: &[InstanceId],
        taken_at: DateTime<Utc>,
    ) -> Result<Vec<(InstanceId, Result<Option<SessionCopy>, StoreError>)>, StoreError> {
        let (ids, from) = (ids.to_vec(), self.exporter(taken_at));
        self.read("copying sessions", move |conn| {
            let mut copies = Vec::with_capacity(ids.len());
            for id in ids {
                match from.export(conn, &id) {
                    Ok(copy) => copies.push((id, Ok(copy))),
                    Err(Failure::Store(StoreError::NoSuchInstance(_))) => {}
                    Err(Failure::Store(error)) => copies.push((id, Err(error))),
                    // The connection, and not this session.
                    Err(failure @ Failure::Driver(_)) => return Err(failure),
                }
            }
            Ok(copies)
        })
        .await
    }

    async fn adopt_copy(
        &self,
        copy: SessionCopy,
        adoption: Adoption,
        renewal: Arc<dyn Renewal>,
    ) -> Result<Adopted, StoreError> {
        let (cipher, member) = (self.cipher.clone(), Arc::clone(&self.member));
        let id = copy.header.id.clone();
        self.change("taking a copy of a session in", &id, move |tx| {
            adopt(tx, &cipher, &member, renewal.as_ref(), &copy, &adoption)
        })
        .await
    }
}

/// A session as the bulk query reads it.
type Row = (String, Option<i64>, Option<i64>, Option<bool>, Option<i64>, Option<String>);

fn states(
    conn: &mut Conn,
    cipher: &Cipher,
    client_name: &str,
) -> Result<Vec<(InstanceId, restoration::Member<restoration::Database>)>, Failure> {
    let rows: Vec<Row> = instance::table
        .left_join(holdfast_session::table)
        .left_join(session::table)
        .filter(instance::client_name.eq(client_name))
        .order(instance::id)
        .select((
            instance::id,
            holdfast_session::epoch.nullable(),
            holdfast_session::revision.nullable(),
            holdfast_session::paired.nullable(),
            holdfast_session::last_online_at.nullable(),
            session::creds.nullable(),
        ))
        .load(conn)?;
    let mut found: Vec<_> = rows
        .into_iter()
        .map(|(id, epoch, revision, paired, last_online_ms, creds)| {
            let id = InstanceId::new(id);
            let mark = mark(epoch.unwrap_or(0), revision.unwrap_or(0));
            let says = match login(cipher, &id, paired == Some(true), creds.as_deref()) {
                Ok(Some(_)) => restoration::Database::Holds(mark),
                Ok(None) => restoration::Database::Unpaired(mark),
                Err(_damaged) => restoration::Database::Corrupt(Some(mark)),
            };
            (id, restoration::Member { says, last_online_ms })
        })
        .collect();
    let deleted = departed::list(conn)?;
    found.extend(
        deleted
            .into_iter()
            .map(|id| (id, restoration::Member { says: restoration::Database::Deleted, last_online_ms: None })),
    );
    Ok(found)
}

/// Opens the login that the rows are said to hold.
fn login(cipher: &Cipher, id: &InstanceId, paired: bool, creds: Option<&str>) -> Result<Option<Vec<u8>>, StoreError> {
    match creds.map(|text| envelope::unwrap(cipher, id, text)).transpose()? {
        Some(Creds::Device(device)) => Ok(Some(device)),
        Some(Creds::Foreign) | None if paired => Err(unreadable(
            Place::Device { instance: id }.describe(),
            "the session is marked paired, and it is missing",
        )),
        Some(Creds::Foreign) | None => Ok(None),
    }
}

fn mark(epoch: i64, revision: i64) -> Mark {
    Mark { epoch: Epoch(epoch as u64), revision: Revision(revision as u64) }
}

impl Database {
    fn exporter(&self, taken_at: DateTime<Utc>) -> Exporter {
        Exporter { database: self.id.clone(), cipher: self.cipher.clone(), taken_at }
    }
}

/// What copies of the same moment have in common.
struct Exporter {
    database: DatabaseId,
    cipher: Arc<Cipher>,
    taken_at: DateTime<Utc>,
}

impl Exporter {
    fn export(&self, conn: &mut Conn, id: &InstanceId) -> Result<Option<SessionCopy>, Failure> {
        let cipher = &self.cipher;
        let Some(record) = get(conn, id)? else { return Err(StoreError::NoSuchInstance(id.clone()).into()) };
        let Some(text) = creds(conn, id)?.filter(|text| !is_foreign(text)) else {
            return Ok(login(cipher, id, record.paired, None).map(|_nothing| None)?);
        };
        let (epoch, revision): (i64, i64) = holdfast_session::table
            .find(id.as_str())
            .select((holdfast_session::epoch, holdfast_session::revision))
            .first(conn)
            .optional()?
            .unwrap_or_default();
        let rows: Vec<(String, String, Vec<u8>, Option<i64>)> = value::table
            .filter(value::instance_id.eq(id.as_str()))
            .order((value::category, value::key))
            .select((value::category, value::key, value::value, value::expires_at))
            .load(conn)?;
        let values = rows
            .into_iter()
            .map(|(category, key, sealed, expires_at)| SealedValue { category, key, sealed, expires_at })
            .collect();
        let webhook = webhooks::read(conn, id)?;
        let Mark { epoch, revision } = mark(epoch, revision);
        let header = CopyHeader {
            id: id.clone(),
            name: record.name.clone(),
            epoch,
            revision,
            database: Some(self.database.clone()),
            taken_at_ms: self.taken_at.timestamp_millis(),
            last_online_ms: record.last_online_at.map(|moment| moment.timestamp_millis()),
            desired: record.desired,
        };
        let mut copy = SessionCopy { header, device: text, values, particulars: Vec::new() };
        particulars::seal(cipher, &mut copy, particulars_of(record, webhook))?;
        // What does not open here would take the place of a copy that does.
        particulars::open(cipher, &copy)?;
        Ok(Some(copy))
    }
}

fn particulars_of(record: InstanceRecord, webhook: Option<WebhookRow>) -> Particulars {
    let webhook = webhook.map(|row| {
        let WebhookRow { url, headers, enabled, events, webhook_by_events, webhook_base64, .. } = row;
        let events = events.iter().filter_map(|key| EventName::from_key(key)).collect();
        WebhookSpec { enabled, url, headers, by_events: webhook_by_events, base64: webhook_base64, events }
    });
    Particulars {
        token: record.token,
        integration: record.integration,
        number: record.number,
        business_id: record.business_id,
        owner_jid: record.owner_jid,
        profile_name: record.profile_name,
        profile_picture: record.profile_picture,
        settings: record.setting.map(|row| row.settings),
        proxy: record.proxy.map(|row| row.spec),
        webhook,
    }
}

fn adopt(
    tx: &mut Tx<'_>,
    cipher: &Cipher,
    member: &Member,
    renewal: &dyn Renewal,
    copy: &SessionCopy,
    adoption: &Adoption,
) -> Result<Adopted, Failure> {
    let opened = particulars::open(cipher, copy)?;
    let id = &copy.header.id;
    let beyond = |held: Mark| adoption.proved.map_or(held, |proved| held.latest(proved));
    let Some(held) = hold(tx, member, id, adoption)? else {
        if departed::is(tx.conn, id)? {
            return Err(StoreError::NoSuchInstance(id.clone()).into());
        }
        insert(tx, &member.client_name, copy, &opened.particulars)?;
        return renewed(tx, cipher, renewal, copy, opened, beyond(mark(0, 0)));
    };
    let paired = holdfast_session::table.find(id.as_str()).select(holdfast_session::paired).first(tx.conn)?;
    let login = login(cipher, id, paired, creds(tx.conn, id)?.as_deref());
    let set_back = adoption.proved.is_some_and(|proved| proved.against(held.seen) == Standing::Newer);
    match (copy.mark().against(held.seen), login) {
        (Standing::Exact, Ok(Some(_))) if !set_back => Ok(Adopted::Held(held.present)),
        (Standing::Exact, Err(_damaged)) if !set_back => repaired(tx, cipher, copy, opened, held.present),
        (Standing::Newer, _) | (Standing::Older, Err(_)) | (Standing::Exact, Ok(Some(_)) | Err(_)) => {
            renewed(tx, cipher, renewal, copy, opened, beyond(held.present))
        }
        // The database has gone on, or has seen this login end.
        (Standing::Older, Ok(_)) | (Standing::Exact, Ok(None)) => Err(StoreError::FencedOff(id.clone()).into()),
    }
}

/// A session's row.
struct Held {
    /// The state by which it was judged.
    seen: Mark,
    /// The same with this node's own claims, which raise the epoch and write nothing.
    present: Mark,
}

/// Holds the session's row until the transaction ends; `None` if there is no such instance, as was said.
fn hold(tx: &mut Tx<'_>, member: &Member, id: &InstanceId, adoption: &Adoption) -> Result<Option<Held>, Failure> {
    use holdfast_session::{epoch, lease_node, revision};
    let moved = || Failure::from(StoreError::FencedOff(id.clone()));
    let seen = match (is_there(tx, id)?, adoption.seen) {
        (false, None) => return Ok(None),
        (true, Some(seen)) => seen,
        (false, Some(_)) | (true, None) => return Err(moved()),
    };
    ensure_session(tx, id)?;
    let row = diesel::update(holdfast_session::table.find(id.as_str())).set(epoch.eq(epoch));
    let (at_epoch, at_revision, owner): (i64, i64, Option<String>) =
        row.returning((epoch, revision, lease_node)).get_result(tx.conn)?;
    // An owner that is gone will not do it, and whoever claims the row would go on from what it holds.
    match owner.filter(|owner| *owner != adoption.node) {
        Some(by) if !standing::is_dead(tx.conn, member, &by)? => {
            return Err(StoreError::LeaseHeld { instance: id.clone(), by }.into());
        }
        Some(_) | None => {}
    }
    let present = mark(at_epoch, at_revision);
    let same = present.revision == seen.revision && present.epoch >= seen.epoch;
    if same { Ok(Some(Held { seen, present })) } else { Err(moved()) }
}

fn is_there(tx: &mut Tx<'_>, id: &InstanceId) -> Result<bool, Failure> {
    let found: Option<String> = instance::table.find(id.as_str()).select(instance::id).first(tx.conn).optional()?;
    Ok(found.is_some())
}

fn insert(tx: &mut Tx<'_>, client_name: &str, copy: &SessionCopy, particulars: &Particulars) -> Result<(), Failure> {
    let CopyHeader { id, name, desired, last_online_ms, .. } = &copy.header;
    let time = column_time(tx.now);
    let short = |text: &Option<String>| text.as_deref().map(|text| clip(text, columns::SHORT));
    let row = (
        (
            instance::id.eq(id.as_str()),
            instance::name.eq(name),
            instance::connection_status.eq(Status::CLOSE),
            instance::client_name.eq(client_name),
            instance::created_at.eq(time),
            instance::updated_at.eq(time),
        ),
        instance::token.eq(&particulars.token),
        instance::integration.eq(short(&particulars.integration)),
        instance::number.eq(short(&particulars.number)),
        instance::business_id.eq(short(&particulars.business_id)),
        instance::owner_jid.eq(short(&particulars.owner_jid)),
        instance::profile_name.eq(short(&particulars.profile_name)),
        instance::profile_pic_url.eq(particulars.profile_picture.as_deref().map(|url| clip(url, columns::URL))),
    );
    let inserted = diesel::insert_into(instance::table).values(row).on_conflict_do_nothing().execute(tx.conn)?;
    if inserted == 0 {
        // It may be there since a moment ago: another node has taken it in as well.
        let taken =
            if is_there(tx, id)? { StoreError::FencedOff(id.clone()) } else { StoreError::NameTaken(name.clone()) };
        return Err(taken.into());
    }
    ensure_session(tx, id)?;
    if let Some(wanted) = &particulars.settings {
        settings::insert(tx, id, wanted)?;
    }
    if let Some(spec) = &particulars.webhook {
        webhooks::set(tx, id, spec)?;
    }
    if let Some(spec) = &particulars.proxy {
        proxies::set(tx, id, spec)?;
    }
    wish(tx, id, *desired, *last_online_ms)
}

fn wish(tx: &mut Tx<'_>, id: &InstanceId, desired: Desired, last_online_ms: Option<i64>) -> Result<(), Failure> {
    let columns =
        (holdfast_session::desired.eq(desired_word(desired)), holdfast_session::last_online_at.eq(last_online_ms));
    diesel::update(holdfast_session::table.find(id.as_str())).set(columns).execute(tx.conn)?;
    Ok(())
}

/// Writes the copy of the very state that the database holds, as it is.
fn repaired(
    tx: &mut Tx<'_>,
    cipher: &Cipher,
    copy: &SessionCopy,
    opened: Opened,
    held: Mark,
) -> Result<Adopted, Failure> {
    let id = &copy.header.id;
    clear(tx, id)?;
    let text = if envelope::is_current(cipher, &copy.device) {
        copy.device.clone()
    } else {
        envelope::wrap(cipher, id, &opened.device)?
    };
    put_creds(tx, id, &text)?;
    put_values(tx, cipher, copy, &opened.values, |_value| true)?;
    finish(tx, id, held.next()).map(Adopted::Repaired)
}

/// Lets the login go on with its identity and without its ratchets.
fn renewed(
    tx: &mut Tx<'_>,
    cipher: &Cipher,
    renewal: &dyn Renewal,
    copy: &SessionCopy,
    opened: Opened,
    held: Mark,
) -> Result<Adopted, Failure> {
    let id = &copy.header.id;
    let renewed =
        renewal.renew(&opened.device).map_err(|error| unreadable(Place::Device { instance: id }.describe(), error))?;
    clear(tx, id)?;
    put_creds(tx, id, &envelope::wrap(cipher, id, &renewed.device)?)?;
    put_values(tx, cipher, copy, &opened.values, |value| match fate(&value.category) {
        Some(Fate::Kept) => true,
        Some(Fate::KeptIfOthers) => !may_be_own_sender_key(&value.key, &renewed.own),
        // What nobody has decided about may be a ratchet.
        Some(Fate::GivenUp) | None => false,
    })?;
    values::write(tx, cipher, id, &renewed.writes)?;
    let next = held.latest(copy.mark()).begun_at(tx.unix_ms());
    finish(tx, id, next).map(Adopted::Renewed)
}

/// Moves what is there to the archive.
fn clear(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Failure> {
    archive::session(tx, id, REPLACED)?;
    if let Some(text) = creds(tx.conn, id)? {
        archive::foreign(tx, id, &text)?;
    }
    Ok(())
}

fn put_values(
    tx: &mut Tx<'_>,
    cipher: &Cipher,
    copy: &SessionCopy,
    plain: &[Vec<u8>],
    kept: impl Fn(&SealedValue) -> bool,
) -> Result<(), Failure> {
    let id = &copy.header.id;
    let mut rows = Vec::with_capacity(copy.values.len());
    for (value, plain) in copy.values.iter().zip(plain).filter(|(value, _)| kept(value)) {
        let SealedValue { category, key, sealed, expires_at } = value;
        // A key that was replaced since the copy will not be at hand for ever.
        let sealed = if cipher.is_current(sealed) {
            sealed.clone()
        } else {
            cipher.seal(Place::Value { instance: id, category, key }, plain)?
        };
        rows.push(NewValue { category, key, value: sealed, expires_at: *expires_at });
    }
    Ok(dialect::put(tx.conn, id, rows)?)
}

/// Makes a column of an epoch or a revision.
fn number(number: u64, id: &InstanceId) -> Result<i64, Failure> {
    let beyond = |_| unreadable(Place::Copy { instance: id }.describe(), "its numbers are beyond all bounds");
    Ok(i64::try_from(number).map_err(beyond)?)
}

/// Says which state it is from now on, and that nobody owns it.
fn finish(tx: &mut Tx<'_>, id: &InstanceId, next: Mark) -> Result<Mark, Failure> {
    let (epoch, revision) = (number(next.epoch.0, id)?, number(next.revision.0, id)?);
    let columns = (
        holdfast_session::epoch.eq(epoch),
        holdfast_session::revision.eq(revision),
        holdfast_session::paired.eq(true),
        holdfast_session::lease_node.eq(None::<String>),
        holdfast_session::lease_ended_at.eq(leases::now()),
    );
    diesel::update(holdfast_session::table.find(id.as_str())).set(columns).execute(tx.conn)?;
    Ok(mark(epoch, revision))
}
