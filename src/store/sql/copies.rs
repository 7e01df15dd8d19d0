//! Copies of sessions: taking them, and writing them back.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use holdfast_core::event::EventName;
use holdfast_core::id::{DatabaseId, Epoch, InstanceId, Revision};
use holdfast_core::restoration::{self, Mark};
use tokio::task::spawn_blocking;

use super::adopting::{Adopting, adopt};
use super::group::Lane;
use super::instances::get;
use super::sessions::creds;
use super::{Conn, Database, departed, neighbours, webhooks};
use crate::ports::changes::Changes;
use crate::ports::copies::{Adopted, Adoption, Copies, Export, Particulars};
use crate::ports::layer::{CopyHeader, SealedValue, SessionCopy};
use crate::ports::restore::Renewal;
use crate::ports::store::{InstanceRecord, StoreError, WebhookRow, WebhookSpec};
use crate::store::cipher::{Cipher, Place};
use crate::store::envelope::{self, Creds, is_foreign};
use crate::store::failure::{Failure, unavailable, unreadable};
use crate::store::particulars;
use crate::store::schema::{holdfast_session, holdfast_session_value as value, instance, session};

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
        self.look("reading which other databases there are", move |conn| neighbours::list(conn, now_ms)).await
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
        let export = move |conn: &mut Conn| match from.export(conn, &id)? {
            Export::Login(copy) => Ok(Some(*copy)),
            Export::NoLogin(_) | Export::Deleted => Ok(None),
        };
        self.read("copying a session", export).await
    }

    async fn export_many(
        &self,
        ids: &[InstanceId],
        taken_at: DateTime<Utc>,
    ) -> Result<Vec<(InstanceId, Result<Export, StoreError>)>, StoreError> {
        let (ids, from) = (ids.to_vec(), self.exporter(taken_at));
        self.read("copying sessions", move |conn| {
            let mut copies = Vec::with_capacity(ids.len());
            for id in &ids {
                match from.export(conn, id) {
                    Ok(copy) => copies.push((id.clone(), Ok(copy))),
                    Err(Failure::Store(StoreError::NoSuchInstance(_))) => {
                        copies.extend(departed::is(conn, id)?.then(|| (id.clone(), Ok(Export::Deleted))));
                    }
                    Err(Failure::Store(error)) => copies.push((id.clone(), Err(error))),
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
        const DOING: &str = "taking a copy of a session in";
        let (cipher, member) = (self.cipher.clone(), Arc::clone(&self.member));
        let id = copy.header.id.clone();
        // Before its turn comes, and beside other work: whatever is written waits for the one that writes.
        let opening = {
            let cipher = self.cipher.clone();
            spawn_blocking(move || particulars::open(&cipher, &copy).map(|opened| (copy, opened)))
        };
        let (copy, opened) = opening.await.map_err(|error| unavailable(DOING, error))??;
        self.change(DOING, &id, move |tx| {
            let what = Adopting { cipher: &cipher, renewal: renewal.as_ref(), copy: &copy, opened: &opened };
            adopt(tx, &what, &member, &adoption)
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
pub(super) fn login(
    cipher: &Cipher,
    id: &InstanceId,
    paired: bool,
    creds: Option<&str>,
) -> Result<Option<Vec<u8>>, StoreError> {
    match creds.map(|text| envelope::unwrap(cipher, id, text)).transpose()? {
        Some(Creds::Device(device)) => Ok(Some(device)),
        Some(Creds::Foreign) | None if paired => Err(unreadable(
            Place::Device { instance: id }.describe(),
            "the session is marked paired, and it is missing",
        )),
        Some(Creds::Foreign) | None => Ok(None),
    }
}

pub(super) fn mark(epoch: i64, revision: i64) -> Mark {
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
    fn export(&self, conn: &mut Conn, id: &InstanceId) -> Result<Export, Failure> {
        let cipher = &self.cipher;
        let Some(record) = get(conn, id)? else { return Err(StoreError::NoSuchInstance(id.clone()).into()) };
        let (epoch, revision): (i64, i64) = holdfast_session::table
            .find(id.as_str())
            .select((holdfast_session::epoch, holdfast_session::revision))
            .first(conn)
            .optional()?
            .unwrap_or_default();
        let held = mark(epoch, revision);
        let Some(text) = creds(conn, id)?.filter(|text| !is_foreign(text)) else {
            return Ok(login(cipher, id, record.paired, None).map(|_nothing| Export::NoLogin(held))?);
        };
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
        let header = CopyHeader {
            id: id.clone(),
            name: record.name.clone(),
            epoch: held.epoch,
            revision: held.revision,
            database: Some(self.database.clone()),
            taken_at_ms: self.taken_at.timestamp_millis(),
            last_online_ms: record.last_online_at.map(|moment| moment.timestamp_millis()),
            desired: record.desired,
        };
        let mut copy = SessionCopy { header, device: text, values, particulars: Vec::new() };
        particulars::check(cipher, &copy)?;
        particulars::seal(cipher, &mut copy, particulars_of(record, webhook))?;
        Ok(Export::Login(Box::new(copy)))
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
