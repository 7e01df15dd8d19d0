//! `GET /engine/unrecovered`: messages that came without their content, by their ids.

use actix_web::{HttpRequest, web};
use serde_json::{Value, json};

use super::date;
use crate::http::api::Api;
use crate::http::error::{Answer, ApiError};
use crate::http::{auth, query, reply};
use crate::ports::session::Unrecovered;

/// Messages in one answer.
const MOST: u32 = 500;

/// Answers with the newest of them, of one instance or of all. One that comes after all is no longer among them.
pub(in crate::http) async fn list(api: web::Data<Api>, request: HttpRequest) -> Answer {
    auth::global(&api, &request)?;
    let named = query::parameter(&request, "instance");
    let id = match &named {
        None => None,
        Some(name) => Some(api.board.by_name(name).ok_or_else(|| ApiError::unknown_instance(name))?.0),
    };
    let lost = api.store.unrecovered(id.as_ref(), MOST).await;
    let lost = lost.map_err(|error| ApiError::of_store(error, named.as_deref().unwrap_or_default()))?;
    let messages: Vec<Value> = lost.into_iter().map(|one| view(&api, one)).collect();
    Ok(reply::ok(&json!({ "messages": messages })))
}

fn view(api: &Api, lost: Unrecovered) -> Value {
    json!({
        "instanceName": api.board.get(&lost.instance).map(|entry| entry.name),
        "instanceId": lost.instance,
        "id": lost.key.id,
        "chat": lost.key.chat,
        "sender": lost.key.sender,
        "why": lost.why,
        "since": date(lost.since_ms),
        "times": lost.times,
        "givenUpAt": lost.given_up_ms.map(date),
    })
}
