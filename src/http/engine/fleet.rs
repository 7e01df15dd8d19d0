//! `GET /engine/fleet`: who dials, who waits for it and why, and how often actors crashed.

use std::future::{Ready, ready};

use actix_web::{HttpRequest, web};
use serde_json::{Value, json};

use crate::http::api::Api;
use crate::http::error::Answer;
use crate::http::{auth, reply};

/// Answers from the board.
pub(in crate::http) fn fleet(api: web::Data<Api>, request: HttpRequest) -> Ready<Answer> {
    ready(auth::global(&api, &request).map(|()| reply::ok(&view(&api))))
}

fn view(api: &Api) -> Value {
    let status = api.board.fleet();
    let dials = &status.dials;
    let date = |moment| json!(reply::date(api.clock.wall_at(moment)));
    let name = |id| api.board.get(id).map(|entry| entry.name);
    json!({
        "mode": if dials.outage_since.is_some() { "host-outage" } else { "normal" },
        "since": dials.outage_since.map(date),
        "canary": dials.canary.as_ref().and_then(name),
        "nextCanaryAt": dials.next_canary_at.map(date),
        "inFlight": dials.in_flight,
        "waiting": dials.waiting,
        "held": dials.held,
        "wanting": dials.wanting,
        "up": dials.up,
        "actors": {
            "running": status.running,
            "restarting": status.restarting,
            "quarantined": status.quarantined,
            "restarts": status.restarts,
        },
    })
}
