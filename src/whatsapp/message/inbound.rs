//! A received message: its key, whether it is announced, and as what.

use holdfast_core::conduct::{Chat, Conduct};
use holdfast_core::event::{EngineEvent, EventName};
use serde_json::{Map, Value, json};
use wacore::types::events::InboundMessage;
use wacore::types::message::{AddressingMode, MessageInfo};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::ProtocolMessage;
use waproto::whatsapp::message::protocol_message::Type;

use super::content::content;
use super::protobuf_json;
use crate::ports::session::{Accepted, MessageKey};

/// Returns what is committed for a received message.
pub(in crate::whatsapp) fn accepted(received: &InboundMessage, instance: &str, conduct: &Conduct) -> Accepted {
    let source = &received.info.source;
    // What is not told is accepted all the same: it came, and must not come again.
    let told = conduct.tells(Chat::of(&source.chat.to_string()));
    Accepted {
        // As the library names its pending rows, so that both speak of the same message.
        key: MessageKey {
            chat: source.chat.to_string(),
            sender: source.sender.to_string(),
            id: received.info.id.clone(),
        },
        event: told.then(|| event(&received.message, &received.info, instance)).flatten(),
        recovered: received.info.unavailable_request_id.is_some(),
    }
}

fn event(message: &wa::Message, info: &MessageInfo, instance: &str) -> Option<EngineEvent> {
    // What an own device has sent arrives wrapped.
    let message = message.device_sent_message.as_option().and_then(|sent| sent.message.as_option()).unwrap_or(message);
    if let Some(protocol) = protocol(message) {
        return protocol_event(protocol, info);
    }
    Some(EngineEvent { name: EventName::MessagesUpsert, data: upsert(message, info, instance) })
}

fn protocol(message: &wa::Message) -> Option<&ProtocolMessage> {
    let edited = message.edited_message.as_option().and_then(|wrapper| wrapper.message.as_option());
    message.protocol_message.as_option().or_else(|| edited.and_then(|message| message.protocol_message.as_option()))
}

/// Edits and revocations are announced; everything else that is said by protocol messages is between an account's own devices, key
/// material among it.
fn protocol_event(protocol: &ProtocolMessage, info: &MessageInfo) -> Option<EngineEvent> {
    match protocol.r#type {
        Some(Type::MESSAGE_EDIT) => {
            Some(EngineEvent { name: EventName::MessagesEdited, data: protobuf_json::value(protocol)? })
        }
        Some(Type::REVOKE) => {
            let revoked = protocol.key.as_option()?;
            let mut key = Map::new();
            key.insert("remoteJid".to_owned(), json!(info.source.chat.to_non_ad_string()));
            key.insert("fromMe".to_owned(), json!(info.source.is_from_me));
            key.insert("id".to_owned(), json!(revoked.id));
            if info.source.is_group {
                key.insert("participant".to_owned(), json!(info.source.sender.to_non_ad_string()));
            }
            Some(EngineEvent { name: EventName::MessagesDelete, data: Value::Object(key) })
        }
        _ => None,
    }
}

fn upsert(message: &wa::Message, info: &MessageInfo, instance: &str) -> Value {
    let content = content(message);
    let from_me = info.source.is_from_me;
    let mut data = json!({
        "key": key(info),
        "pushName": push_name(info),
        "status": if from_me { "SERVER_ACK" } else { "DELIVERY_ACK" },
        "message": content.message,
        "messageType": content.kind,
        "messageTimestamp": info.timestamp.timestamp(),
        "instanceId": instance,
        "source": device(&info.id),
    });
    if let Some(context) = content.context {
        data["contextInfo"] = context;
    }
    data
}

fn key(info: &MessageInfo) -> Value {
    let source = &info.source;
    let mut key = json!({ "remoteJid": source.chat.to_non_ad_string(), "fromMe": source.is_from_me, "id": info.id });
    let other = |jid: &Option<whatsapp_rust::Jid>| jid.as_ref().map(whatsapp_rust::Jid::to_non_ad_string);
    if source.is_group {
        key["participant"] = json!(source.sender.to_non_ad_string());
        if let Some(alt) = other(&source.sender_alt) {
            key["participantAlt"] = json!(alt);
        }
    } else if let Some(alt) = other(if source.is_from_me { &source.recipient_alt } else { &source.sender_alt }) {
        key["remoteJidAlt"] = json!(alt);
    }
    let lid = match source.addressing_mode {
        Some(mode) => mode == AddressingMode::Lid,
        None => source.chat.is_lid(),
    };
    key["addressingMode"] = json!(if lid { "lid" } else { "pn" });
    key
}

fn push_name(info: &MessageInfo) -> String {
    if !info.push_name.is_empty() {
        info.push_name.clone()
    } else if info.source.is_from_me {
        "Você".to_owned()
    } else {
        info.source.sender.to_non_ad_string()
    }
}

/// Tells the kind of device from the form of an id.
pub(super) fn device(id: &str) -> &'static str {
    match id.len() {
        20 if id.starts_with("3A") => "ios",
        22 if id.starts_with("3E") => "web",
        21 | 32 => "android",
        18 => "desktop",
        _ if id.starts_with("3F") => "desktop",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wacore::types::message::MessageSource;
    use waproto::buffa::MessageField;

    use super::*;

    fn info(chat: &str, sender: &str, id: &str) -> MessageInfo {
        MessageInfo {
            id: id.to_owned(),
            source: MessageSource {
                chat: chat.parse().unwrap(),
                sender: sender.parse().unwrap(),
                is_group: chat.ends_with("@g.us"),
                ..MessageSource::default()
            },
            timestamp: chrono::DateTime::from_timestamp(1_760_172_800, 0).unwrap(),
            push_name: "Ana".to_owned(),
            ..MessageInfo::default()
        }
    }

    fn text(text: &str) -> wa::Message {
        wa::Message { conversation: Some(text.to_owned()), ..wa::Message::default() }
    }

    #[test]
    fn a_text_has_the_shape_of_the_contract() {
        let info = MessageInfo {
            source: MessageSource {
                sender_alt: Some("5511999999999@s.whatsapp.net".parse().unwrap()),
                ..info("111@lid", "111:3@lid", "3EB0C767D097B7C7C030AB").source
            },
            ..info("111@lid", "111:3@lid", "3EB0C767D097B7C7C030AB")
        };
        let event = event(&text("hi"), &info, "uuid").unwrap();
        assert_eq!(event.name, EventName::MessagesUpsert);
        assert_eq!(
            event.data,
            json!({
                "key": {
                    "remoteJid": "111@lid", "remoteJidAlt": "5511999999999@s.whatsapp.net", "fromMe": false,
                    "id": "3EB0C767D097B7C7C030AB", "addressingMode": "lid"
                },
                "pushName": "Ana", "status": "DELIVERY_ACK", "message": { "conversation": "hi" }, "messageType": "conversation",
                "messageTimestamp": 1_760_172_800, "instanceId": "uuid", "source": "web"
            })
        );
    }

    #[test]
    fn a_group_message_names_its_sender_and_an_own_one_is_ours() {
        let mut info = info("1-2@g.us", "5511@s.whatsapp.net", "X");
        info.push_name.clear();
        let data = event(&text("hi"), &info, "i").unwrap().data;
        assert_eq!(data["key"]["participant"], "5511@s.whatsapp.net");
        assert_eq!(data["pushName"], "5511@s.whatsapp.net");
        info.source.is_from_me = true;
        let data = event(&text("hi"), &info, "i").unwrap().data;
        assert_eq!((&data["pushName"], &data["status"]), (&json!("Você"), &json!("SERVER_ACK")));
    }

    #[test]
    fn of_protocol_messages_only_edits_and_revocations_are_announced() {
        let info = info("5511@s.whatsapp.net", "5511@s.whatsapp.net", "X");
        let with = |kind: Type| wa::Message {
            protocol_message: MessageField::some(ProtocolMessage {
                r#type: Some(kind),
                key: MessageField::some(wa::MessageKey { id: Some("OLD".to_owned()), ..wa::MessageKey::default() }),
                ..ProtocolMessage::default()
            }),
            ..wa::Message::default()
        };
        assert_eq!(event(&with(Type::APP_STATE_SYNC_KEY_SHARE), &info, "i"), None);
        assert_eq!(event(&with(Type::HISTORY_SYNC_NOTIFICATION), &info, "i"), None);
        let edited = event(&with(Type::MESSAGE_EDIT), &info, "i").unwrap();
        assert_eq!((edited.name, &edited.data["type"]), (EventName::MessagesEdited, &json!(14)));
        let revoked = event(&with(Type::REVOKE), &info, "i").unwrap();
        assert_eq!(revoked.name, EventName::MessagesDelete);
        assert_eq!(revoked.data, json!({ "remoteJid": "5511@s.whatsapp.net", "fromMe": false, "id": "OLD" }));
    }

    #[test]
    fn what_is_not_told_is_accepted_without_an_event() {
        let from = |chat: &str| {
            let message = Arc::new(text("hi"));
            InboundMessage::builder().message(message).info(Arc::new(info(chat, "5511@s.whatsapp.net", "X"))).build()
        };
        let ignoring = Conduct { groups_ignore: true, ..Conduct::default() };
        let seeing = Conduct { read_status: true, ..Conduct::default() };
        // The chat; then whether it is told by the defaults, without groups, and with status posts.
        for (chat, told) in [
            ("5511@s.whatsapp.net", [true, true, true]),
            ("1-2@g.us", [true, false, true]),
            ("status@broadcast", [false, false, true]),
        ] {
            for (conduct, told) in [&Conduct::default(), &ignoring, &seeing].into_iter().zip(told) {
                let accepted = accepted(&from(chat), "i", conduct);
                assert_eq!(accepted.event.is_some(), told, "{chat} {conduct:?}");
                assert_eq!((accepted.key.chat.as_str(), accepted.key.id.as_str()), (chat, "X"));
            }
        }
    }

    #[test]
    fn the_device_is_told_from_the_id() {
        for (id, source) in [
            ("3A012345678901234567", "ios"),
            ("3EB0C767D097B7C7C030AB", "web"),
            ("012345678901234567890", "android"),
            ("01234567890123456789012345678901", "android"),
            ("3F", "desktop"),
            ("012345678901234567", "desktop"),
            ("BAE5", "unknown"),
        ] {
            assert_eq!(device(id), source, "{id}");
        }
    }
}
