//! Rows of instances.

use async_trait::async_trait;
use chrono::NaiveDateTime;
use diesel::prelude::*;
use holdfast_core::connection::Desired;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;

use super::writer::Tx;
use super::{SqliteStore, proxies, queue, settings, webhooks};
use crate::ports::store::{
    InstancePatch, InstanceRecord, Instances, NewInstance, ProxySpec, SettingRow, SettingsSpec, StoreError, WebhookRow,
    WebhookSpec,
};
use crate::store::columns::{self, clip, column_time};
use crate::store::failure::{Failure, is_duplicate};
use crate::store::rows::{self, Joined, desired_word};
use crate::store::schema::{chatwoot, holdfast_session, instance, proxy, setting};

#[async_trait]
impl Instances for SqliteStore {
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError> {
        let client_name = self.client_name.clone();
        self.writer.submit("inserting an instance", move |tx| insert(tx, &client_name, new)).await
    }

    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        let client_name = self.client_name.clone();
        self.readers.submit("listing instances", move |conn| list(conn, &client_name)).await
    }

    async fn get(&self, id: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        let id = id.clone();
        self.readers.submit("reading an instance", move |conn| get(conn, &id)).await
    }

    async fn patch(&self, id: &InstanceId, patch: InstancePatch) -> Result<(), StoreError> {
        let id = id.clone();
        self.writer.submit("changing an instance", move |tx| change(tx, &id, patch)).await
    }

    async fn set_desired(&self, id: &InstanceId, desired: Desired) -> Result<(), StoreError> {
        let id = id.clone();
        self.writer.submit("storing what the operator wants", move |tx| set_desired(tx, &id, desired)).await
    }

    async fn delete(&self, id: &InstanceId) -> Result<(), StoreError> {
        let id = id.clone();
        self.writer.submit("deleting an instance", move |tx| delete(tx, &id)).await
    }

    async fn webhook(&self, id: &InstanceId) -> Result<Option<WebhookRow>, StoreError> {
        let id = id.clone();
        self.readers.submit("reading a webhook", move |conn| webhooks::read(conn, &id)).await
    }

    async fn set_webhook(&self, id: &InstanceId, spec: WebhookSpec) -> Result<WebhookRow, StoreError> {
        let id = id.clone();
        self.writer.submit("setting a webhook", move |tx| webhooks::set(tx, &id, &spec)).await
    }

    async fn settings(&self, id: &InstanceId) -> Result<Option<SettingRow>, StoreError> {
        let id = id.clone();
        self.readers.submit("reading the settings of an instance", move |conn| settings::read(conn, &id)).await
    }

    async fn set_settings(&self, id: &InstanceId, spec: SettingsSpec) -> Result<SettingRow, StoreError> {
        let id = id.clone();
        self.writer.submit("changing the settings of an instance", move |tx| settings::set(tx, &id, &spec)).await
    }

    async fn set_proxy(&self, id: &InstanceId, spec: ProxySpec) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer.submit("setting a proxy", move |tx| proxies::set(tx, &id, &spec)).await
    }
}

/// Errs unless there is such an instance: "nothing stored" must never be the answer for one that does not exist.
pub(super) fn require(conn: &mut SqliteConnection, id: &InstanceId) -> Result<(), Failure> {
    let found: Option<String> = instance::table.find(id.as_str()).select(instance::id).first(conn).optional()?;
    found.map(drop).ok_or_else(|| StoreError::NoSuchInstance(id.clone()).into())
}

/// Makes sure that the instance has a row among our own. One that Evolution created has none until it is first used.
pub(super) fn ensure_session(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Failure> {
    require(tx.conn, id)?;
    let row = holdfast_session::instance_id.eq(id.as_str());
    diesel::insert_or_ignore_into(holdfast_session::table).values(row).execute(tx.conn)?;
    Ok(())
}

fn insert(tx: &mut Tx<'_>, client_name: &str, new: NewInstance) -> Result<InstanceRecord, Failure> {
    let NewInstance { id, name, token, integration, number, settings: wanted, webhook, proxy } = new;
    let time = column_time(tx.now);
    let row = (
        instance::id.eq(id.as_str()),
        instance::name.eq(&name),
        instance::connection_status.eq("close"),
        instance::integration.eq(clip(&integration, columns::SHORT)),
        instance::number.eq(number.as_deref().map(|number| clip(number, columns::SHORT))),
        instance::token.eq(token),
        instance::client_name.eq(client_name),
        instance::created_at.eq(time),
        instance::updated_at.eq(time),
    );
    match diesel::insert_into(instance::table).values(row).execute(tx.conn) {
        Ok(_one) => {}
        Err(error) if is_duplicate(&error) && name_exists(tx.conn, &name)? => {
            return Err(StoreError::NameTaken(name).into());
        }
        Err(error) => return Err(error.into()),
    }
    settings::insert(tx, &id, &wanted)?;
    ensure_session(tx, &id)?;
    if let Some(spec) = webhook {
        webhooks::set(tx, &id, &spec)?;
    }
    if let Some(spec) = proxy {
        proxies::set(tx, &id, &spec)?;
    }
    queue::add(tx, &id, &[EngineEvent::roster(EventName::InstanceCreate, &name, id.as_str())])?;
    get(tx.conn, &id)?.ok_or_else(|| StoreError::NoSuchInstance(id).into())
}

fn name_exists(conn: &mut SqliteConnection, name: &str) -> Result<bool, Failure> {
    Ok(diesel::select(diesel::dsl::exists(instance::table.filter(instance::name.eq(name)))).get_result(conn)?)
}

fn list(conn: &mut SqliteConnection, client_name: &str) -> Result<Vec<InstanceRecord>, Failure> {
    let found: Vec<Joined> = instance::table
        .left_join(setting::table)
        .left_join(proxy::table)
        .left_join(chatwoot::table)
        .left_join(holdfast_session::table)
        .filter(instance::client_name.eq(client_name))
        // SQLite sorts what is empty last when it sorts downwards: never online comes after everything else.
        .order((holdfast_session::last_online_at.desc(), instance::created_at.asc(), instance::id.asc()))
        .select(columns_of_a_record())
        .load(conn)?;
    found.into_iter().map(|row| rows::record(row).map_err(Failure::from)).collect()
}

fn get(conn: &mut SqliteConnection, id: &InstanceId) -> Result<Option<InstanceRecord>, Failure> {
    let found: Option<Joined> = instance::table
        .left_join(setting::table)
        .left_join(proxy::table)
        .left_join(chatwoot::table)
        .left_join(holdfast_session::table)
        .filter(instance::id.eq(id.as_str()))
        .select(columns_of_a_record())
        .first(conn)
        .optional()?;
    Ok(found.map(rows::record).transpose()?)
}

type RecordColumns = (
    diesel::dsl::AsSelect<rows::Instance, diesel::sqlite::Sqlite>,
    diesel::dsl::AsSelect<Option<rows::Setting>, diesel::sqlite::Sqlite>,
    diesel::dsl::AsSelect<Option<rows::Proxy>, diesel::sqlite::Sqlite>,
    diesel::dsl::AsSelect<Option<rows::Chatwoot>, diesel::sqlite::Sqlite>,
    diesel::dsl::AsSelect<Option<rows::Session>, diesel::sqlite::Sqlite>,
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

/// The columns that a patch can change; what is `None` stays.
#[derive(AsChangeset)]
#[diesel(table_name = instance)]
struct Changes {
    connection_status: Option<&'static str>,
    owner_jid: Option<String>,
    profile_name: Option<String>,
    profile_pic_url: Option<String>,
    disconnection_reason_code: Option<i32>,
    disconnection_object: Option<String>,
    disconnection_at: Option<NaiveDateTime>,
    updated_at: Option<NaiveDateTime>,
}

fn change(tx: &mut Tx<'_>, id: &InstanceId, patch: InstancePatch) -> Result<(), Failure> {
    let InstancePatch { connection_status, owner_jid, profile_name, profile_picture, disconnection, online_now } =
        patch;
    let time = column_time(tx.now);
    let changes = Changes {
        connection_status: connection_status.map(holdfast_core::connection::state::PublicState::as_str),
        owner_jid: owner_jid.map(|jid| clip(&jid, columns::SHORT)),
        profile_name: profile_name.map(|name| clip(&name, columns::SHORT)),
        profile_pic_url: profile_picture.map(|url| clip(&url, columns::URL)),
        disconnection_reason_code: disconnection.as_ref().map(|(code, _)| *code),
        disconnection_at: disconnection.as_ref().map(|_| time),
        // Evolution stores a JSON text inside a JSON string.
        disconnection_object: disconnection.map(|(_, object)| serde_json::Value::String(object).to_string()),
        updated_at: Some(time),
    };
    if diesel::update(instance::table.find(id.as_str())).set(changes).execute(tx.conn)? == 0 {
        return Err(StoreError::NoSuchInstance(id.clone()).into());
    }
    if online_now {
        ensure_session(tx, id)?;
        let online = holdfast_session::last_online_at.eq(tx.now_ms());
        diesel::update(holdfast_session::table.find(id.as_str())).set(online).execute(tx.conn)?;
    }
    Ok(())
}

fn set_desired(tx: &mut Tx<'_>, id: &InstanceId, desired: Desired) -> Result<(), Failure> {
    ensure_session(tx, id)?;
    let desired = holdfast_session::desired.eq(desired_word(desired));
    diesel::update(holdfast_session::table.find(id.as_str())).set(desired).execute(tx.conn)?;
    Ok(())
}

fn delete(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Failure> {
    let name: Option<String> = instance::table.find(id.as_str()).select(instance::name).first(tx.conn).optional()?;
    let Some(name) = name else {
        return Err(StoreError::NoSuchInstance(id.clone()).into());
    };
    let last = [
        EngineEvent::roster(EventName::InstanceDelete, &name, id.as_str()),
        EngineEvent::bare(EventName::RemoveInstance),
    ];
    queue::add(tx, id, &last)?;
    // Everything else refers to this row and goes with it; the outbox does not.
    diesel::delete(instance::table.find(id.as_str())).execute(tx.conn)?;
    Ok(())
}
