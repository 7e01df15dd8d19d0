//! `POST /engine/restore`: takes in what `holdfast restore` has prepared beside the database.
//!
//! The backup itself never comes this way: the command decrypts it where the database is, and names it by an id.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use tracing::error;

use super::api::{Api, ask, to_the_end};
use super::auth;
use super::body::Body;
use super::error::{Answer, ApiError};
use super::reply;
use crate::actors::supervisor::protocol::StartInstance;
use crate::ports::restore::RestoreError;

/// Adds the instances of the backup that are not there; the others are left as they are.
pub(super) async fn restore(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    auth::global(&api, &request)?;
    let id = body["restoreId"].as_str().map(ToOwned::to_owned);
    let Some(id) = id else {
        return Err(ApiError::invalid(vec!["instance requires property \"restoreId\"".to_owned()]));
    };
    api.require_running().await?;
    to_the_end(async move { take_in(&api, &id).await }).await
}

async fn take_in(api: &Api, id: &str) -> Result<HttpResponse, ApiError> {
    let restored = api.restore.take_in(id).await.map_err(|cause| match cause {
        RestoreError::NothingPrepared => ApiError::nothing_prepared(),
        RestoreError::Unfit(why) => ApiError::restore_unfit(&why),
        RestoreError::Store(cause) => ApiError::of_store(cause, ""),
    })?;
    let mut names = Vec::with_capacity(restored.instances.len());
    for record in restored.instances {
        let (id, name) = (record.id.clone(), record.name.clone());
        // The rows are there: one that cannot be started now is started by the next boot.
        if let Err(refused) = ask(&api.start, StartInstance { record }, api.settings.limits.command_within).await {
            error!(instance.id = %id, %refused, "Instance {name} was restored, but could not be put on the roster");
        }
        names.push(name);
    }
    Ok(reply::ok(&json!({ "restored": names, "left": restored.left })))
}
