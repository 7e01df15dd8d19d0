//! `POST /message/sendText/{name}`: answers when WhatsApp has acknowledged the message.
//!
//! Clients send again after a 429, a 5xx or a network error. So a message that may have left is never answered with one of these,
//! and a 4xx never sounds like a lost connection, except where nobody knows whether it arrived.

use std::time::Duration;

use actix::prelude::MailboxError;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, ResponseError, web};
use holdfast_core::sending::key::{Fate, Key};
use holdfast_core::sending::nack::Nack;
use serde_json::{Map, Value, json};

use super::api::{Api, ask, to_the_end};
use super::auth::{self, Known};
use super::body::Body;
use super::code::ErrorCode;
use super::error::{Answer, ApiError};
use super::idempotency::{self, Begun};
use super::reply;
use super::schema::{DIGITS, Rule, Schema};
use crate::actors::instance::protocol::SendText;
use crate::actors::supervisor::protocol::{CommandError, WhereIs};
use crate::failpoint::reach;
use crate::ports::link::{OutgoingText, SendError};

/// The longest that "composing" may be shown first.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// How much longer than the sending itself its answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

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
    match idempotency::key(&request)? {
        None => Ok(reply::created(&send(&api, &known, message).await.map_err(|failed| failed.error)?)),
        Some(key) => {
            let fingerprint = idempotency::fingerprint("sendText", &body);
            to_the_end(send_once(api, known, message, key, fingerprint)).await
        }
    }
}

/// Sends what was not sent under this key before.
async fn send_once(
    api: web::Data<Api>,
    known: Known,
    mut message: OutgoingText,
    key: Key,
    fingerprint: Vec<u8>,
) -> Answer {
    let in_use = || ApiError::idempotency_key_in_use();
    let _turn = api.keys.take(&known.id, &key, api.settings.limits.send_wait).await.ok_or_else(in_use)?;
    let begun = idempotency::begin(&*api.store, &known.id, &known.name, &key, fingerprint).await?;
    let (message_id, left_before) = match begun {
        Begun::Send { message_id, left_before } => (message_id, left_before),
        Begun::Answered(answer) => return Ok(answer),
    };
    message.id = Some(message_id.clone());
    let sent = send(&api, &known, message).await;
    let fate = sent.as_ref().map_or_else(|failed| failed.fate, |_body| Fate::Final);
    let answer = || match &sent {
        Ok(body) => (StatusCode::CREATED, body.clone()),
        Err(failed) => (failed.error.status_code(), failed.error.body()),
    };
    idempotency::finish(&*api.store, &known.id, &key, fate.keep(left_before), answer).await;
    match sent {
        Ok(body) => Ok(reply::created(&body)),
        // Clients take another answer for certain, and it is not.
        Err(_) if fate.is_unconfirmed(left_before) => Err(unconfirmed(Some(&message_id))),
        Err(failed) => Err(failed.error),
    }
}

/// Why a message was not sent, and what is known of it.
struct Failed {
    error: ApiError,
    fate: Fate,
}

async fn send(api: &Api, known: &Known, message: OutgoingText) -> Result<Value, Failed> {
    let limits = &api.settings.limits;
    let ports = ask(&api.where_is, WhereIs { id: known.id.clone() }, limits.command_within).await;
    let ports = ports.map_err(|error| {
        let error = match error {
            CommandError::Refused(_) => not_connected(api, known),
            CommandError::Unknown
            | CommandError::Overloaded
            | CommandError::StoreUnavailable
            | CommandError::Stopping => ApiError::of_command(error, &known.name),
        };
        Failed { error, fate: Fate::NotSent }
    })?;
    let id = message.id.clone();
    let within = limits.send_wait + message.delay + limits.ack_within;
    let text = SendText { message, wait: limits.send_wait, within };
    match ports.send_text.send(text).timeout(within + ANSWER_WITHIN).await {
        Ok(Ok(sent)) => {
            reach!("send.answer");
            Ok(sent.body)
        }
        Ok(Err(error)) => Err(refused(api, known, error)),
        // The actor may have handed it on before it fell silent.
        Err(MailboxError::Closed | MailboxError::Timeout) => {
            Err(Failed { error: unconfirmed(id.as_deref()), fate: Fate::Unknown })
        }
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
        id: None,
        number,
        text: text("text"),
        delay: Duration::from_millis(millis as u64),
        link_preview: fields.get("linkPreview") != Some(&Value::Bool(false)),
        mentioned: mentioned.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        quoted: fields.get("quoted").filter(|quoted| quoted.is_object()).cloned(),
    })
}

fn refused(api: &Api, known: &Known, error: SendError) -> Failed {
    let told = error.to_string();
    let (fate, error) = match error {
        SendError::NotConnected => (Fate::NotSent, not_connected(api, known)),
        SendError::NotOnWhatsApp { jid, number } => {
            let item = json!({ "jid": jid, "exists": false, "number": number });
            (Fate::Final, ApiError::bad_request_with(ErrorCode::NumberUnknown, item))
        }
        SendError::Invalid(_) => (Fate::Final, ApiError::bad_request(ErrorCode::MessageInvalid, certain(&told))),
        SendError::Refused { code } => {
            let nack = Nack::of(code);
            let fate = if nack.may_pass() { Fate::Refused } else { Fate::Final };
            (fate, ApiError::nacked(nack, certain(&told)).with("whatsappCode", json!(code)))
        }
        SendError::Limited { retry_after } => (Fate::NotSent, ApiError::send_limited(retry_after)),
        SendError::Unconfirmed { id } => (Fate::Unknown, unconfirmed(Some(&id))),
        SendError::Failed(_) => (Fate::NotSent, ApiError::bad_request(ErrorCode::MessageFailed, certain(&told))),
    };
    Failed { error, fate }
}

pub(super) fn not_connected(api: &Api, known: &Known) -> ApiError {
    let entry = known.entry.borrow();
    let status = &entry.status;
    let mut error = ApiError::bad_request(ErrorCode::NotConnected, "Error: Connection Closed")
        .with("state", json!(status.state_at(api.clock.now())));
    if !status.paired {
        error = error.with("userAction", json!("relogin"));
    }
    if let Some(why) = status.explanation_at(api.clock.now()) {
        error = error
            .with("userAction", json!(why.user_action))
            .with("reason", json!(why.code))
            .with("explanation", json!(why.sentence));
    }
    error
}

/// The one 4xx that says "timed out": clients take these words as "perhaps it arrived".
pub(super) fn unconfirmed(id: Option<&str>) -> ApiError {
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
