//! `POST /proxy/set/{name}` and `GET /proxy/find/{name}`.

use actix_web::{HttpRequest, web};
use holdfast_core::connection::{DownReason, Refusal};
use holdfast_core::proxy::{Fault, Proxy};
use serde_json::{Map, Value, json};
use tracing::info;

use super::api::{Api, ask, to_the_end};
use super::auth;
use super::body::Body;
use super::error::{Answer, ApiError};
use super::reply;
use super::schema::{Rule, Schema};
use crate::actors::supervisor::protocol::{CommandError, RerouteInstance};
use crate::ports::proxies::TryOutError;
use crate::ports::store::{ProxyRow, ProxySpec};

const SET: Schema = Schema {
    fields: &[
        ("enabled", Rule::Flag),
        ("host", Rule::Text),
        ("port", Rule::Text),
        ("protocol", Rule::Text),
        ("username", Rule::Text),
        ("password", Rule::Text),
    ],
    required: &["enabled", "host", "port", "protocol"],
};

/// How often an instance is told that its way has changed before the client is asked to come again.
const TELLS: u32 = 3;

/// Tries the proxy, stores it, and has a live connection replaced by one through it.
pub(super) async fn set(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let fields = SET.check(&body)?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let spec = if fields.get("enabled") == Some(&Value::Bool(true)) {
        ProxySpec {
            enabled: true,
            host: text("host"),
            port: text("port"),
            protocol: text("protocol"),
            username: text("username"),
            password: text("password"),
        }
    } else {
        ProxySpec::off()
    };
    let shown = shown(fields, &spec);
    if spec.enabled {
        usable(&api, &spec).await?;
    }
    let (id, name) = (known.id.clone(), known.name.clone());
    to_the_end(async move {
        let changed = api.store.set_proxy(&id, spec).await.map_err(|error| ApiError::of_store(error, &name))?;
        if changed {
            info!(instance.id = %id, "The proxy of instance {name} was changed");
            reroute(&api, RerouteInstance { id }).await.map_err(|error| ApiError::of_command(error, &name))?;
        }
        Ok(())
    })
    .await?;
    Ok(reply::created(&json!({ "proxy": { "instanceName": known.name, "proxy": shown } })))
}

/// Answers with the row, or `null` if none was ever set.
pub(super) async fn find(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let record = api.store.get(&known.id).await.map_err(|error| ApiError::of_store(error, &known.name))?;
    let record = record.ok_or_else(|| ApiError::unknown_instance(&known.name))?;
    Ok(reply::ok(&record.proxy.as_ref().map_or(Value::Null, row)))
}

/// The whole row, as Evolution shows it: with its password.
pub(super) fn row(row: &ProxyRow) -> Value {
    let ProxySpec { enabled, host, port, protocol, username, password } = &row.spec;
    json!({
        "id": row.id,
        "enabled": enabled,
        "host": host,
        "port": port,
        "protocol": protocol,
        "username": username,
        "password": password,
        "createdAt": row.created_at.map(reply::date),
        "updatedAt": reply::date(row.updated_at),
        "instanceId": row.instance_id,
    })
}

/// Reads the proxy of a new instance: without a host there is none. A host without the rest is refused, where Evolution connects
/// directly.
pub(super) fn on_create(fields: &Map<String, Value>) -> Option<ProxySpec> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let host = text("proxyHost");
    (!host.is_empty()).then(|| ProxySpec {
        enabled: true,
        host,
        port: text("proxyPort"),
        protocol: text("proxyProtocol"),
        username: text("proxyUsername"),
        password: text("proxyPassword"),
    })
}

/// Refuses a proxy through which WhatsApp cannot be reached now.
pub(super) async fn usable(api: &Api, spec: &ProxySpec) -> Result<(), ApiError> {
    let proxy = Proxy::parse(spec.fields())
        .map_err(|why| ApiError::proxy_unusable(&DownReason::Proxy { fault: Fault::Settings }, why.to_string()))?;
    match api.proxies.try_out(proxy).await {
        Ok(()) => Ok(()),
        Err(TryOutError::Busy) => Err(ApiError::overloaded()),
        Err(TryOutError::Failed(why)) => Err(ApiError::proxy_unusable(&why, why.sentence())),
    }
}

/// The row is written: an instance that does not hear of it now would keep the old way until its next dial.
async fn reroute(api: &Api, told: RerouteInstance) -> Result<(), CommandError> {
    for _ in 1..TELLS {
        let told = RerouteInstance { id: told.id.clone() };
        match ask(&api.reroute, told, api.settings.limits.command_within).await {
            Err(CommandError::Overloaded) => {}
            // One that stops closes its connection anyway.
            Err(CommandError::Stopping | CommandError::Refused(Refusal::Stopping)) => return Ok(()),
            answer => return answer,
        }
    }
    ask(&api.reroute, told, api.settings.limits.command_within).await
}

/// The body as it was sent, but for what switching it off has emptied.
fn shown(fields: &Map<String, Value>, spec: &ProxySpec) -> Value {
    let kept = |name: &str| SET.fields.iter().any(|(field, _)| *field == name);
    let mut shown: Map<String, Value> =
        fields.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    if !spec.enabled {
        for name in ["host", "port", "protocol", "username", "password"] {
            shown.insert(name.to_owned(), json!(""));
        }
    }
    Value::Object(shown)
}
