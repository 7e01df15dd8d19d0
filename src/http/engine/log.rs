//! `GET /engine/log` and `PUT /engine/log`: what is logged, and how to change it until the next start.

use std::future::{Ready, ready};

use actix_web::{HttpRequest, HttpResponse, web};
use holdfast_core::logging::{Weight, Word};
use serde_json::{Value, json};
use tracing::info;

use crate::http::api::Api;
use crate::http::body::Body;
use crate::http::code::ErrorCode;
use crate::http::error::{Answer, ApiError};
use crate::http::schema::{Rule, Schema};
use crate::http::{auth, reply};
use crate::telemetry::log::{Chosen, Control, control};

const CHANGE: Schema = Schema {
    fields: &[
        ("level", Rule::Text),
        ("baileys", Rule::OneOf(|| LEVELS.map(|(name, _)| name).to_vec())),
        ("directives", Rule::Or(&Rule::UpTo(2048), &Rule::Null)),
    ],
    required: &[],
};

/// The words of `LOG_BAILEYS`; the last two mean the same.
const LEVELS: [(&str, Option<Weight>); 7] = [
    ("off", None),
    ("trace", Some(Weight::Trace)),
    ("debug", Some(Weight::Debug)),
    ("info", Some(Weight::Info)),
    ("warn", Some(Weight::Warn)),
    ("error", Some(Weight::Error)),
    ("fatal", Some(Weight::Error)),
];

/// Answers with what is logged.
pub(in crate::http) fn get(api: web::Data<Api>, request: HttpRequest) -> Ready<Answer> {
    ready(auth::global(&api, &request).and_then(|()| installed()).map(|control| view(&control.chosen())))
}

/// Changes what is logged; what is not named stays as it is.
pub(in crate::http) fn put(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Ready<Answer> {
    ready(auth::global(&api, &request).and_then(|()| change(&body)))
}

fn change(body: &Value) -> Answer {
    let fields = CHANGE.check_all(body)?;
    let control = installed()?;
    let mut chosen = control.chosen();
    let mut selected = false;
    if let Some(level) = fields.get("level").and_then(Value::as_str) {
        let protocol = chosen.selection.protocol;
        let words: Option<Vec<Word>> = level.split(',').map(|word| Word::parse(word.trim())).collect();
        let Some(words) = words else {
            let known = Word::ALL.map(Word::name).join(", ");
            return Err(ApiError::invalid(vec![format!("level is not a list of {known}")]));
        };
        chosen.selection = holdfast_core::logging::Selection::of(words);
        chosen.selection.protocol = protocol;
        selected = true;
    }
    if let Some(baileys) = fields.get("baileys").and_then(Value::as_str) {
        chosen.selection.protocol = LEVELS.iter().find(|(name, _)| *name == baileys).and_then(|(_, weight)| *weight);
        selected = true;
    }
    match fields.get("directives") {
        Some(directives) => chosen.directives = directives.as_str().map(str::to_owned),
        // They would hide what was just selected.
        None if selected => chosen.directives = None,
        None => {}
    }
    let told = chosen.clone();
    if control.choose(chosen).is_err() {
        return Err(ApiError::invalid(vec!["directives cannot be understood".to_owned()]));
    }
    info!("What is logged was changed until the next start");
    Ok(view(&told))
}

fn installed() -> Result<&'static Control, ApiError> {
    control().ok_or_else(|| {
        ApiError::bad_request(ErrorCode::Unsupported, "The log belongs to the program around this engine")
    })
}

fn view(chosen: &Chosen) -> HttpResponse {
    let words: Vec<&str> = chosen.selection.words().map(Word::name).collect();
    let baileys = LEVELS.iter().find(|(_, weight)| *weight == chosen.selection.protocol).map(|(name, _)| *name);
    reply::ok(&json!({ "level": words.join(","), "baileys": baileys, "directives": chosen.directives }))
}
