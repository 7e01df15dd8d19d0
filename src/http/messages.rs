//! `POST /message/sendText/{name}`: answers when WhatsApp has acknowledged the message.
//!
//! Clients send again after a 429, a 5xx or a network error. So a message that may have left is never answered with one of these,
//! and a 4xx never sounds like a lost connection, except where nobody knows whether it arrived.

use std::time::Duration;

use actix::prelude::MailboxError;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value, json};

use super::api::{Api, ask};
use super::auth::{self, Known};
use super::body::Body;
use super::code::ErrorCode;
use super::error::{Answer, ApiError};
use super::reply;
use super::schema::{DIGITS, Rule, Schema};
use crate::actors::instance::protocol::SendText;
use crate::actors::supervisor::protocol::{CommandError, WhereIs};
use crate::failpoint::reach;
use crate::ports::link::{OutgoingText, SendError};

/// The longest that "composing" may be shown first.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

const QUOTED_KEY: Schema = Schema { fields: &[("id", Rule::Text)], required: &["id"] };
const QUOTED: Schema =
    Schema { fields: &[("key", Rule::Nested(&QUOTED_KEY)), ("message", Rule::Object)], required: &[] };
const MENTION: Rule = Rule::Described(&DIGITS, "\"mentioned\" must be an array of numeric strings");

const TEXT: Schema = Schema {
    fields: &[
        ("number", Rule::Described(&Rule::Text, "Invalid format")),
        ("text", Rule::Text),
        ("linkPreview", Rule::Flag),
        ("delay", Rule::Described(&Rule::Whole, "Enter a value in milliseconds")),
        ("quoted", Rule::Loose(&QUOTED)),
        ("everyOne", Rule::Flag),
        ("mentioned", Rule::List { items: &MENTION, min: 1, unique: true }),
    ],
    required: &["number", "text"],
};

/// Waits a while for an instance that is on its way to open; one that is not, or does not get there, is a 400.
pub(super) async fn send_text(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let message = read(TEXT.check(&body)?)?;
    let limits = &api.settings.limits;
    let ports =
        ask(&api.where_is, WhereIs { id: known.id.clone() }, limits.command_within).await.map_err(
            |error| match error {
                CommandError::Refused(_) => not_connected(&api, &known),
                CommandError::Unknown | CommandError::Overloaded | CommandError::Stopping => {
                    ApiError::of_command(error, &known.name)
                }
            },
        )?;
    let within = limits.send_wait + message.delay + limits.ack_within;
    let text = SendText { message, wait: limits.send_wait };
    match ports.send_text.send(text).timeout(within).await {
        Ok(Ok(sent)) => {
            reach!("send.answer");
            Ok(reply::created(&sent.body))
        }
        Ok(Err(error)) => Err(refused(&api, &known, error)),
        // The actor may have handed it on before it fell silent.
        Err(MailboxError::Closed | MailboxError::Timeout) => Err(unconfirmed(None)),
    }
}

fn read(fields: &Map<String, Value>) -> Result<OutgoingText, ApiError> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = text("number");
    if number.trim().is_empty() {
        return Err(ApiError::invalid(vec!["The \"number\" cannot be empty".to_owned()]));
    }
    if text("text").trim().is_empty() {
        return Err(ApiError::bad_request(ErrorCode::MessageInvalid, "Text is required"));
    }
    let millis = fields.get("delay").and_then(Value::as_f64).unwrap_or_default().max(0.0);
    if millis > LONGEST_DELAY.as_secs_f64() * 1000.0 {
        let text = format!("The delay is longer than {} seconds", LONGEST_DELAY.as_secs());
        return Err(ApiError::bad_request(ErrorCode::MessageInvalid, text));
    }
    let mentioned = fields.get("mentioned").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(OutgoingText {
        number,
        text: text("text"),
        delay: Duration::from_millis(millis as u64),
        link_preview: fields.get("linkPreview") != Some(&Value::Bool(false)),
        mentioned: mentioned.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        quoted: fields.get("quoted").filter(|quoted| quoted.is_object()).cloned(),
    })
}

fn refused(api: &Api, known: &Known, error: SendError) -> ApiError {
    let told = error.to_string();
    match error {
        SendError::NotConnected => not_connected(api, known),
        SendError::NotOnWhatsApp { jid, number } => {
            let item = json!({ "jid": jid, "exists": false, "number": number });
            ApiError::bad_request_with(ErrorCode::NumberUnknown, item)
        }
        SendError::Invalid(_) => ApiError::bad_request(ErrorCode::MessageInvalid, certain(&told)),
        SendError::Refused { code } => {
            ApiError::bad_request(ErrorCode::MessageRefused, certain(&told)).with("whatsappCode", json!(code))
        }
        SendError::Unconfirmed { id } => unconfirmed(Some(&id)),
        SendError::Failed(_) => ApiError::bad_request(ErrorCode::MessageFailed, certain(&told)),
    }
}

fn not_connected(api: &Api, known: &Known) -> ApiError {
    let entry = known.entry.borrow();
    let status = &entry.status;
    let mut error = ApiError::bad_request(ErrorCode::NotConnected, "Error: Connection Closed")
        .with("state", json!(status.state_at(api.clock.now())));
    if !status.paired {
        error = error.with("userAction", json!("relogin"));
    }
    if let Some(action) = status.user_action() {
        error = error.with("userAction", json!(action));
    }
    if let (Some(code), Some(sentence)) = (status.code(), status.message()) {
        error = error.with("reason", json!(code)).with("explanation", json!(sentence));
    }
    error
}

/// The one 4xx that says "timed out": clients take these words as "perhaps it arrived".
fn unconfirmed(id: Option<&str>) -> ApiError {
    let text = "The message was sent, but waiting for WhatsApp's confirmation timed out; it may still arrive";
    let error = ApiError::bad_request(ErrorCode::MessageUnconfirmed, text);
    match id {
        Some(id) => error.with("messageId", json!(id)),
        None => error,
    }
}

/// Takes out the words by which clients recognise a lost connection, because this outcome is certain.
fn certain(text: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("timed out", "took too long"),
        ("timeout", "delay"),
        ("etimedout", "delay"),
        ("econnreset", "connection lost"),
        ("econnrefused", "connection refused"),
        ("econnaborted", "connection lost"),
        ("socket hang up", "connection lost"),
        ("network error", "connection lost"),
    ];
    let mut text = text.to_owned();
    for (word, plain) in WORDS {
        while let Some(at) = text.to_ascii_lowercase().find(word) {
            text.replace_range(at..at + word.len(), plain);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::certain;

    #[test]
    fn certain_outcomes_do_not_sound_like_lost_connections() {
        for text in
            ["IQ Timed Out", "read ECONNRESET", "connect ETIMEDOUT 1.2.3.4", "socket hang up", "Timeout: timed out"]
        {
            let told = certain(text).to_lowercase();
            for word in ["timed out", "etimedout", "timeout", "econnreset", "socket hang up"] {
                assert!(!told.contains(word), "{text} became {told}");
            }
        }
        assert_eq!(certain("Unknown media"), "Unknown media");
    }
}
