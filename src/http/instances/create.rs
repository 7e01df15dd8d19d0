//! `POST /instance/create`: rows, then an actor, then, if asked for, something to scan.

use actix_web::{HttpRequest, HttpResponse, web};
use holdfast_core::connection::state::PublicState;
use holdfast_core::id::InstanceId;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::warn;

use super::delete::AGAIN;
use super::form::{self, Form};
use crate::actors::supervisor::protocol::{CommandError, DeleteInstance, StartInstance};
use crate::failpoint::reach;
use crate::http::api::{Api, ask, to_the_end};
use crate::http::auth;
use crate::http::body::Body;
use crate::http::error::{Answer, ApiError};
use crate::http::pairing::{self, Shown, Wanted};
use crate::http::{instance_settings, proxies, qr, reply};
use crate::ports::board::PairingView;
use crate::ports::store::NewInstance;

/// A name that is taken is answered first, then a wrong key, then the body.
pub(in crate::http) async fn create(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    if let Some(name) = form::name(&body)
        && (api.board.by_name(name).is_some() || api.restoration.awaits(name))
    {
        return Err(ApiError::name_taken(name));
    }
    auth::global(&api, &request)?;
    let form = form::read(&body, &api.settings.webhook_networks)?;
    api.require_running().await?;
    if let Some(proxy) = &form.new.proxy {
        proxies::usable(&api, proxy).await?;
    }
    to_the_end(async move { build(&api, form, &body).await }).await
}

async fn build(api: &Api, form: Form, body: &Value) -> Result<HttpResponse, ApiError> {
    let Form { new, connects } = form;
    let (id, name) = (new.id.clone(), new.name.clone());
    // Nothing is there yet that could be undone: a name that was taken meanwhile belongs to somebody else.
    let record = api.store.insert(new.clone()).await.map_err(|error| ApiError::of_store(error, &name))?;
    reach!("create.inserted");
    let within = api.settings.limits.command_within;
    let shown = async {
        ask(&api.start, StartInstance { record }, within).await?;
        reach!("create.started");
        if connects { show(api, &new).await.map(Some) } else { Ok(None) }
    };
    match shown.await {
        Ok(shown) => {
            reach!("create.answer");
            Ok(reply::created(&answer(api, &new, body, shown)))
        }
        Err(error) => {
            undo(api, &id).await;
            Err(ApiError::of_command(error, &name))
        }
    }
}

async fn show(api: &Api, new: &NewInstance) -> Result<Value, CommandError> {
    let method = pairing::method(new.number.as_deref());
    pairing::connect(api, &new.id, &method).await?;
    let Some(mut entry) = api.board.watch(&new.id) else {
        return Ok(json!({ "count": 0 }));
    };
    let wanted = Wanted { id: &new.id, method, stale: PairingView::default() };
    let view = match pairing::wait(api, &mut entry, wanted, api.settings.limits.qr_wait).await? {
        Shown::Pairing(view) => view,
        Shown::Open => PairingView::default(),
    };
    Ok(qr::object(&view, api.settings.qr_color))
}

/// Removes what this request has made, by its id: another instance of the same name is never touched.
async fn undo(api: &Api, id: &InstanceId) {
    if leaves(api, id).await {
        return remove(api, id).await;
    }
    warn!(instance.id = %id, "Instance {id}, whose creation has failed, cannot be taken off the roster yet; it is tried again");
    let (api, id) = (api.clone(), id.clone());
    actix_web::rt::spawn(async move {
        // Rows are not removed from under an actor that may run.
        while !leaves(&api, &id).await {
            sleep(AGAIN).await;
        }
        remove(&api, &id).await;
    });
}

/// Takes an instance off the roster, and tells whether that was done. A service that is stopping ends it anyway.
async fn leaves(api: &Api, id: &InstanceId) -> bool {
    let asked = ask(&api.delete, DeleteInstance { id: id.clone() }, api.settings.limits.unlink_within).await;
    matches!(asked, Ok(_) | Err(CommandError::Unknown | CommandError::Stopping))
}

async fn remove(api: &Api, id: &InstanceId) {
    if let Err(error) = api.store.delete(id).await {
        warn!(instance.id = %id, %error, "Instance {id} could not be removed after its creation had failed");
    }
}

fn answer(api: &Api, new: &NewInstance, body: &Value, shown: Option<Value>) -> Value {
    let state = api.status(&new.id).map_or(PublicState::Close, |status| status.state_at(api.clock.now()));
    // A client's enumeration of this key does not know "open".
    let status = if state == PublicState::Close { "close" } else { "connecting" };
    let mut answer = json!({
        "instance": {
            "instanceName": new.name,
            "instanceId": new.id,
            "integration": new.integration,
            "webhookWaBusiness": null,
            "accessTokenWaBusiness": "",
            "status": status,
        },
        "hash": new.token,
        "webhook": webhook(body),
        "websocket": {},
        "rabbitmq": {},
        "nats": {},
        "sqs": {},
        "settings": instance_settings::fields(&new.settings),
    });
    if let Some(shown) = shown {
        answer["qrcode"] = shown;
    }
    answer
}

/// Gives the webhook back as it was sent, under the names of the answer; what was not sent is absent.
fn webhook(body: &Value) -> Value {
    let names = [
        ("webhookUrl", "url"),
        ("webhookHeaders", "headers"),
        ("webhookByEvents", "byEvents"),
        ("webhookBase64", "base64"),
    ];
    let sent = |name: &str| body.get("webhook").and_then(|webhook| webhook.get(name)).cloned();
    names.iter().filter_map(|(answered, name)| Some(((*answered).to_owned(), sent(name)?))).collect()
}
