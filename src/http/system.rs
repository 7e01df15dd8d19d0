//! The service itself: the welcome, the key check, health, and every path that does not exist.

use std::future::{Ready, ready};

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use holdfast_core::shutdown::Phase;
use serde_json::{Value, json};

use super::api::Api;
use super::auth;
use super::engine::restoration;
use super::error::{Answer, ApiError};
use super::reply;
use super::settings::HttpSettings;

/// `GET /`: cheap, open to all; clients call it on every status check and look at `version`.
pub(super) fn welcome(api: web::Data<Api>) -> Ready<HttpResponse> {
    ready(reply::ok(&welcome_of(&api.settings)))
}

/// Writes the welcome.
pub(super) fn welcome_of(settings: &HttpSettings) -> Value {
    let mut body = json!({
        "status": 200,
        "message": "Welcome to the Evolution API, it is working!",
        "version": settings.version,
        "clientName": settings.client_name,
        "documentation": "https://doc.evolution-api.com",
        "engine": "holdfast",
        "engineVersion": env!("CARGO_PKG_VERSION"),
    });
    if let Some(version) = &settings.whatsapp_web_version {
        body["whatsappWebVersion"] = json!(version);
    }
    body
}

/// `POST /verify-creds`: tells whether the global key is right.
pub(super) fn verify_credentials(api: web::Data<Api>, request: HttpRequest) -> Ready<Answer> {
    let valid = || reply::ok(&json!({ "status": 200, "message": "Credentials are valid" }));
    ready(auth::global(&api, &request).map(|()| valid()))
}

/// `GET /health/live`: the process turns.
pub(super) fn live() -> Ready<HttpResponse> {
    ready(reply::ok(&json!({ "live": true })))
}

/// `GET /health/ready`: requests make sense; 503 while starting and while stopping. How far the restoration is changes nothing about that.
pub(super) async fn readiness(api: web::Data<Api>) -> HttpResponse {
    let status = api.system_status().await;
    let restoration = restoration::progress(&api.restoration);
    let Some(status) = status else {
        return reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "restoration": restoration }));
    };
    let ready = status.ready && status.phase <= Phase::Running;
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::json(code, &json!({ "ready": ready, "phase": status.phase, "restoration": restoration }))
}

/// Everything else. An `OPTIONS` that is no preflight is answered as politely as one.
pub(super) fn unknown_route(request: HttpRequest) -> Ready<Answer> {
    ready(match request.method() {
        &Method::OPTIONS => Ok(HttpResponse::NoContent().finish()),
        method => Err(ApiError::unknown_route(method.as_str(), &request.uri().to_string())),
    })
}
