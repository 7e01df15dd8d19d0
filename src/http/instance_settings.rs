//! `POST /settings/set/{name}` and `GET /settings/find/{name}`, and the settings as other answers show them.

use actix_web::{HttpRequest, web};
use serde_json::{Value, json};
use tracing::warn;

use super::api::{Api, ask, to_the_end};
use super::auth;
use super::body::Body;
use super::error::{Answer, ApiError};
use super::reply;
use super::schema::{Rule, Schema};
use crate::actors::supervisor::protocol::ApplySettings;
use crate::ports::store::{SettingRow, Settings, SettingsSpec};

/// A text of the settings, as long as its column at most.
pub(super) const TEXT: Rule = Rule::UpTo(100);

const SET: Schema = Schema {
    fields: &[
        ("rejectCall", Rule::Flag),
        ("msgCall", TEXT_OR_NULL),
        ("groupsIgnore", Rule::Flag),
        ("alwaysOnline", Rule::Flag),
        ("readMessages", Rule::Flag),
        ("readStatus", Rule::Flag),
        ("syncFullHistory", Rule::Flag),
        ("wavoipToken", TEXT_OR_NULL),
    ],
    required: &["rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory"],
};
/// A row that was written by another program may hold `null` here, and clients send back what they have read.
const TEXT_OR_NULL: Rule = Rule::Or(&TEXT, &Rule::Null);

/// Stores the settings and lets them hold at once; answers with the body as it was sent.
pub(super) async fn set(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let spec = spec(&body)?;
    let (id, name) = (known.id.clone(), known.name.clone());
    to_the_end(async move {
        api.store.set_settings(&id, spec).await.map_err(|error| ApiError::of_store(error, &name))?;
        let applied = ask(&api.apply_settings, ApplySettings { id: id.clone() }, api.settings.limits.command_within);
        if let Err(error) = applied.await {
            // They are stored, and whoever dials next reads them.
            warn!(instance.id = %id, "The settings of instance {name} are stored, but do not hold yet: {error}");
        }
        Ok(reply::created(&json!({ "settings": { "instanceName": name, "settings": body } })))
    })
    .await
}

fn spec(body: &Value) -> Result<SettingsSpec, ApiError> {
    let fields = SET.check(body)?;
    let on = |key: &str| fields.get(key) == Some(&Value::Bool(true));
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(SettingsSpec {
        reject_call: on("rejectCall"),
        msg_call: text("msgCall"),
        groups_ignore: on("groupsIgnore"),
        always_online: on("alwaysOnline"),
        read_messages: on("readMessages"),
        read_status: on("readStatus"),
        sync_full_history: on("syncFullHistory"),
        wavoip_token: text("wavoipToken"),
    })
}

/// Answers with the eight fields; an instance without a row has the defaults.
pub(super) async fn find(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let row = api.store.settings(&known.id).await.map_err(|error| ApiError::of_store(error, &known.name))?;
    Ok(reply::ok(&fields(&row.map(|row| row.settings).unwrap_or_default())))
}

/// The eight fields.
pub(super) fn fields(settings: &Settings) -> Value {
    json!({
        "rejectCall": settings.reject_call,
        "msgCall": settings.msg_call,
        "groupsIgnore": settings.groups_ignore,
        "alwaysOnline": settings.always_online,
        "readMessages": settings.read_messages,
        "readStatus": settings.read_status,
        "syncFullHistory": settings.sync_full_history,
        "wavoipToken": settings.wavoip_token,
    })
}

/// The whole row.
pub(super) fn row(row: &SettingRow) -> Value {
    let mut value = fields(&row.settings);
    value["id"] = json!(row.id);
    value["createdAt"] = json!(reply::date(row.created_at));
    value["updatedAt"] = json!(reply::date(row.updated_at));
    value["instanceId"] = json!(row.instance_id);
    value
}
