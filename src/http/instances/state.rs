//! `GET /instance/connectionState/{name}`: what the board says, with the reasons that Evolution does not give.

use std::time::Duration;

use actix_web::{HttpRequest, web};
use holdfast_core::connection::Phase;
use holdfast_core::connection::state::PublicState;
use serde_json::{Value, json};

use crate::actors::instance::protocol::{Verified, Verify};
use crate::actors::supervisor::protocol::WhereIs;
use crate::http::api::{Api, ask};
use crate::http::auth::{self, Known};
use crate::http::error::{Answer, ApiError};
use crate::http::{query, reply};
use crate::ports::board::Entry;
use crate::ports::clock::Clock;

/// How long a question to an actor may be on its way there and back, besides the ping itself.
const ON_THE_WAY: Duration = Duration::from_millis(500);
/// What is said of an instance that does not answer, or has no connection to ping.
const UNVERIFIED: Verified = Verified { alive: false, rtt: None };

/// Answers from the board; touches neither the actor nor the store, unless `verify=true` asks for a ping.
pub(in crate::http) async fn connection_state(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let verified = if wants_proof(&request)? { Some(verify(&api, &known).await?) } else { None };
    let entry = known.entry.borrow().clone();
    let mut instance = full(api.clock, &entry);
    if let Some(Verified { alive, rtt }) = verified {
        // It may have been lost since the ping was answered.
        let alive = alive && entry.status.state_at(api.clock.now()) == PublicState::Open;
        instance["verified"] = json!(alive);
        if let Some(rtt) = rtt.filter(|_| alive) {
            instance["rttMs"] = json!(rtt.as_millis());
        }
    }
    Ok(reply::ok(&json!({ "instance": instance })))
}

fn wants_proof(request: &HttpRequest) -> Result<bool, ApiError> {
    match query::parameter(request, "verify").as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::invalid(vec!["verify is true or false".to_owned()])),
    }
}

/// Pings an instance that is online, and waits for what comes of it.
async fn verify(api: &Api, known: &Known) -> Result<Verified, ApiError> {
    let phase = known.entry.borrow().status.phase_at(api.clock.now());
    if !matches!(phase, Phase::Online | Phase::Suspect) {
        return Ok(UNVERIFIED);
    }
    let within = api.settings.limits.command_within;
    let ports = ask(&api.where_is, WhereIs { id: known.id.clone() }, within).await;
    let Ok(ports) = ports.map_err(|error| ApiError::of_command(error, &known.name)) else { return Ok(UNVERIFIED) };
    match ports.verify.send(Verify).timeout(api.settings.ping_timeout + ON_THE_WAY).await {
        Ok(Some(verified)) => Ok(verified),
        Ok(None) => Err(ApiError::overloaded()),
        // Its actor does not turn, or has just ended.
        Err(_) => Ok(UNVERIFIED),
    }
}

/// The two keys that Evolution gives.
pub(super) fn brief(name: &str, state: PublicState) -> Value {
    json!({ "instance": { "instanceName": name, "state": state } })
}

/// The two keys and ours; those without a value are absent.
pub(in crate::http) fn full(clock: Clock, entry: &Entry) -> Value {
    let (status, now) = (&entry.status, clock.now());
    let date = |moment| reply::date(clock.wall_at(moment));
    let mut instance = json!({
        "instanceName": entry.name,
        "state": status.state_at(now),
        "phase": status.phase_at(now).as_str(),
        "since": date(status.since),
        "paired": status.paired,
    });
    match status.explanation_at(now) {
        Some(why) => why.write(&mut instance, &date),
        None => {
            if let Some(next) = status.next_try {
                instance["nextTryAt"] = json!(date(next));
            }
        }
    }
    for (key, moment) in [("codeSince", status.why_since()), ("lastProofAt", status.proof)] {
        if let Some(moment) = moment {
            instance[key] = json!(date(moment));
        }
    }
    instance
}
