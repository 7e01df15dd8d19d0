//! What webhooks and other sinks see: the names of Evolution's events and their payloads.

use serde_json::{Value, json};

use crate::connection::DownReason;
use crate::explanation::{Date, Explanation};

macro_rules! names {
    ($($variant:ident $dotted:literal $key:literal),+ $(,)?) => {
        /// The name of an event, one of those that Evolution's clients may ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventName {
            $(#[doc = concat!("`", $dotted, "`")] $variant,)+
        }

        impl EventName {
            /// Every name, in the order in which Evolution lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the dotted name that stands in the envelope.
            pub fn dotted(self) -> &'static str {
                match self { $(Self::$variant => $dotted),+ }
            }

            /// Returns the key by which subscriptions name it.
            pub fn key(self) -> &'static str {
                match self { $(Self::$variant => $key),+ }
            }

            /// Finds the event that a subscription names.
            pub fn from_key(key: &str) -> Option<Self> {
                match key {
                    $($key => Some(Self::$variant),)+
                    // Evolution's list says GROUP_UPDATE, its events say groups.update; both are meant.
                    "GROUP_UPDATE" => Some(Self::GroupsUpdate),
                    _ => None,
                }
            }
        }
    };
}

names! {
    ApplicationStartup "application.startup" "APPLICATION_STARTUP",
    InstanceCreate "instance.create" "INSTANCE_CREATE",
    InstanceDelete "instance.delete" "INSTANCE_DELETE",
    QrcodeUpdated "qrcode.updated" "QRCODE_UPDATED",
    MessagesSet "messages.set" "MESSAGES_SET",
    MessagesUpsert "messages.upsert" "MESSAGES_UPSERT",
    MessagesEdited "messages.edited" "MESSAGES_EDITED",
    MessagesUpdate "messages.update" "MESSAGES_UPDATE",
    MessagesDelete "messages.delete" "MESSAGES_DELETE",
    SendMessage "send.message" "SEND_MESSAGE",
    SendMessageUpdate "send.message.update" "SEND_MESSAGE_UPDATE",
    ContactsSet "contacts.set" "CONTACTS_SET",
    ContactsUpsert "contacts.upsert" "CONTACTS_UPSERT",
    ContactsUpdate "contacts.update" "CONTACTS_UPDATE",
    PresenceUpdate "presence.update" "PRESENCE_UPDATE",
    ChatsSet "chats.set" "CHATS_SET",
    ChatsUpsert "chats.upsert" "CHATS_UPSERT",
    ChatsUpdate "chats.update" "CHATS_UPDATE",
    ChatsDelete "chats.delete" "CHATS_DELETE",
    GroupsUpsert "groups.upsert" "GROUPS_UPSERT",
    GroupsUpdate "groups.update" "GROUPS_UPDATE",
    GroupParticipantsUpdate "group-participants.update" "GROUP_PARTICIPANTS_UPDATE",
    ConnectionUpdate "connection.update" "CONNECTION_UPDATE",
    LabelsEdit "labels.edit" "LABELS_EDIT",
    LabelsAssociation "labels.association" "LABELS_ASSOCIATION",
    Call "call" "CALL",
    TypebotStart "typebot.start" "TYPEBOT_START",
    TypebotChangeStatus "typebot.change-status" "TYPEBOT_CHANGE_STATUS",
    RemoveInstance "remove.instance" "REMOVE_INSTANCE",
    LogoutInstance "logout.instance" "LOGOUT_INSTANCE",
    StatusInstance "status.instance" "STATUS_INSTANCE",
}

impl EventName {
    /// Returns the path suffix that `webhookByEvents` appends to the URL.
    pub fn suffix(self) -> String {
        self.key().to_lowercase().replace('_', "-")
    }

    /// Finds the event of a stored row.
    pub fn from_dotted(dotted: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.dotted() == dotted)
    }
}

/// One event of one instance, before it is put into an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineEvent {
    /// What happened.
    pub name: EventName,
    /// The payload, in Evolution's shape.
    pub data: Value,
}

/// Whose connection an event speaks about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The number's JID, without a device.
    pub jid: Option<String>,
    /// The name that its owner shows.
    pub name: Option<String>,
    /// Where its picture is.
    pub picture: Option<String>,
}

impl EngineEvent {
    /// `instance.create` or `instance.delete`.
    pub fn roster(name: EventName, instance: &str, id: &str) -> Self {
        Self { name, data: json!({ "instanceName": instance, "instanceId": id }) }
    }

    /// `connection.update` with the state `connecting`.
    pub fn connecting(instance: &str, why: Option<&Explanation>, date: Date<'_>) -> Self {
        Self::not_open(instance, "connecting", why, date)
    }

    /// `connection.update` with the state `open`.
    pub fn open(instance: &str, owner: &Owner) -> Self {
        let mut data =
            json!({ "instance": instance, "state": "open", "statusReason": 200, "profilePictureUrl": owner.picture });
        put(&mut data, "wuid", owner.jid.as_deref());
        put(&mut data, "profileName", owner.name.as_deref());
        Self { name: EventName::ConnectionUpdate, data }
    }

    /// `connection.update` with the state `close`.
    pub fn closed(instance: &str, why: Option<&Explanation>, date: Date<'_>) -> Self {
        Self::not_open(instance, "close", why, date)
    }

    fn not_open(instance: &str, state: &str, why: Option<&Explanation>, date: Date<'_>) -> Self {
        let reason = why.map_or(200, |why| why.status_reason);
        let mut data = json!({ "instance": instance, "state": state, "statusReason": reason });
        if let Some(why) = why {
            why.write(&mut data, date);
        }
        Self { name: EventName::ConnectionUpdate, data }
    }

    /// `connection.update` with the state `refused`: nobody scanned in time.
    pub fn refused(instance: &str, owner: &Owner) -> Self {
        let mut data = json!({ "instance": instance, "state": "refused", "statusReason": 428 });
        put(&mut data, "wuid", owner.jid.as_deref());
        put(&mut data, "profileName", owner.name.as_deref());
        put(&mut data, "profilePictureUrl", owner.picture.as_deref());
        Self { name: EventName::ConnectionUpdate, data }
    }

    /// `qrcode.updated` with a code to show.
    pub fn qr(instance: &str, code: Option<&str>, base64: Option<&str>, pairing_code: Option<&str>) -> Self {
        let mut qrcode = json!({ "instance": instance, "pairingCode": pairing_code });
        put(&mut qrcode, "code", code);
        put(&mut qrcode, "base64", base64);
        Self { name: EventName::QrcodeUpdated, data: json!({ "qrcode": qrcode }) }
    }

    /// `qrcode.updated` after the last code.
    pub fn qr_limit() -> Self {
        Self {
            name: EventName::QrcodeUpdated,
            data: json!({ "message": "QR code limit reached, please login again", "statusCode": 500 }),
        }
    }

    /// `status.instance`: the connection has ended and is not redialled as usual; `at` is an ISO date, `object` what
    /// [`disconnection_object`] made of the end.
    pub fn ended(instance: &str, why: &Explanation, date: Date<'_>, at: &str, object: &str) -> Self {
        let mut data = json!({
            "instance": instance,
            "status": "closed",
            "disconnectionAt": at,
            "disconnectionReasonCode": why.status_reason,
            "disconnectionObject": object,
        });
        why.write(&mut data, date);
        Self { name: EventName::StatusInstance, data }
    }

    /// `logout.instance` or `remove.instance`, which carry no data.
    pub fn bare(name: EventName) -> Self {
        Self { name, data: Value::Null }
    }
}

/// Returns the JSON text that Evolution stores as `disconnectionObject` and sends in `status.instance`; `reason` in it is ours, for
/// [`remembered_end`].
pub fn disconnection_object(why: &DownReason, at: &str) -> String {
    let mut object = boom(why.status_reason(), why.code(), why.sentence(), at);
    object["reason"] = json!(why);
    object.to_string()
}

/// Returns the JSON text that says the same of an end that has no reason of its own, as a quarantine.
pub fn explained_object(why: &Explanation, at: &str) -> String {
    boom(why.status_reason, why.code, why.sentence, at).to_string()
}

fn boom(status: u16, code: &str, sentence: &str, at: &str) -> Value {
    json!({
        "error": {
            "data": { "code": code },
            "isBoom": true,
            "isServer": false,
            "output": {
                "statusCode": status,
                "payload": { "statusCode": status, "error": code, "message": sentence },
                "headers": {}
            }
        },
        "date": at,
    })
}

/// Reads the end of a link from a stored `disconnectionObject`; `None` if another program wrote it.
pub fn remembered_end(object: &str) -> Option<DownReason> {
    let object: Value = serde_json::from_str(object).ok()?;
    // Evolution keeps the text as a JSON string inside JSON.
    let object = if let Value::String(inner) = &object { serde_json::from_str(inner).ok()? } else { object };
    serde_json::from_value(object.get("reason")?.clone()).ok()
}

fn put(data: &mut Value, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        data[key] = json!(value);
    }
}
