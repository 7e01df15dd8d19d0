//! `POST /webhook/set/{name}` and `GET /webhook/find/{name}`.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, web};
use holdfast_core::event::EventName;
use holdfast_core::network::Networks;
use serde_json::{Map, Value, json};

use super::api::Api;
use super::auth;
use super::body::Body;
use super::code::ErrorCode;
use super::error::{Answer, ApiError};
use super::reply;
use super::schema::{Rule, Schema};
use crate::ports::address;
use crate::ports::signing_key::SigningKey;
use crate::ports::store::{WebhookRow, WebhookSpec};

const EVENTS: Rule = Rule::List { items: &Rule::OneOf(event_keys), min: 0, unique: false };
/// A row that was read holds `null` here, and clients send back what they have read.
const HEADERS: Rule = Rule::Or(&Rule::Object, &Rule::Null);

const WEBHOOK: Schema = Schema {
    fields: &[
        ("enabled", Rule::Flag),
        ("url", Rule::Text),
        ("headers", HEADERS),
        ("byEvents", Rule::Flag),
        ("base64", Rule::Flag),
        ("webhookByEvents", Rule::Flag),
        ("webhookBase64", Rule::Flag),
        ("webhook_by_events", Rule::Flag),
        ("webhook_base64", Rule::Flag),
        ("events", EVENTS),
    ],
    required: &["enabled", "url"],
};

/// The rules of the block in `POST /instance/create`.
pub(super) const ON_CREATE: Schema = Schema { fields: WEBHOOK.fields, required: &["url"] };

const SET: Schema = Schema { fields: &[("webhook", Rule::Nested(&WEBHOOK))], required: &["webhook"] };

/// Returns the keys that a subscription may name.
pub(super) fn event_keys() -> Vec<&'static str> {
    // Both spellings of one event are known to clients.
    EventName::ALL.iter().map(|name| name.key()).chain(["GROUP_UPDATE"]).collect()
}

/// Takes the contract's wrapped body, and the flat ones that clients of version 1 send.
pub(super) async fn set(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let body = wrapped(body);
    let fields = SET.check(&body)?;
    let Some(Value::Object(webhook)) = fields.get("webhook") else {
        return Err(ApiError::invalid(vec!["instance requires property \"webhook\"".to_owned()]));
    };
    let enabled = webhook.get("enabled") == Some(&Value::Bool(true));
    let spec = spec(webhook, enabled, &api.settings.webhook_networks)?;
    let row = api.store.set_webhook(&known.id, spec).await.map_err(|error| ApiError::of_store(error, &known.name))?;
    Ok(reply::created(&row_value(&row)))
}

/// Answers with the row, or `null` if none was ever set.
pub(super) async fn find(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let row = api.store.webhook(&known.id).await.map_err(|error| ApiError::of_store(error, &known.name))?;
    Ok(reply::ok(&row.as_ref().map_or(Value::Null, row_value)))
}

/// Reads a checked block. No list of events, like an empty one, means all of them; a disabled webhook has none.
pub(super) fn spec(webhook: &Map<String, Value>, enabled: bool, networks: &Networks) -> Result<WebhookSpec, ApiError> {
    let flag = |names: [&str; 3]| names.iter().any(|name| webhook.get(*name) == Some(&Value::Bool(true)));
    let listed = webhook.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut events = Vec::new();
    for event in listed.iter().filter_map(Value::as_str).filter_map(EventName::from_key) {
        if !events.contains(&event) {
            events.push(event);
        }
    }
    if events.is_empty() {
        events = EventName::ALL.to_vec();
    }
    let headers = webhook.get("headers").filter(|headers| headers.is_object()).cloned();
    check_headers(headers.as_ref())?;
    let url = webhook.get("url").and_then(Value::as_str).unwrap_or_default();
    if enabled {
        check_address(url, networks)?;
    }
    Ok(WebhookSpec {
        enabled,
        url: url.to_owned(),
        headers,
        by_events: flag(["byEvents", "webhookByEvents", "webhook_by_events"]),
        base64: flag(["base64", "webhookBase64", "webhook_base64"]),
        events: if enabled { events } else { Vec::new() },
    })
}

/// Refuses an address that would never be called. What a name means is seen at each delivery.
fn check_address(url: &str, networks: &Networks) -> Result<(), ApiError> {
    let Some(address) = address::parse(url).ok().as_ref().and_then(address::literal) else { return Ok(()) };
    networks.permit(address).map_err(|class| {
        let text = format!(
            "The webhook's address {address} is a {class} address, which is not called; \
             set WEBHOOK_ALLOWED_NETWORKS to allow its network"
        );
        ApiError::bad_request(ErrorCode::WebhookRefused, text)
    })
}

/// Refuses headers that no request could carry: found out here, they can still be corrected.
fn check_headers(headers: Option<&Value>) -> Result<(), ApiError> {
    let Some(headers) = headers.and_then(Value::as_object) else { return Ok(()) };
    let carried = |value: &Value| match value {
        Value::String(text) => HeaderValue::from_str(text).is_ok(),
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    if let Some(Err(why)) = headers.get("hmac_key").map(|key| SigningKey::parse(key.as_str().unwrap_or_default())) {
        return Err(ApiError::invalid(vec![format!("webhook.headers.hmac_key cannot be used: {why}")]));
    }
    match headers.iter().find(|(name, value)| HeaderName::from_bytes(name.as_bytes()).is_err() || !carried(value)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(ApiError::invalid(vec![format!("webhook.headers has an invalid name or value at \"{name}\"")]))
        }
    }
}

/// Wraps a flat body, which is known by its fields.
fn wrapped(body: Value) -> Value {
    let flat = body.get("webhook").is_none() && (body.get("url").is_some() || body.get("enabled").is_some());
    if flat { json!({ "webhook": body }) } else { body }
}

fn row_value(row: &WebhookRow) -> Value {
    json!({
        "id": row.id,
        "url": row.url,
        "headers": row.headers,
        "enabled": row.enabled,
        "events": row.events,
        "webhookByEvents": row.webhook_by_events,
        "webhookBase64": row.webhook_base64,
        "createdAt": reply::date(row.created_at),
        "updatedAt": reply::date(row.updated_at),
        "instanceId": row.instance_id,
    })
}
