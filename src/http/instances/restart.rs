//! `POST` or `PUT /instance/restart/{name}`: a new connection, whatever the present one is doing.

use actix_web::{HttpRequest, web};
use holdfast_core::connection::Method;

use super::{connect, state};
use crate::actors::supervisor::protocol::RestartInstance;
use crate::http::api::{Api, ask};
use crate::http::auth;
use crate::http::body::Body;
use crate::http::error::{Answer, ApiError};
use crate::http::reply;

/// Answers with the state after the restart has begun, or with the new code if the instance is being paired. The body is ignored.
pub(in crate::http) async fn restart(api: web::Data<Api>, request: HttpRequest, _: Body) -> Answer {
    let mut known = auth::instance(&api, &request).await?;
    let before = known.entry.borrow().pairing.clone();
    let within = api.settings.limits.command_within;
    ask(&api.restart, RestartInstance { id: known.id.clone() }, within)
        .await
        .map_err(|error| ApiError::of_command(error, &known.name))?;
    let status = known.entry.borrow().status.clone();
    if status.paired {
        return Ok(reply::ok(&state::brief(&known.name, status.state_at(api.clock.now()))));
    }
    Ok(reply::ok(&connect::shown(&api, &mut known, Method::Qr, before).await?))
}
