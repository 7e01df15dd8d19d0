//! `DELETE /instance/delete/{name}`: unlinks, ends the actor, removes every row.

use std::time::Duration;

use actix_web::{HttpRequest, web};
use holdfast_core::elsewhere::Absence;
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::actors::supervisor::protocol::{CommandError, DeleteInstance, OffTheRoster, StartInstance};
use crate::failpoint::reach;
use crate::http::api::{Api, ask, to_the_end};
use crate::http::auth::{self, Known};
use crate::http::error::{Answer, ApiError};
use crate::http::reply;
use crate::ports::leases::{Owner, Whereabouts};
use crate::ports::store::{InstanceRecord, StoreError};

/// How long a change of the roster that was refused is left alone before it is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Answers when nothing of the instance is left; its name is free then.
pub(in crate::http) async fn delete(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let id = known.id.clone();
    let listed = to_the_end(async move { remove(&api, known).await }).await?;
    let mut answer = json!({ "status": "SUCCESS", "error": false, "response": { "message": "Instance deleted" } });
    if listed {
        warn!(instance.id = %id, "WhatsApp has not confirmed that the device of the deleted instance is gone; the phone may list it until it is removed there");
        answer["unlinked"] = json!(false);
    }
    Ok(reply::ok(&answer))
}

/// Deletes, and tells whether the phone may still list the device.
async fn remove(api: &Api, known: Known) -> Result<bool, ApiError> {
    let Known { id, name, .. } = known;
    // Read first: with the database away nothing is begun that could not be finished.
    let record = api.store.find(&id).await.map_err(|error| ApiError::of_store(error, &name))?;
    reach!("delete.asked");
    let listed = match ask(&api.delete, DeleteInstance { id: id.clone() }, api.settings.limits.unlink_within).await {
        Ok(OffTheRoster { listed }) => listed,
        // Off the roster already: what is left of an earlier try goes now.
        Err(CommandError::Unknown) => {
            require_nobody_else(api, &name).await?;
            record.as_ref().is_some_and(|record| record.paired)
        }
        Err(error) => return Err(ApiError::of_command(error, &name)),
    };
    reach!("delete.ended");
    let Err(error) = api.store.delete(&id).await else {
        reach!("delete.removed");
        return Ok(listed);
    };
    // Unless somebody else has deleted it at the same moment, the rows are still there, and it has to be reachable for another try.
    if let Some(record) = record
        && !matches!(error, StoreError::NoSuchInstance(_))
    {
        put_back(api, record).await;
    }
    Err(ApiError::of_store(error, &name))
}

/// Fails if another node may run the instance, or may take it at any moment: rows are not removed from under an actor.
async fn require_nobody_else(api: &Api, name: &str) -> Result<(), ApiError> {
    if api.leases.lease_ttl().is_none() {
        return Ok(());
    }
    let found = api.leases.whereabouts(name).await.map_err(|error| ApiError::of_store(error, name))?;
    let ours = |owner: &Owner| owner.alive && owner.node == api.settings.node.name;
    match found {
        Some(Whereabouts { owner, .. }) if !owner.as_ref().is_some_and(ours) => Err(ApiError::absent(Absence::Moving)),
        Some(_) | None => Ok(()),
    }
}

/// Puts an instance back on the roster; the answer does not wait beyond the first try.
async fn put_back(api: &Api, record: InstanceRecord) {
    if start(api, &record).await {
        return;
    }
    warn!(instance.id = %record.id, "Instance {} was not deleted and is off the roster until it is taken back", record.name);
    let api = api.clone();
    actix_web::rt::spawn(async move {
        while !start(&api, &record).await {
            sleep(AGAIN).await;
        }
        info!(instance.id = %record.id, "Instance {} is on the roster again", record.name);
    });
}

/// Tells whether the instance is where it belongs; a service that is stopping finds it at its next start.
async fn start(api: &Api, record: &InstanceRecord) -> bool {
    let asked = ask(&api.start, StartInstance { record: record.clone() }, api.settings.limits.command_within).await;
    matches!(asked, Ok(()) | Err(CommandError::Stopping))
}
