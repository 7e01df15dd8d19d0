//! Receipts and refusals as `messages.update` events.

use holdfast_core::event::{EngineEvent, EventName};
use serde_json::json;
use wacore::types::events::Receipt;
use wacore::types::presence::ReceiptType;

/// Returns one event for each message that the receipt names; none for receipts that change nothing a client can see.
pub(in crate::whatsapp) fn updates(receipt: &Receipt, instance: &str) -> Vec<EngineEvent> {
    let Some((status, from_me)) = status(&receipt.r#type) else { return Vec::new() };
    let chat = receipt.source.chat.to_non_ad_string();
    let participant = receipt.source.is_group.then(|| receipt.source.sender.to_non_ad_string());
    let update = |id: &String| {
        let mut data =
            json!({ "keyId": id, "remoteJid": chat, "fromMe": from_me, "status": status, "instanceId": instance });
        if let Some(participant) = &participant {
            data["participant"] = json!(participant);
        }
        EngineEvent { name: EventName::MessagesUpdate, data }
    };
    receipt.message_ids.iter().map(update).collect()
}

/// Returns the event of a message that WhatsApp has refused.
pub(in crate::whatsapp) fn refusal_update(id: &str, chat: Option<&str>, instance: &str) -> EngineEvent {
    let data = json!({ "keyId": id, "remoteJid": chat, "fromMe": true, "status": "ERROR", "instanceId": instance });
    EngineEvent { name: EventName::MessagesUpdate, data }
}

/// Returns the event of a message that WhatsApp has acknowledged after its sender was told that it had not.
pub(in crate::whatsapp) fn late_ack_update(id: &str, chat: &str, instance: &str) -> EngineEvent {
    let data =
        json!({ "keyId": id, "remoteJid": chat, "fromMe": true, "status": "SERVER_ACK", "instanceId": instance });
    EngineEvent { name: EventName::MessagesUpdate, data }
}

/// Returns the status that a receipt brings, and whether it is about a message of ours.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's kinds of receipt are an open set; the others change no status"
)]
fn status(kind: &ReceiptType) -> Option<(&'static str, bool)> {
    Some(match kind {
        ReceiptType::Delivered => ("DELIVERY_ACK", true),
        ReceiptType::Read => ("READ", true),
        ReceiptType::Played => ("PLAYED", true),
        ReceiptType::ReadSelf => ("READ", false),
        ReceiptType::PlayedSelf => ("PLAYED", false),
        ReceiptType::Sent => ("SERVER_ACK", true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use wacore::types::message::MessageSource;

    use super::*;

    #[test]
    fn each_named_message_is_one_event() {
        let source = MessageSource {
            chat: "1-2@g.us".parse().unwrap(),
            sender: "5511:7@s.whatsapp.net".parse().unwrap(),
            is_group: true,
            ..MessageSource::default()
        };
        let receipt = |kind| {
            Receipt::builder()
                .source(source.clone())
                .message_ids(vec!["A".to_owned(), "B".to_owned()])
                .timestamp(chrono::DateTime::from_timestamp(1, 0).unwrap())
                .r#type(kind)
                .offline(false)
                .build()
        };
        let read = updates(&receipt(ReceiptType::Read), "i");
        assert_eq!(read.len(), 2);
        assert_eq!(
            read[1].data,
            json!({ "keyId": "B", "remoteJid": "1-2@g.us", "fromMe": true, "status": "READ", "instanceId": "i",
                    "participant": "5511@s.whatsapp.net" })
        );
        assert_eq!(updates(&receipt(ReceiptType::ReadSelf), "i")[0].data["fromMe"], false);
        assert!(updates(&receipt(ReceiptType::Retry), "i").is_empty());
    }
}
