//! `GET /engine/process`: what the engine uses of its host.

use std::future::{Ready, ready};

use actix_web::{HttpRequest, web};
use serde_json::json;
use tracing::error;

use crate::http::api::Api;
use crate::http::auth;
use crate::http::error::{Answer, ApiError};
use crate::http::reply;
use crate::ports::process::Usage;

/// Answers with memory, descriptors, threads and tasks of this moment.
pub(in crate::http) fn process(api: web::Data<Api>, request: HttpRequest) -> Ready<Answer> {
    ready(auth::global(&api, &request).and_then(|()| {
        let usage = Usage::now(&api.runtime).map_err(|cause| {
            error!(%cause, "What the process uses cannot be read");
            ApiError::internal()
        })?;
        Ok(reply::ok(&json!(usage)))
    }))
}
