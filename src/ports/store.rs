//! What is stored about instances, in the tables that Evolution knows.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_core::conduct::Conduct;
use holdfast_core::connection::Desired;
use holdfast_core::connection::state::PublicState;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use holdfast_core::proxy::Fields;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::copies::Copies;
use super::dead_letters::DeadLetters;
use super::leases::Leases;
use super::outbox::Outbox;
use super::sends::Sends;
use super::session::Sessions;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer, or answered with an error that is not about the data. Worth another try.
    #[error("the database does not answer: {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// What was read cannot be understood or decrypted. It is never treated as absent.
    #[error("a stored value cannot be read: {what}")]
    Corrupt {
        /// Which value, without its content.
        what: String,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// Another owner has taken the session; nothing was written.
    #[error("another owner has taken the session of instance {0}")]
    FencedOff(InstanceId),
    /// Another node holds the lease.
    #[error("node {by} owns instance {instance}")]
    LeaseHeld {
        /// The instance.
        instance: InstanceId,
        /// The owner.
        by: String,
    },
    /// Another process has this node's name.
    #[error("another process is node {node}")]
    NodeInUse {
        /// The name.
        node: String,
    },
    /// The name is in use.
    #[error("the name {0:?} is in use")]
    NameTaken(String),
    /// There is no such row.
    #[error("there is no instance {0}")]
    NoSuchInstance(InstanceId),
}

impl StoreError {
    /// Tells it with all its causes, in one line.
    pub fn whole(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// What a new instance begins with.
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// The primary key.
    pub id: InstanceId,
    /// The name in every path.
    pub name: String,
    /// The token, which the API calls `hash`.
    pub token: String,
    /// `WHATSAPP-BAILEYS`.
    pub integration: String,
    /// The number, as it was given.
    pub number: Option<String>,
    /// The settings.
    pub settings: Settings,
    /// The webhook, if one was given.
    pub webhook: Option<WebhookSpec>,
    /// The proxy, if one was given.
    pub proxy: Option<ProxySpec>,
}

/// A row of `Instance` with what hangs on it.
#[derive(Debug, Clone)]
pub struct InstanceRecord {
    pub id: InstanceId,
    pub name: String,
    pub token: String,
    pub integration: Option<String>,
    pub number: Option<String>,
    pub business_id: Option<String>,
    pub client_name: Option<String>,
    /// The state as last written; reads ask the board instead.
    pub connection_status: String,
    pub owner_jid: Option<String>,
    pub profile_name: Option<String>,
    pub profile_picture: Option<String>,
    pub disconnection_code: Option<i32>,
    /// JSON text, as Evolution stores it.
    pub disconnection_object: Option<String>,
    pub disconnection_at: Option<DateTime<Utc>>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    /// What the operator wants.
    pub desired: Desired,
    /// Whether there are credentials.
    pub paired: bool,
    /// When it was last online.
    pub last_online_at: Option<DateTime<Utc>>,
    /// The `Setting` row.
    pub setting: Option<SettingRow>,
    /// The `Proxy` row.
    pub proxy: Option<ProxyRow>,
    /// The `Chatwoot` row in the API's shape.
    pub chatwoot: Option<Value>,
    /// Columns that hold something that cannot be read, as `Chatwoot.ignoreJids`: their fields are empty here, which says nothing. Of a row that
    /// cannot be read at all ([`UNREADABLE`](Self::UNREADABLE)) only the identity is here, and what the operator wants.
    pub unreadable: Vec<&'static str>,
}

impl InstanceRecord {
    /// Stands for all columns of a row.
    pub const UNREADABLE: &str = "Instance";

    /// Tells whether the row bears a trace of a login: its account, its time, or its end stay after the credentials are gone.
    pub fn was_ever_paired(&self) -> bool {
        self.paired
            || self.owner_jid.is_some()
            || self.last_online_at.is_some()
            || self.disconnection_at.is_some()
            || self.disconnection_code.is_some()
    }
}

/// Changes to a row of `Instance`; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct InstancePatch {
    /// The public state.
    pub connection_status: Option<PublicState>,
    /// The number's JID without device; clipped to what the column holds.
    pub owner_jid: Option<String>,
    /// Clipped to what the column holds.
    pub profile_name: Option<String>,
    /// Clipped to what the column holds.
    pub profile_picture: Option<String>,
    /// Why and when the login ended: code and JSON text.
    pub disconnection: Option<(i32, String)>,
    /// The instance has just come online.
    pub online_now: bool,
    /// What is told of the change, in this order: it is queued with it or not at all.
    pub events: Vec<EngineEvent>,
}

/// The settings of one instance, in the API's shape.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the row and the API have these switches")]
pub struct Settings {
    pub reject_call: bool,
    pub msg_call: String,
    pub groups_ignore: bool,
    pub always_online: bool,
    pub read_messages: bool,
    pub read_status: bool,
    pub sync_full_history: bool,
    pub wavoip_token: String,
}

impl Settings {
    /// Returns what they mean for a connection.
    pub fn conduct(&self) -> Conduct {
        Conduct {
            reject_call: self.reject_call,
            msg_call: self.msg_call.clone(),
            groups_ignore: self.groups_ignore,
            always_online: self.always_online,
            read_messages: self.read_messages,
            read_status: self.read_status,
            sync_full_history: self.sync_full_history,
        }
    }
}

/// What a client sets; a text that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the row and the API have these switches")]
pub struct SettingsSpec {
    pub reject_call: bool,
    pub msg_call: Option<String>,
    pub groups_ignore: bool,
    pub always_online: bool,
    pub read_messages: bool,
    pub read_status: bool,
    pub sync_full_history: bool,
    pub wavoip_token: Option<String>,
}

/// A row of `Setting`, in the API's shape.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingRow {
    pub id: String,
    #[serde(flatten)]
    pub settings: Settings,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub instance_id: InstanceId,
}

/// A proxy as a client asks for it and as the row holds it: texts that nobody has judged.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxySpec {
    pub enabled: bool,
    pub host: String,
    pub port: String,
    pub protocol: String,
    pub username: String,
    pub password: String,
}

impl ProxySpec {
    /// Returns the proxy that is switched off, which holds nothing.
    pub fn off() -> Self {
        let empty = String::new;
        Self { enabled: false, host: empty(), port: empty(), protocol: empty(), username: empty(), password: empty() }
    }

    /// Returns the texts, to be judged.
    pub fn fields(&self) -> Fields<'_> {
        let Self { host, port, protocol, username, password, .. } = self;
        Fields { host, port, protocol, username, password }
    }
}

/// Never the credentials.
impl fmt::Debug for ProxySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { enabled, host, port, protocol, .. } = self;
        write!(f, "ProxySpec {{ enabled: {enabled}, {protocol:?} at {host:?}, {port:?} }}")
    }
}

/// A row of `Proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRow {
    pub id: String,
    pub spec: ProxySpec,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub instance_id: InstanceId,
}

/// What a client asks of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSpec {
    pub enabled: bool,
    pub url: String,
    /// A JSON object of header names and values, or `None`.
    pub headers: Option<Value>,
    pub by_events: bool,
    pub base64: bool,
    pub events: Vec<EventName>,
}

/// A row of `Webhook`, in the API's shape.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRow {
    pub id: String,
    pub url: String,
    pub headers: Option<Value>,
    pub enabled: bool,
    /// The subscription keys.
    pub events: Vec<String>,
    pub webhook_by_events: bool,
    pub webhook_base64: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub instance_id: InstanceId,
}

/// Rows of instances, webhooks and settings.
#[async_trait]
pub trait Instances: Send + Sync {
    /// Inserts the instance with its settings and webhook, all or nothing, as one of this node's, and queues its `instance.create` event.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] if the name is in use under any client name.
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError>;

    /// Reads every instance of this installation's client name, most recently online first.
    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError>;

    /// Reads one instance.
    async fn get(&self, id: &InstanceId) -> Result<Option<InstanceRecord>, StoreError>;

    /// Reads an instance as [`list`](Self::list) tells of it: one whose rows cannot be read is there, without its settings. For whoever does not
    /// go by these.
    async fn find(&self, id: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        match self.get(id).await {
            Err(StoreError::Corrupt { .. }) => Ok(self.list().await?.into_iter().find(|record| record.id == *id)),
            read => read,
        }
    }

    /// Changes a row, and queues the events that tell of it, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::FencedOff`] if another node owns the instance.
    async fn patch(&self, id: &InstanceId, patch: InstancePatch) -> Result<(), StoreError>;

    /// Stores what the operator wants.
    ///
    /// # Errors
    /// [`StoreError::FencedOff`] if another node owns the instance.
    async fn set_desired(&self, id: &InstanceId, desired: Desired) -> Result<(), StoreError>;

    /// Queues `instance.delete` and `remove.instance` and removes the instance with everything that hangs on it, in one transaction.
    /// Queued deliveries stay.
    ///
    /// # Errors
    /// [`StoreError::FencedOff`] if another node that lives owns the instance.
    async fn delete(&self, id: &InstanceId) -> Result<(), StoreError>;

    /// Reads the webhook, `None` if none was ever set.
    async fn webhook(&self, id: &InstanceId) -> Result<Option<WebhookRow>, StoreError>;

    /// Creates or replaces the webhook. Disabling one drops what was queued for it.
    async fn set_webhook(&self, id: &InstanceId, spec: WebhookSpec) -> Result<WebhookRow, StoreError>;

    /// Reads the settings, `None` if the instance has none. An unknown instance is an error.
    async fn settings(&self, id: &InstanceId) -> Result<Option<SettingRow>, StoreError>;

    /// Creates or replaces the settings.
    async fn set_settings(&self, id: &InstanceId, spec: SettingsSpec) -> Result<SettingRow, StoreError>;

    /// Creates or replaces the proxy; returns whether that has changed anything. [`Instances::get`] reads it.
    async fn set_proxy(&self, id: &InstanceId, spec: ProxySpec) -> Result<bool, StoreError>;
}

/// Everything durable, behind one handle. Each database is one implementation, and all pass one conformance suite.
#[async_trait]
pub trait Store: Instances + Sessions + Copies + Leases + Outbox + DeadLetters + Sends {
    /// Reads and writes one row, to see whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Waits for what was submitted, then closes the files. Later calls fail.
    async fn close(&self) -> Result<(), StoreError>;
}
