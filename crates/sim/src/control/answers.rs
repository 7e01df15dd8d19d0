//! How refusals look over HTTP.

use std::fmt::Display;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde_json::json;
use utoipa::openapi::OpenApi;

use crate::api::Problem;

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({ "error": self.sentence }))
    }
}

/// The answer to a body or query that cannot be read.
pub(super) fn unreadable(error: &impl Display) -> actix_web::Error {
    Problem::bad_request(format!("the request cannot be read: {error}")).into()
}

/// The answer to a path that does not exist.
pub(super) async fn no_such_route(request: HttpRequest) -> HttpResponse {
    Problem::not_found(format!(
        "there is no {} {} here; see GET /openapi.json for what there is",
        request.method(),
        request.path()
    ))
    .error_response()
}

/// The description of everything that can be asked.
pub(super) fn document(document: &OpenApi) -> HttpResponse {
    HttpResponse::Ok().json(document)
}
