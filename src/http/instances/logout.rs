//! `DELETE /instance/logout/{name}`: unlinks the device; the instance stays.

use actix_web::{HttpRequest, web};
use serde_json::json;

use crate::actors::supervisor::protocol::LogOutInstance;
use crate::http::api::{Api, ask, to_the_end};
use crate::http::auth;
use crate::http::error::{Answer, ApiError};
use crate::http::reply;

/// Answers when the device is unlinked and the credentials are archived.
pub(in crate::http) async fn log_out(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    to_the_end(async move {
        let within = api.settings.limits.unlink_within;
        ask(&api.log_out, LogOutInstance { id: known.id }, within)
            .await
            .map_err(|error| ApiError::of_command(error, &known.name))
    })
    .await?;
    Ok(reply::ok(&json!({ "status": "SUCCESS", "error": false, "response": { "message": "Instance logged out" } })))
}
