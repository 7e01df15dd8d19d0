//! `DELETE /instance/delete/{name}`: unlinks, ends the actor, removes every row.

use actix_web::{HttpRequest, web};
use holdfast_core::connection::Phase;
use serde_json::json;
use tracing::warn;

use crate::actors::supervisor::protocol::{CommandError, DeleteInstance, StartInstance};
use crate::failpoint::reach;
use crate::http::api::{Api, ask, to_the_end};
use crate::http::auth::{self, Known};
use crate::http::error::{Answer, ApiError};
use crate::http::reply;
use crate::ports::store::StoreError;

/// Answers when nothing of the instance is left; its name is free then.
pub(in crate::http) async fn delete(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let listed = api.status(&known.id).is_some_and(|status| status.paired && !is_logged_in(status.phase));
    let id = known.id.clone();
    to_the_end(async move { remove(&api, known).await }).await?;
    let mut answer = json!({ "status": "SUCCESS", "error": false, "response": { "message": "Instance deleted" } });
    if listed {
        warn!(instance.id = %id, "The deleted instance was not connected, so WhatsApp could not be told; the phone lists its device until it is removed there");
        answer["unlinked"] = json!(false);
    }
    Ok(reply::ok(&answer))
}

/// Tells whether there is a login over which WhatsApp can be told that the device is gone.
fn is_logged_in(phase: Phase) -> bool {
    matches!(phase, Phase::Syncing | Phase::Online | Phase::Suspect)
}

async fn remove(api: &Api, known: Known) -> Result<(), ApiError> {
    let Known { id, name, .. } = known;
    // Read first: with the database away nothing is begun that could not be finished.
    let record = api.store.get(&id).await.map_err(|error| ApiError::of_store(error, &name))?;
    reach!("delete.asked");
    match ask(&api.delete, DeleteInstance { id: id.clone() }, api.settings.limits.unlink_within).await {
        // Off the roster already: what is left of an earlier try goes now.
        Ok(()) | Err(CommandError::Unknown) => {}
        Err(error) => return Err(ApiError::of_command(error, &name)),
    }
    reach!("delete.ended");
    let Err(error) = api.store.delete(&id).await else {
        reach!("delete.removed");
        return Ok(());
    };
    // Unless somebody else has deleted it at the same moment, the rows are still there, and it has to be reachable for another try.
    if let Some(record) = record
        && !matches!(error, StoreError::NoSuchInstance(_))
        && let Err(error) = ask(&api.start, StartInstance { record }, api.settings.limits.command_within).await
    {
        warn!(instance.id = %id, %error, "Instance {id} was not deleted and is off the roster until the next start");
    }
    Err(ApiError::of_store(error, &name))
}
