//! Rows as the driver reads them, and as the ports show them.

use chrono::{DateTime, NaiveDateTime};
use diesel::prelude::*;
use holdfast_core::connection::Desired;
use holdfast_core::id::InstanceId;
use serde_json::{Value, json};

use super::columns::{self, JsonText, Status, moment};
use super::failure::unreadable;
use super::schema::{chatwoot, holdfast_session, instance, proxy, setting, webhook};
use crate::ports::store::{InstanceRecord, ProxyRow, ProxySpec, SettingRow, Settings, StoreError, WebhookRow};

/// An instance with what hangs on it, as one query reads it.
pub(super) type Joined = (Instance, Option<Setting>, Option<Proxy>, Option<Chatwoot>, Option<Session>);

#[derive(Queryable, Selectable)]
#[diesel(table_name = instance)]
pub(super) struct Instance {
    id: String,
    name: String,
    connection_status: Status,
    owner_jid: Option<String>,
    profile_name: Option<String>,
    profile_pic_url: Option<String>,
    integration: Option<String>,
    number: Option<String>,
    business_id: Option<String>,
    token: Option<String>,
    client_name: Option<String>,
    disconnection_reason_code: Option<i32>,
    disconnection_object: Option<JsonText>,
    disconnection_at: Option<NaiveDateTime>,
    created_at: Option<NaiveDateTime>,
    updated_at: Option<NaiveDateTime>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = holdfast_session)]
pub(super) struct Session {
    desired: String,
    paired: bool,
    last_online_at: Option<i64>,
}

/// Who an instance is, whatever else its row holds.
#[derive(Queryable, Selectable)]
#[diesel(table_name = instance)]
pub(super) struct Identity {
    pub(super) id: String,
    name: String,
    token: Option<String>,
    client_name: Option<String>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = setting)]
pub(super) struct Setting {
    id: String,
    reject_call: bool,
    msg_call: Option<String>,
    groups_ignore: bool,
    always_online: bool,
    read_messages: bool,
    read_status: bool,
    sync_full_history: bool,
    wavoip_token: Option<String>,
    created_at: Option<NaiveDateTime>,
    updated_at: NaiveDateTime,
    instance_id: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = proxy)]
pub(super) struct Proxy {
    id: String,
    enabled: bool,
    host: String,
    port: String,
    protocol: String,
    username: String,
    password: String,
    created_at: Option<NaiveDateTime>,
    updated_at: NaiveDateTime,
    instance_id: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = chatwoot)]
pub(super) struct Chatwoot {
    id: String,
    enabled: Option<bool>,
    account_id: Option<String>,
    token: Option<String>,
    url: Option<String>,
    name_inbox: Option<String>,
    sign_msg: Option<bool>,
    sign_delimiter: Option<String>,
    number: Option<String>,
    reopen_conversation: Option<bool>,
    conversation_pending: Option<bool>,
    merge_brazil_contacts: Option<bool>,
    import_contacts: Option<bool>,
    import_messages: Option<bool>,
    days_limit_import_messages: Option<i32>,
    organization: Option<String>,
    logo: Option<String>,
    ignore_jids: Option<JsonText>,
    created_at: Option<NaiveDateTime>,
    updated_at: NaiveDateTime,
    instance_id: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = webhook)]
pub(super) struct Webhook {
    id: String,
    url: String,
    headers: Option<JsonText>,
    enabled: Option<bool>,
    events: Option<JsonText>,
    webhook_by_events: Option<bool>,
    webhook_base64: Option<bool>,
    created_at: Option<NaiveDateTime>,
    updated_at: NaiveDateTime,
    instance_id: String,
}

/// A value of a session, encrypted, on its way into its table.
#[derive(Debug)]
pub(super) struct NewValue<'w> {
    pub(super) category: &'w str,
    pub(super) key: &'w str,
    pub(super) value: Vec<u8>,
    pub(super) expires_at: Option<i64>,
}

/// Puts the rows of one instance together.
pub(super) fn record((row, setting, proxy, chatwoot, session): Joined) -> InstanceRecord {
    let mut unreadable = Vec::new();
    let mut json = |column: Option<&JsonText>, name: &'static str| {
        columns::json(text(column)).unwrap_or_else(|_no_json| {
            unreadable.push(name);
            None
        })
    };
    let disconnection_object = match json(row.disconnection_object.as_ref(), "Instance.disconnectionObject") {
        // Evolution stores a JSON text inside a JSON string.
        Some(Value::String(text)) => Some(text),
        other => other.map(|value| value.to_string()),
    };
    let chatwoot = chatwoot.map(|row| {
        let ignored = json(row.ignore_jids.as_ref(), "Chatwoot.ignoreJids");
        chatwoot_row(row, ignored)
    });
    InstanceRecord {
        id: InstanceId::new(&row.id),
        name: row.name,
        // Evolution creates no instance without a token; an empty one opens nothing.
        token: row.token.unwrap_or_default(),
        integration: row.integration,
        number: row.number,
        business_id: row.business_id,
        client_name: row.client_name,
        connection_status: row.connection_status.0.into_owned(),
        owner_jid: row.owner_jid,
        profile_name: row.profile_name,
        profile_picture: row.profile_pic_url,
        disconnection_code: row.disconnection_reason_code,
        disconnection_object,
        disconnection_at: row.disconnection_at.map(moment),
        created_at: row.created_at.map(moment),
        updated_at: row.updated_at.map(moment),
        desired: session.as_ref().map_or(Desired::Stopped, |session| desired(&session.desired)),
        paired: session.as_ref().is_some_and(|session| session.paired),
        last_online_at: session.and_then(|session| session.last_online_at).and_then(DateTime::from_timestamp_millis),
        setting: setting.map(Into::into),
        proxy: proxy.map(Into::into),
        chatwoot,
        unreadable,
    }
}

/// Tells of an instance whose rows cannot be read who it is, and whether it is to be connected.
pub(super) fn bare(
    (Identity { id, name, token, client_name }, session): (Identity, Option<Session>),
) -> InstanceRecord {
    let row = Instance {
        id,
        name,
        connection_status: Status::CLOSE,
        owner_jid: None,
        profile_name: None,
        profile_pic_url: None,
        integration: None,
        number: None,
        business_id: None,
        token,
        client_name,
        disconnection_reason_code: None,
        disconnection_object: None,
        disconnection_at: None,
        created_at: None,
        updated_at: None,
    };
    InstanceRecord { unreadable: vec![InstanceRecord::UNREADABLE], ..record((row, None, None, None, session)) }
}

/// Returns the word that the column holds.
pub(super) fn desired_word(desired: Desired) -> &'static str {
    match desired {
        Desired::Connected => "connected",
        Desired::Stopped => "stopped",
    }
}

fn desired(word: &str) -> Desired {
    if word == "connected" { Desired::Connected } else { Desired::Stopped }
}

impl From<Setting> for SettingRow {
    fn from(row: Setting) -> Self {
        Self {
            id: row.id,
            settings: Settings {
                reject_call: row.reject_call,
                msg_call: row.msg_call.unwrap_or_default(),
                groups_ignore: row.groups_ignore,
                always_online: row.always_online,
                read_messages: row.read_messages,
                read_status: row.read_status,
                sync_full_history: row.sync_full_history,
                wavoip_token: row.wavoip_token.unwrap_or_default(),
            },
            created_at: moment(row.created_at.unwrap_or(row.updated_at)),
            updated_at: moment(row.updated_at),
            instance_id: InstanceId::new(row.instance_id),
        }
    }
}

impl From<Proxy> for ProxyRow {
    fn from(row: Proxy) -> Self {
        let Proxy { id, enabled, host, port, protocol, username, password, created_at, updated_at, instance_id } = row;
        Self {
            id,
            spec: ProxySpec { enabled, host, port, protocol, username, password },
            created_at: created_at.map(moment),
            updated_at: moment(updated_at),
            instance_id: InstanceId::new(instance_id),
        }
    }
}

fn chatwoot_row(row: Chatwoot, ignored: Option<Value>) -> Value {
    json!({
        "id": row.id,
        "enabled": row.enabled,
        "accountId": row.account_id,
        "token": row.token,
        "url": row.url,
        "nameInbox": row.name_inbox,
        "signMsg": row.sign_msg,
        "signDelimiter": row.sign_delimiter,
        "number": row.number,
        "reopenConversation": row.reopen_conversation,
        "conversationPending": row.conversation_pending,
        "mergeBrazilContacts": row.merge_brazil_contacts,
        "importContacts": row.import_contacts,
        "importMessages": row.import_messages,
        "daysLimitImportMessages": row.days_limit_import_messages,
        "organization": row.organization,
        "logo": row.logo,
        "ignoreJids": ignored,
        "createdAt": iso(row.created_at),
        "updatedAt": iso(Some(row.updated_at)),
        "instanceId": row.instance_id,
    })
}

impl TryFrom<Webhook> for WebhookRow {
    type Error = StoreError;

    fn try_from(row: Webhook) -> Result<Self, StoreError> {
        let headers = columns::json(text(row.headers.as_ref()))
            .map_err(|error| unreadable(format!("the webhook headers of instance {}", row.instance_id), error))?;
        Ok(Self {
            headers,
            events: event_keys(row.events.as_ref(), &row.instance_id)?,
            id: row.id,
            url: row.url,
            enabled: row.enabled.unwrap_or(false),
            webhook_by_events: row.webhook_by_events.unwrap_or(false),
            webhook_base64: row.webhook_base64.unwrap_or(false),
            created_at: moment(row.created_at.unwrap_or(row.updated_at)),
            updated_at: moment(row.updated_at),
            instance_id: InstanceId::new(row.instance_id),
        })
    }
}

/// Reads a column of subscription keys. An empty one means none; one that cannot be read is an error, for events would be lost silently.
pub(super) fn event_keys(column: Option<&JsonText>, instance: &str) -> Result<Vec<String>, StoreError> {
    let keys: Option<Vec<String>> = serde_json::from_str(text(column).unwrap_or("null"))
        .map_err(|error| unreadable(format!("the webhook events of instance {instance}"), error))?;
    Ok(keys.unwrap_or_default())
}

fn text(column: Option<&JsonText>) -> Option<&str> {
    column.map(|column| column.0.as_str())
}

fn iso(column: Option<NaiveDateTime>) -> Option<String> {
    column.map(|time| moment(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}
