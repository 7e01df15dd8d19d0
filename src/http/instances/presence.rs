//! `POST /instance/setPresence/{name}`: the account shows that it is there, or that it is not.

use actix_web::{HttpRequest, web};
use holdfast_core::conduct::Presence;
use serde_json::json;

use crate::actors::instance::protocol::SetPresence;
use crate::actors::supervisor::protocol::{CommandError, WhereIs};
use crate::http::api::{Api, ask};
use crate::http::auth;
use crate::http::body::Body;
use crate::http::code::ErrorCode;
use crate::http::error::{Answer, ApiError};
use crate::http::messages::not_connected;
use crate::http::reply;
use crate::http::schema::{Rule, Schema};
use crate::ports::link::SendError;

const PRESENCES: Rule = Rule::OneOf(|| vec!["unavailable", "available", "composing", "recording", "paused"]);
const SET: Schema = Schema { fields: &[("presence", PRESENCES)], required: &["presence"] };

/// Shows it until the settings change or the connection ends; after that `alwaysOnline` decides again.
pub(in crate::http) async fn set_presence(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let fields = SET.check(&body)?;
    let presence = match fields.get("presence").and_then(serde_json::Value::as_str) {
        Some("available") => Presence::Available,
        Some("unavailable") => Presence::Unavailable,
        _ => {
            let text = "Typing is shown in a chat; without one there is only available and unavailable";
            return Err(ApiError::bad_request(ErrorCode::Unsupported, text));
        }
    };
    let within = api.settings.limits.command_within;
    let ports = match ask(&api.where_is, WhereIs { id: known.id.clone() }, within).await {
        Ok(ports) => ports,
        Err(CommandError::Refused(_)) => return Err(not_connected(&api, &known)),
        Err(error) => return Err(ApiError::of_command(error, &known.name)),
    };
    match ports.set_presence.send(SetPresence { presence }).timeout(api.settings.limits.ack_within).await {
        Ok(Ok(())) => Ok(reply::created(&json!({ "presence": presence.as_str() }))),
        Ok(Err(SendError::NotConnected)) => Err(not_connected(&api, &known)),
        Ok(Err(error)) => Err(ApiError::bad_request(ErrorCode::MessageFailed, format!("Error: {error}"))),
        Err(_) => Err(ApiError::overloaded()),
    }
}
