//! `GET /instance/connectionState/{name}`: what the board says, with the reasons that Evolution does not give.

use actix_web::{HttpRequest, web};
use holdfast_core::connection::state::PublicState;
use serde_json::{Value, json};

use crate::http::api::Api;
use crate::http::auth;
use crate::http::error::Answer;
use crate::http::reply;
use crate::ports::board::Entry;

/// Answers from the board; touches neither the actor nor the store.
pub(in crate::http) async fn connection_state(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let entry = known.entry.borrow().clone();
    Ok(reply::ok(&json!({ "instance": full(&api, &entry) })))
}

/// The two keys that Evolution gives.
pub(super) fn brief(name: &str, state: PublicState) -> Value {
    json!({ "instance": { "instanceName": name, "state": state } })
}

/// The two keys and ours; those without a value are absent.
fn full(api: &Api, entry: &Entry) -> Value {
    let (status, now) = (&entry.status, api.clock.now());
    let date = |moment| json!(reply::date(api.clock.wall_at(moment)));
    let mut instance = json!({
        "instanceName": entry.name,
        "state": status.state_at(now),
        "phase": status.phase_at(now).as_str(),
        "since": date(status.since),
        "paired": status.paired,
    });
    let optional = [
        ("code", status.code().map(|code| json!(code))),
        ("message", status.message().map(|message| json!(message))),
        ("codeSince", status.why_since().map(date)),
        ("userAction", status.user_action().map(|action| json!(action))),
        ("nextTryAt", status.next_try.map(date)),
        ("lastProofAt", status.proof.map(date)),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            instance[key] = value;
        }
    }
    instance
}
