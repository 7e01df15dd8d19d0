//! `GET /engine/board`: what one node tells another of its instances. No API key opens it.

use actix_web::{HttpRequest, web};
use std::future::{Ready, ready};

use crate::http::api::Api;
use crate::http::error::Answer;
use crate::http::nodes::{credential, fleet};
use crate::http::reply;

/// Answers a node with what hangs on the board.
pub(in crate::http) fn board(api: web::Data<Api>, request: HttpRequest) -> Ready<Answer> {
    ready(credential::check(&api, &request, &[]).map(|()| reply::ok(&fleet::board(&api))))
}
