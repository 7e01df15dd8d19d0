//! Copies of sessions that are written back.

use diesel::prelude::*;
use holdfast_core::connection::Desired;
use holdfast_core::id::InstanceId;
use holdfast_core::restoration::{Mark, Standing};
use holdfast_core::restored::{Fate, fate, may_be_own_sender_key};

use super::copies::{login, mark};
use super::instances::ensure_session;
use super::sessions::{creds, put_creds};
use super::{Tx, archive, departed, dialect, leases, proxies, settings, standing, values, webhooks};
use crate::ports::copies::{Adopted, Adoption, Particulars};
use crate::ports::layer::{CopyHeader, SealedValue, SessionCopy};
use crate::ports::restore::Renewal;
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, Place};
use crate::store::columns::{self, Status, clip, column_time};
use crate::store::envelope;
use crate::store::failure::{Failure, corrupt, unreadable};
use crate::store::member::Member;
use crate::store::particulars::Opened;
use crate::store::rows::{NewValue, desired_word};
use crate::store::schema::{holdfast_session, instance};

/// What is said in the archive of a login that a copy has replaced.
const REPLACED: &str = "replaced by a copy";

/// A copy that has opened, on its way into the database.
pub(super) struct Adopting<'a> {
    pub(super) cipher: &'a Cipher,
    pub(super) renewal: &'a dyn Renewal,
    pub(super) copy: &'a SessionCopy,
    pub(super) opened: &'a Opened,
}

/// Writes it, over what was seen.
pub(super) fn adopt(
    tx: &mut Tx<'_>,
    what: &Adopting<'_>,
    member: &Member,
    adoption: &Adoption,
) -> Result<Adopted, Failure> {
    let Adopting { cipher, copy, opened, .. } = what;
    let id = &copy.header.id;
    let beyond = |held: Mark| adoption.proved.map_or(held, |proved| held.latest(proved));
    let Some(held) = hold(tx, member, id, adoption)? else {
        if departed::is(tx.conn, id)? {
            return Err(StoreError::NoSuchInstance(id.clone()).into());
        }
        insert(tx, &member.client_name, copy, &opened.particulars)?;
        return renewed(tx, what, beyond(mark(0, 0)));
    };
    let paired = holdfast_session::table.find(id.as_str()).select(holdfast_session::paired).first(tx.conn)?;
    let login = login(cipher, id, paired, creds(tx.conn, id)?.as_deref());
    let set_back = adoption.proved.is_some_and(|proved| proved.against(held.seen) == Standing::Newer);
    match (copy.mark().against(held.seen), login) {
        (Standing::Exact, Ok(Some(_))) if !set_back => Ok(Adopted::Held(held.present)),
        (Standing::Exact, Err(_damaged)) if !set_back => repaired(tx, what, held.present),
        (Standing::Newer, _) | (Standing::Older, Err(_)) | (Standing::Exact, Ok(Some(_)) | Err(_)) => {
            renewed(tx, what, beyond(held.present))
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
fn repaired(tx: &mut Tx<'_>, what: &Adopting<'_>, held: Mark) -> Result<Adopted, Failure> {
    let Adopting { cipher, copy, opened, .. } = what;
    let id = &copy.header.id;
    clear(tx, id)?;
    let text = if envelope::is_current(cipher, &copy.device) {
        copy.device.clone()
    } else {
        envelope::wrap(cipher, id, &opened.device)?
    };
    put_creds(tx, id, &text)?;
    put_values(tx, cipher, copy, |_value| true)?;
    finish(tx, id, held.next()).map(Adopted::Repaired)
}

/// Lets the login go on with its identity and without its ratchets.
fn renewed(tx: &mut Tx<'_>, what: &Adopting<'_>, held: Mark) -> Result<Adopted, Failure> {
    let Adopting { cipher, renewal, copy, opened } = what;
    let id = &copy.header.id;
    let renewed =
        renewal.renew(&opened.device).map_err(|error| unreadable(Place::Device { instance: id }.describe(), error))?;
    clear(tx, id)?;
    put_creds(tx, id, &envelope::wrap(cipher, id, &renewed.device)?)?;
    put_values(tx, cipher, copy, |value| match fate(&value.category) {
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
    kept: impl Fn(&SealedValue) -> bool,
) -> Result<(), Failure> {
    let id = &copy.header.id;
    let mut rows = Vec::with_capacity(copy.values.len());
    for value in copy.values.iter().filter(|value| kept(value)) {
        let SealedValue { category, key, sealed, expires_at } = value;
        let place = value.place(id);
        // A key that was replaced since the copy will not be at hand for ever.
        let sealed = if cipher.is_current(sealed) {
            sealed.clone()
        } else {
            let plain = cipher.open(place, sealed).map_err(|error| corrupt(place, error))?;
            cipher.seal(place, &plain)?
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
