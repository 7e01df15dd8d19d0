//! `GET /engine/restoration`: how the instances came back at this start, one line for each.

use actix_web::{HttpRequest, web};
use holdfast_core::id::InstanceId;
use holdfast_core::status::InstanceStatus;
use serde_json::{Value, json};

use crate::http::api::Api;
use crate::http::error::Answer;
use crate::http::{auth, reply};
use crate::ports::clock::Clock;
use crate::ports::restoration::{Count, Report, Restoration};
use crate::restoration::view;

/// Answers from the report; how each does now says the board.
pub(in crate::http) async fn restoration(api: web::Data<Api>, request: HttpRequest) -> Answer {
    auth::global(&api, &request)?;
    Ok(reply::ok(&body(&api.restoration.read(), api.clock, |id| api.status(id))))
}

/// Writes the report, those first that were online last.
pub(in crate::http) fn body(
    report: &Report,
    clock: Clock,
    status: impl Fn(&InstanceId) -> Option<InstanceStatus>,
) -> Value {
    let now = clock.now();
    let places: Vec<Value> = report
        .answered
        .iter()
        .map(|answered| {
            json!({
                "source": answered.source.word(),
                "instances": answered.instances,
                "tookMs": view::millis(answered.took),
                "problem": answered.problem,
            })
        })
        .collect();
    let mut lines: Vec<_> = report.lines.iter().collect();
    lines.sort_by_key(|(_, line)| line.place);
    let lines: Vec<Value> = lines
        .into_iter()
        .map(|(id, line)| {
            let mut told = view::line(id, line);
            if let Some(status) = status(id) {
                told["state"] = json!(status.state_at(now));
                if let Some(why) = status.why() {
                    told["code"] = json!(why.code());
                }
            }
            told
        })
        .collect();
    let mut body = json!({
        "since": reply::date(clock.wall_at(report.since)),
        "places": places,
        "instances": lines,
    });
    if let (Value::Object(body), Value::Object(progress)) = (&mut body, of_count(report.stage.word(), report.count())) {
        body.extend([("progress".to_owned(), Value::Object(progress))]);
    }
    if let Some(over) = report.over {
        body["tookMs"] = json!(view::millis(over.since(report.since)));
    }
    body
}

/// Writes how far it is, for those who want no more.
pub(in crate::http) fn progress(restoration: &Restoration) -> Value {
    let (stage, count) = restoration.count();
    of_count(stage.word(), count)
}

fn of_count(stage: &str, count: Count) -> Value {
    let Count { instances, wanted, open, late, waiting, adopted } = count;
    json!({
        "stage": stage,
        "instances": instances,
        "wanted": wanted,
        "open": open,
        "late": late,
        "waiting": waiting,
        "adopted": adopted,
    })
}
