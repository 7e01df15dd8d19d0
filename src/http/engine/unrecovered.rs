//! `GET /engine/unrecovered`: messages that came without their content, by their ids.

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use holdfast_core::id::InstanceId;
use serde_json::{Value, json};

use super::date;
use crate::http::api::Api;
use crate::http::error::{Answer, ApiError};
use crate::http::{auth, query, reply};
use crate::ports::session::Unrecovered;
use crate::ports::store::StoreError;

/// Messages in one answer.
const MOST: u32 = 500;

/// Answers with the newest of them, of one instance or of all. One that comes after all is no longer among them.
pub(in crate::http) async fn list(api: web::Data<Api>, request: HttpRequest) -> Answer {
    auth::global(&api, &request)?;
    let named = query::parameter(&request, "instance");
    let id = match &named {
        None => None,
        Some(name) => Some(id_of(&api, name).await?),
    };
    let lost = api.store.unrecovered(id.as_ref(), MOST).await;
    let lost = lost.map_err(|error| ApiError::of_store(error, named.as_deref().unwrap_or_default()))?;
    let names = names(&api, &lost).await.map_err(|error| ApiError::of_store(error, ""))?;
    let messages: Vec<Value> = lost.into_iter().map(|one| view(names.get(&one.instance), one)).collect();
    Ok(reply::ok(&json!({ "messages": messages })))
}

/// Finds an instance of any node.
async fn id_of(api: &Api, name: &str) -> Result<InstanceId, ApiError> {
    if let Some((id, _)) = api.board.by_name(name) {
        return Ok(id);
    }
    let found = match api.leases.lease_ttl() {
        None => None,
        Some(_) => api.leases.whereabouts(name).await.map_err(|error| ApiError::of_store(error, name))?,
    };
    found.map(|found| found.id).ok_or_else(|| ApiError::unknown_instance(name))
}

/// Names the instances of these messages, from their rows if one of them is not here.
async fn names(api: &Api, lost: &[Unrecovered]) -> Result<HashMap<InstanceId, String>, StoreError> {
    let here = |one: &Unrecovered| Some((one.instance.clone(), api.board.get(&one.instance)?.name));
    let names: HashMap<InstanceId, String> = lost.iter().filter_map(here).collect();
    if lost.iter().all(|one| names.contains_key(&one.instance)) {
        return Ok(names);
    }
    Ok(api.store.list().await?.into_iter().map(|row| (row.id, row.name)).collect())
}

fn view(name: Option<&String>, lost: Unrecovered) -> Value {
    json!({
        "instanceName": name,
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
