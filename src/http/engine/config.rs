//! `GET /engine/config`: the settings in force, and what was found about them at the start. No secret is in it.

use std::future::{Ready, ready};

use actix_web::{HttpRequest, web};

use crate::http::api::Api;
use crate::http::error::Answer;
use crate::http::{auth, reply};

/// Answers with what was read.
pub(in crate::http) fn config(api: web::Data<Api>, request: HttpRequest) -> Ready<Answer> {
    ready(auth::global(&api, &request).map(|()| reply::ok(&api.settings.report.view())))
}
