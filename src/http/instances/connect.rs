//! `GET /instance/connect/{name}`: dials a closed instance, and hands out what is to be scanned or typed.

use actix_web::{HttpRequest, web};
use holdfast_core::connection::Method;
use holdfast_core::connection::state::PublicState;
use serde_json::Value;

use super::state;
use crate::http::api::Api;
use crate::http::auth::{self, Known};
use crate::http::error::{Answer, ApiError};
use crate::http::pairing::{self, Shown, Wanted};
use crate::http::{qr, query, reply};
use crate::ports::board::PairingView;

/// An open instance is left alone; one that is connecting is waited for; only a closed one is dialled.
pub(in crate::http) async fn connect(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let mut known = auth::instance(&api, &request).await?;
    let number = query::parameter(&request, "number");
    if let Some(number) = &number {
        pairing::check_number(number)?;
    }
    let method = pairing::method(number.as_deref());
    let entry = known.entry.borrow().clone();
    let asks = match entry.status.state_at(api.clock.now()) {
        PublicState::Open => return Ok(reply::ok(&state::brief(&known.name, PublicState::Open))),
        // The credentials are there: it redials by itself, and no code will come.
        PublicState::Connecting if entry.status.paired => {
            return Ok(reply::ok(&qr::object(&entry.pairing, api.settings.qr_color)));
        }
        PublicState::Connecting => {
            matches!(&method, Method::Code(number) if entry.pairing.number.as_ref() != Some(number))
        }
        PublicState::Close => true,
    };
    if asks {
        pairing::connect(&api, &known.id, &method).await.map_err(|error| ApiError::of_command(error, &known.name))?;
    }
    Ok(reply::ok(&shown(&api, &mut known, method, PairingView::default()).await?))
}

/// Waits for a code other than `stale`, and returns it in the contract's shape.
pub(super) async fn shown(api: &Api, known: &mut Known, method: Method, stale: PairingView) -> Result<Value, ApiError> {
    let wanted = Wanted { id: &known.id, method, stale };
    let within = api.settings.limits.qr_wait;
    match pairing::wait(api, &mut known.entry, wanted, within).await {
        Ok(Shown::Open) => Ok(state::brief(&known.name, PublicState::Open)),
        Ok(Shown::Pairing(view)) => Ok(qr::object(&view, api.settings.qr_color)),
        Err(error) => Err(ApiError::of_command(error, &known.name)),
    }
}
