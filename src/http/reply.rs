//! Answers, in the contract's encoding.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

/// Answers with JSON.
pub(super) fn json(status: StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(status).content_type("application/json; charset=utf-8").body(body.to_string())
}

/// Answers 200 with JSON.
pub(super) fn ok(body: &Value) -> HttpResponse {
    json(StatusCode::OK, body)
}

/// Answers 201 with JSON.
pub(super) fn created(body: &Value) -> HttpResponse {
    json(StatusCode::CREATED, body)
}

/// Writes a date as every answer of the contract does.
pub(super) fn date(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
