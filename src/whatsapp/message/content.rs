//! What a message holds, with the rewrites that Evolution applies.

use serde_json::{Map, Value, json};
use waproto::whatsapp as wa;

use super::protobuf_json;

/// The parts of a message's JSON that depend on its content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub(super) kind: String,
    pub(super) message: Value,
    pub(super) context: Option<Value>,
}

/// Fields that hold key material, which no webhook needs.
const WITHHELD: [&str; 2] = ["senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage"];

/// Describes a message.
pub(super) fn content(message: &wa::Message) -> Content {
    let fields: Vec<(String, Value)> =
        protobuf_json::fields(message).into_iter().filter(|(name, _)| !WITHHELD.contains(&name.as_str())).collect();
    let kind =
        fields.iter().map(|(name, _)| name.as_str()).find(|name| is_content(name)).unwrap_or("unknown").to_owned();
    let (kind, mut message) = rewritten(kind, fields.into_iter().collect());
    let mut context = message.get(&kind).and_then(|content| content.get("contextInfo")).cloned();
    if kind == "extendedTextMessage" {
        return plain_text(message, context);
    }
    if let Some(context) = &mut context {
        rewrite_quoted(context);
        if let Some(content) = message.get_mut(&kind) {
            content["contextInfo"] = context.clone();
        }
    }
    Content { kind, message: Value::Object(message), context }
}

fn is_content(name: &str) -> bool {
    name == "conversation" || name.contains("Message")
}

/// Text with a preview, a quote or mentions is shown as plain text; the context stands beside it.
fn plain_text(mut message: Map<String, Value>, mut context: Option<Value>) -> Content {
    let text = message.remove("extendedTextMessage").and_then(|mut extended| extended.get_mut("text").map(Value::take));
    message.insert("conversation".to_owned(), text.unwrap_or_else(|| json!("")));
    if let Some(context) = &mut context {
        rewrite_quoted(context);
    }
    Content { kind: "conversation".to_owned(), message: Value::Object(message), context }
}

/// A document with a caption is wrapped once more than one without.
fn rewritten(kind: String, mut message: Map<String, Value>) -> (String, Map<String, Value>) {
    if kind != "documentWithCaptionMessage" {
        return (kind, message);
    }
    let inner =
        message.get_mut(&kind).and_then(|wrapper| wrapper.pointer_mut("/message/documentMessage")).map(Value::take);
    match inner {
        Some(document) => {
            message.remove(&kind);
            message.insert("documentMessage".to_owned(), document);
            ("documentMessage".to_owned(), message)
        }
        None => (kind, message),
    }
}

fn rewrite_quoted(context: &mut Value) {
    let Some(quoted) = context.get_mut("quotedMessage").and_then(Value::as_object_mut) else { return };
    if let Some(mut extended) = quoted.remove("extendedTextMessage") {
        let text = extended.get_mut("text").map_or_else(|| json!(""), Value::take);
        quoted.insert("conversation".to_owned(), text);
    }
    if let Some(document) = quoted
        .get_mut("documentWithCaptionMessage")
        .and_then(|wrapper| wrapper.pointer_mut("/message/documentMessage"))
        .map(Value::take)
    {
        quoted.remove("documentWithCaptionMessage");
        quoted.insert("documentMessage".to_owned(), document);
    }
}

#[cfg(test)]
mod tests {
    use waproto::buffa::MessageField;

    use super::*;

    fn extended(text: &str, context: Option<wa::ContextInfo>) -> wa::Message {
        wa::Message {
            extended_text_message: MessageField::some(wa::message::ExtendedTextMessage {
                text: Some(text.to_owned()),
                context_info: context.map_or_else(MessageField::none, MessageField::some),
                ..wa::message::ExtendedTextMessage::default()
            }),
            ..wa::Message::default()
        }
    }

    #[test]
    fn extended_text_becomes_a_conversation_also_when_quoted() {
        let context = wa::ContextInfo {
            stanza_id: Some("AB".to_owned()),
            quoted_message: MessageField::some(extended("before", None)),
            ..wa::ContextInfo::default()
        };
        let content = content(&extended("hi", Some(context)));
        assert_eq!(content.kind, "conversation");
        assert_eq!(content.message, json!({ "conversation": "hi" }));
        assert_eq!(
            content.context.unwrap(),
            json!({ "stanzaId": "AB", "quotedMessage": { "conversation": "before" } })
        );
    }

    #[test]
    fn a_captioned_document_is_unwrapped() {
        let document =
            wa::message::DocumentMessage { caption: Some("c".to_owned()), ..wa::message::DocumentMessage::default() };
        let inner = wa::Message { document_message: MessageField::some(document), ..wa::Message::default() };
        let wrapper = wa::message::FutureProofMessage { message: MessageField::some(inner) };
        let message =
            wa::Message { document_with_caption_message: MessageField::some(wrapper), ..wa::Message::default() };
        let content = content(&message);
        assert_eq!(
            (content.kind.as_str(), content.message),
            ("documentMessage", json!({ "documentMessage": { "caption": "c" } }))
        );
    }

    #[test]
    fn key_material_is_withheld_and_no_content_is_unknown() {
        let message = wa::Message {
            sender_key_distribution_message: MessageField::some(wa::message::SenderKeyDistributionMessage {
                group_id: Some("1@g.us".to_owned()),
                ..wa::message::SenderKeyDistributionMessage::default()
            }),
            ..wa::Message::default()
        };
        let content = content(&message);
        assert_eq!((content.kind.as_str(), content.message), ("unknown", json!({})));
    }
}
