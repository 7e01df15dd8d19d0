//! A message to send, and how it is shown to the client that sent it.

use serde_json::{Value, json};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::content::content;
use super::inbound::device;
use super::recipient::recipient;
use crate::ports::link::OutgoingText;

/// What is known of a message that was sent.
pub(in crate::whatsapp) struct Sent<'a> {
    pub(in crate::whatsapp) chat: &'a str,
    pub(in crate::whatsapp) id: &'a str,
    pub(in crate::whatsapp) message: &'a wa::Message,
    /// Unix seconds.
    pub(in crate::whatsapp) at: i64,
    pub(in crate::whatsapp) instance: &'a str,
}

/// Makes the protocol's message of a text; `own` is the account's JID, which a quoted own message needs.
pub(in crate::whatsapp) fn compose(text: &OutgoingText, chat: &str, own: Option<&str>) -> wa::Message {
    let mentioned_jid: Vec<String> =
        text.mentioned.iter().filter_map(|one| recipient(one)).map(|one| one.jid().to_owned()).collect();
    let quoted = text.quoted.as_ref().and_then(|quoted| quote(quoted, chat, own));
    if mentioned_jid.is_empty() && quoted.is_none() {
        return wa::Message { conversation: Some(text.text.clone()), ..wa::Message::default() };
    }
    let context = wa::ContextInfo { mentioned_jid, ..quoted.unwrap_or_default() };
    let extended = wa::message::ExtendedTextMessage {
        text: Some(text.text.clone()),
        context_info: MessageField::some(context),
        ..wa::message::ExtendedTextMessage::default()
    };
    wa::Message { extended_text_message: MessageField::some(extended), ..wa::Message::default() }
}

fn quote(quoted: &Value, chat: &str, own: Option<&str>) -> Option<wa::ContextInfo> {
    let key = quoted.get("key")?;
    let field = |name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
    let from_me = key.get("fromMe").and_then(Value::as_bool).unwrap_or(false);
    let author = if from_me { own.map(str::to_owned) } else { field("participant").or_else(|| field("remoteJid")) };
    let message = quoted.get("message");
    let text = message
        .and_then(|message| message.get("conversation").or_else(|| message.pointer("/extendedTextMessage/text")))
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some(wa::ContextInfo {
        stanza_id: Some(field("id")?),
        participant: Some(author.unwrap_or_else(|| chat.to_owned())),
        quoted_message: MessageField::some(wa::Message {
            conversation: Some(text.to_owned()),
            ..wa::Message::default()
        }),
        ..wa::ContextInfo::default()
    })
}

/// Returns a sent message in the shape in which the API answers, the `data` of `send.message` too.
pub(in crate::whatsapp) fn sent_body(sent: &Sent<'_>) -> Value {
    let content = content(sent.message);
    let mut body = json!({
        "key": { "remoteJid": sent.chat, "fromMe": true, "id": sent.id },
        "pushName": "Você",
        "status": "PENDING",
        "message": content.message,
        "messageType": content.kind,
        "messageTimestamp": sent.at,
        "instanceId": sent.instance,
        "source": device(sent.id),
    });
    if let Some(context) = content.context {
        body["contextInfo"] = context;
    }
    body
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text() -> OutgoingText {
        OutgoingText {
            id: None,
            number: "5511999999999".to_owned(),
            text: "hi".to_owned(),
            delay: Duration::ZERO,
            link_preview: true,
            mentioned: Vec::new(),
            quoted: None,
        }
    }

    #[test]
    fn a_plain_text_is_a_conversation_and_answered_as_one() {
        let message = compose(&text(), "5511999999999@s.whatsapp.net", None);
        assert_eq!(message.conversation.as_deref(), Some("hi"));
        let chat = "5511999999999@s.whatsapp.net";
        let sent = Sent { chat, id: "3EB0C767D097B7C7C030AB", message: &message, at: 1_760_172_800, instance: "uuid" };
        assert_eq!(
            sent_body(&sent),
            json!({
                "key": { "remoteJid": chat, "fromMe": true, "id": "3EB0C767D097B7C7C030AB" },
                "pushName": "Você", "status": "PENDING", "message": { "conversation": "hi" }, "messageType": "conversation",
                "messageTimestamp": 1_760_172_800, "instanceId": "uuid", "source": "web"
            })
        );
    }

    #[test]
    fn a_quote_and_mentions_stand_in_the_context() {
        let text = OutgoingText {
            mentioned: vec!["5521988887777".to_owned()],
            quoted: Some(json!({ "key": { "id": "AB", "fromMe": true }, "message": { "conversation": "before" } })),
            ..text()
        };
        let message = compose(&text, "1-2@g.us", Some("49151@s.whatsapp.net"));
        let sent = Sent { chat: "1-2@g.us", id: "X", message: &message, at: 1, instance: "i" };
        assert_eq!(
            sent_body(&sent)["contextInfo"],
            json!({
                "stanzaId": "AB", "participant": "49151@s.whatsapp.net", "quotedMessage": { "conversation": "before" },
                "mentionedJid": ["5521988887777@s.whatsapp.net"]
            })
        );
        assert_eq!(sent_body(&sent)["messageType"], "conversation");
    }
}
