//! Rows of instances.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamp};
use holdfast_core::connection::Desired;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;

use super::{Backend, Conn, Database, Lane, Tx, departed, proxies, queue, settings, standing, webhooks};
use crate::failpoint::reach;
use crate::ports::store::{
    InstancePatch, InstanceRecord, Instances, NewInstance, ProxySpec, SettingRow, SettingsSpec, StoreError, WebhookRow,
    WebhookSpec,
};
use crate::store::columns::{self, ConnectionStatus, Json, JsonText, Status, clip, column_time};
use crate::store::failure::{Failure, unreadable};
use crate::store::member::Member;
use crate::store::prepared::{self, prepared, value};
use crate::store::rows::{self, Joined, desired_word};
use crate::store::schema::{chatwoot, holdfast_session, instance, proxy, setting};

#[async_trait]
impl Instances for Database {
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError> {
        let member = Arc::clone(&self.member);
        self.write("inserting an instance", Lane::of(&new.id), move |tx| insert(tx, &member, new)).await
    }

    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        let member = Arc::clone(&self.member);
        self.look("listing instances", move |conn| list(conn, &member.client_name)).await
    }

    async fn get(&self, id: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        let id = id.clone();
        self.look("reading an instance", move |conn| get(conn, &id)).await
    }

    async fn patch(&self, id: &InstanceId, patch: InstancePatch) -> Result<(), StoreError> {
        let (own, member) = (id.clone(), Arc::clone(&self.member));
        let change = move |tx: &mut Tx<'_>| {
            standing::fence(tx, &member, &own)?;
            change(tx, &own, patch)
        };
        self.change("changing an instance", id, change).await
    }

    async fn set_desired(&self, id: &InstanceId, desired: Desired) -> Result<(), StoreError> {
        let (own, member) = (id.clone(), Arc::clone(&self.member));
        let set = move |tx: &mut Tx<'_>| {
            standing::fence(tx, &member, &own)?;
            set_desired(tx, &own, desired)
        };
        self.change("storing what the operator wants", id, set).await
    }

    async fn delete(&self, id: &InstanceId) -> Result<(), StoreError> {
        let (own, member) = (id.clone(), Arc::clone(&self.member));
        self.end("deleting an instance", id, move |tx| delete(tx, &member, &own)).await
    }

    async fn webhook(&self, id: &InstanceId) -> Result<Option<WebhookRow>, StoreError> {
        let id = id.clone();
        self.look("reading a webhook", move |conn| webhooks::read(conn, &id)).await
    }

    async fn set_webhook(&self, id: &InstanceId, spec: WebhookSpec) -> Result<WebhookRow, StoreError> {
        let own = id.clone();
        self.change("setting a webhook", id, move |tx| webhooks::set(tx, &own, &spec)).await
    }

    async fn settings(&self, id: &InstanceId) -> Result<Option<SettingRow>, StoreError> {
        let id = id.clone();
        self.look("reading the settings of an instance", move |conn| settings::read(conn, &id)).await
    }

    async fn set_settings(&self, id: &InstanceId, spec: SettingsSpec) -> Result<SettingRow, StoreError> {
        let own = id.clone();
        self.change("changing the settings of an instance", id, move |tx| settings::set(tx, &own, &spec)).await
    }

    async fn set_proxy(&self, id: &InstanceId, spec: ProxySpec) -> Result<bool, StoreError> {
        let own = id.clone();
        self.change("setting a proxy", id, move |tx| proxies::set(tx, &own, &spec)).await
    }
}

/// Errs unless there is such an instance: "nothing stored" must never be the answer for one that does not exist.
pub(super) fn require(conn: &mut Conn, id: &InstanceId) -> Result<(), Failure> {
    let found: Option<String> = instance::table.find(id.as_str()).select(instance::id).first(conn).optional()?;
    found.map(drop).ok_or_else(|| StoreError::NoSuchInstance(id.clone()).into())
}

/// Makes sure that the instance has a row among our own. One that Evolution created has none until it is first used.
pub(super) fn ensure_session(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Failure> {
    require(tx.conn, id)?;
    let row = holdfast_session::instance_id.eq(id.as_str());
    diesel::insert_into(holdfast_session::table).values(row).on_conflict_do_nothing().execute(tx.conn)?;
    Ok(())
}

fn insert(tx: &mut Tx<'_>, member: &Member, new: NewInstance) -> Result<InstanceRecord, Failure> {
    let NewInstance { id, name, token, integration, number, settings: wanted, webhook, proxy } = new;
    let time = column_time(tx.now);
    let row = (
        instance::id.eq(id.as_str()),
        instance::name.eq(&name),
        instance::connection_status.eq(Status::CLOSE),
        instance::integration.eq(clip(&integration, columns::SHORT)),
        instance::number.eq(number.as_deref().map(|number| clip(number, columns::SHORT))),
        instance::token.eq(token),
        instance::client_name.eq(&member.client_name),
        instance::created_at.eq(time),
        instance::updated_at.eq(time),
    );
    // A statement that errs would end the transaction in PostgreSQL.
    let inserted =
        diesel::insert_into(instance::table).values(row).on_conflict(instance::name).do_nothing().execute(tx.conn)?;
    if inserted == 0 {
        return Err(StoreError::NameTaken(name).into());
    }
    settings::insert(tx, &id, &wanted)?;
    ensure_session(tx, &id)?;
    standing::own(tx, member, &id)?;
    if let Some(spec) = webhook {
        webhooks::set(tx, &id, &spec)?;
    }
    if let Some(spec) = proxy {
        proxies::set(tx, &id, &spec)?;
    }
    queue::add(tx, &id, &[EngineEvent::roster(EventName::InstanceCreate, &name, id.as_str())])?;
    get(tx.conn, &id)?.ok_or_else(|| StoreError::NoSuchInstance(id).into())
}

fn list(conn: &mut Conn, client_name: &str) -> Result<Vec<InstanceRecord>, Failure> {
    let found: QueryResult<Vec<Joined>> = instance::table
        .left_join(setting::table)
        .left_join(proxy::table)
        .left_join(chatwoot::table)
        .left_join(holdfast_session::table)
        .filter(instance::client_name.eq(client_name))
        .order(in_order())
        .select(columns_of_a_record())
        .load(conn);
    match found {
        Ok(rows) => Ok(rows.into_iter().map(rows::record).collect()),
        Err(DieselError::DeserializationError(_)) => list_one_by_one(conn, client_name),
        Err(error) => Err(error.into()),
    }
}

/// Lists them though rows of some cannot be read, which must not hide the others.
fn list_one_by_one(conn: &mut Conn, client_name: &str) -> Result<Vec<InstanceRecord>, Failure> {
    let known: Vec<(rows::Identity, Option<rows::Session>)> = instance::table
        .left_join(holdfast_session::table)
        .filter(instance::client_name.eq(client_name))
        .order(in_order())
        .select((rows::Identity::as_select(), Option::<rows::Session>::as_select()))
        .load(conn)?;
    let mut records = Vec::with_capacity(known.len());
    for known in known {
        match get(conn, &InstanceId::new(&known.0.id)) {
            Ok(found) => records.extend(found),
            Err(Failure::Store(StoreError::Corrupt { .. })) => records.push(rows::bare(known)),
            Err(failure) => return Err(failure),
        }
    }
    Ok(records)
}

/// Those first that were online last. Whether what is empty comes first is for each database to say: never online comes after everything else.
fn in_order() -> InOrder {
    (
        holdfast_session::last_online_at.is_null().asc(),
        holdfast_session::last_online_at.desc(),
        instance::created_at.asc(),
        instance::id.asc(),
    )
}

type InOrder = (
    diesel::dsl::Asc<diesel::dsl::IsNull<holdfast_session::last_online_at>>,
    diesel::dsl::Desc<holdfast_session::last_online_at>,
    diesel::dsl::Asc<instance::created_at>,
    diesel::dsl::Asc<instance::id>,
);

pub(super) fn get(conn: &mut Conn, id: &InstanceId) -> Result<Option<InstanceRecord>, Failure> {
    let found: QueryResult<Joined> = instance::table
        .left_join(setting::table)
        .left_join(proxy::table)
        .left_join(chatwoot::table)
        .left_join(holdfast_session::table)
        .filter(instance::id.eq(id.as_str()))
        .select(columns_of_a_record())
        .first(conn);
    match found {
        Err(DieselError::DeserializationError(error)) => {
            Err(unreadable(format!("the rows of instance {id}"), error).into())
        }
        found => Ok(found.optional()?.map(rows::record)),
    }
}

type RecordColumns = (
    diesel::dsl::AsSelect<rows::Instance, Backend>,
    diesel::dsl::AsSelect<Option<rows::Setting>, Backend>,
    diesel::dsl::AsSelect<Option<rows::Proxy>, Backend>,
    diesel::dsl::AsSelect<Option<rows::Chatwoot>, Backend>,
    diesel::dsl::AsSelect<Option<rows::Session>, Backend>,
);

fn columns_of_a_record() -> RecordColumns {
    (
        rows::Instance::as_select(),
        Option::<rows::Setting>::as_select(),
        Option::<rows::Proxy>::as_select(),
        Option::<rows::Chatwoot>::as_select(),
        Option::<rows::Session>::as_select(),
    )
}

/// The statement of [`change`]: what is `NULL` stays.
struct Patch;

impl prepared::Text for Patch {
    const SQL: &'static [&'static str] = &[r#"
        UPDATE "Instance" SET "connectionStatus" = coalesce(?, "connectionStatus"), "ownerJid" = coalesce(?, "ownerJid"),
          "profileName" = coalesce(?, "profileName"), "profilePicUrl" = coalesce(?, "profilePicUrl"),
          "disconnectionReasonCode" = coalesce(?, "disconnectionReasonCode"),
          "disconnectionObject" = coalesce(?, "disconnectionObject"), "disconnectionAt" = coalesce(?, "disconnectionAt"),
          "updatedAt" = ?
        WHERE "id" = ?"#];
    type Row = ();
}

/// Notes when an instance was online.
struct Online;

impl prepared::Text for Online {
    const SQL: &'static [&'static str] = &["UPDATE holdfast_session SET last_online_at = ? WHERE instance_id = ?"];
    type Row = ();
}

fn change(tx: &mut Tx<'_>, id: &InstanceId, patch: InstancePatch) -> Result<(), Failure> {
    let InstancePatch {
        connection_status,
        owner_jid,
        profile_name,
        profile_picture,
        disconnection,
        online_now,
        events,
    } = patch;
    let time = column_time(tx.now);
    let row = (
        value::<Nullable<ConnectionStatus>, _>(connection_status.map(|state| Status(Cow::Borrowed(state.as_str())))),
        value::<Nullable<Text>, _>(owner_jid.map(|jid| clip(&jid, columns::SHORT))),
        value::<Nullable<Text>, _>(profile_name.map(|name| clip(&name, columns::SHORT))),
        value::<Nullable<Text>, _>(profile_picture.map(|url| clip(&url, columns::URL))),
        value::<Nullable<Integer>, _>(disconnection.as_ref().map(|(code, _)| *code)),
        // Evolution stores a JSON text inside a JSON string.
        value::<Nullable<Json>, _>(
            disconnection.as_ref().map(|(_, object)| JsonText::of(&serde_json::Value::String(object.clone()))),
        ),
        value::<Nullable<Timestamp>, _>(disconnection.is_some().then_some(time)),
        value::<Timestamp, _>(time),
        value::<Text, _>(id.as_str()),
    );
    if prepared(Patch, row).execute(tx.conn)? == 0 {
        return Err(StoreError::NoSuchInstance(id.clone()).into());
    }
    if online_now {
        let now_ms = tx.now_ms();
        let online = || prepared(Online, (value::<BigInt, _>(now_ms), value::<Text, _>(id.as_str())));
        if online().execute(tx.conn)? == 0 {
            ensure_session(tx, id)?;
            online().execute(tx.conn)?;
        }
    }
    reach!("instance.changed");
    queue::add(tx, id, &events)?;
    Ok(())
}

fn set_desired(tx: &mut Tx<'_>, id: &InstanceId, desired: Desired) -> Result<(), Failure> {
    ensure_session(tx, id)?;
    let desired = holdfast_session::desired.eq(desired_word(desired));
    diesel::update(holdfast_session::table.find(id.as_str())).set(desired).execute(tx.conn)?;
    Ok(())
}

fn delete(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<(), Failure> {
    standing::fence_living(tx, member, id)?;
    let name: Option<String> = instance::table.find(id.as_str()).select(instance::name).first(tx.conn).optional()?;
    let Some(name) = name else {
        return Err(StoreError::NoSuchInstance(id.clone()).into());
    };
    let last = [
        EngineEvent::roster(EventName::InstanceDelete, &name, id.as_str()),
        EngineEvent::bare(EventName::RemoveInstance),
    ];
    queue::add(tx, id, &last)?;
    departed::note(tx, id)?;
    queue::leave_behind(tx, member, id)?;
    // Everything else refers to this row and goes with it; the outbox does not.
    diesel::delete(instance::table.find(id.as_str())).execute(tx.conn)?;
    Ok(())
}
