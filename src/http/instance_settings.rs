//! `GET /settings/find/{name}`, and the settings as other answers show them.

use actix_web::{HttpRequest, web};
use serde_json::{Value, json};

use super::api::Api;
use super::auth;
use super::error::{Answer, ApiError};
use super::reply;
use crate::ports::store::{SettingRow, Settings};

/// Answers with the eight fields; an instance without a row has the defaults.
pub(super) async fn find(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let known = auth::instance(&api, &request).await?;
    let record = api.store.get(&known.id).await.map_err(|error| ApiError::of_store(error, &known.name))?;
    let record = record.ok_or_else(|| ApiError::unknown_instance(&known.name))?;
    Ok(reply::ok(&fields(&record.setting.map(|row| row.settings).unwrap_or_default())))
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
