//! `GET /instance/fetchInstances`: the rows, with the state that the board knows, or the one of the node that owns the instance.

use actix_web::{HttpRequest, web};
use serde_json::{Value, json};

use crate::http::api::Api;
use crate::http::auth::Key;
use crate::http::error::{Answer, ApiError};
use crate::http::nodes::fleet::{Fleet, Standing};
use crate::http::{instance_settings, proxies, query, reply};
use crate::ports::store::InstanceRecord;

/// The global key sees all instances, a token only those that carry it.
pub(in crate::http) async fn fetch_instances(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let key = Key::of(&request);
    let (id, number) = (query::parameter(&request, "instanceId"), query::parameter(&request, "number"));
    let name = query::parameter(&request, "instanceName");
    let global = key.is_global(&api);
    // Where there are other nodes, a token may be of an instance of theirs.
    let all_here = api.leases.lease_ttl().is_none();
    if !global && all_here && !api.board.all().iter().any(|(_, entry)| key.fits(&entry.token.0)) {
        return Err(ApiError::unauthorized());
    }
    api.require_running().await?;
    let rows = api.store.list().await.map_err(|error| ApiError::of_store(error, ""))?;
    let (chosen, wanted) = if global {
        // As in Evolution the first of these decides.
        match (id, number, name) {
            (Some(id), _, _) => (rows.into_iter().filter(|row| row.id.as_str() == id).collect(), Some(id)),
            (None, Some(number), _) => {
                (rows.into_iter().filter(|row| has_number(row, &number)).collect(), Some(number))
            }
            (None, None, Some(name)) => (rows.into_iter().filter(|row| row.name == name).collect(), Some(name)),
            (None, None, None) => (rows, None),
        }
    } else {
        let own = |row: &InstanceRecord| {
            let named = name.as_ref().is_none_or(|name| row.name == *name);
            let identified = id.as_ref().is_none_or(|id| row.id.as_str() == id);
            key.fits(&row.token) && named && identified
        };
        let own: Vec<InstanceRecord> = rows.into_iter().filter(own).collect();
        if own.is_empty() {
            // The token may be that of an instance which is on its way back.
            let returning = name.as_ref().map_or_else(|| api.restoration.waits(), |name| api.restoration.awaits(name));
            return Err(if returning { ApiError::returning() } else { ApiError::unauthorized() });
        }
        (own, None)
    };
    if let (Some(wanted), true) = (&wanted, chosen.is_empty()) {
        if api.restoration.awaits(wanted) {
            return Err(ApiError::returning());
        }
        return Err(ApiError::instance_not_found(wanted));
    }
    let fleet = Fleet::ask(&api).await.map_err(|error| ApiError::of_store(error, ""))?;
    Ok(reply::ok(&chosen.iter().map(|record| row(&fleet.standing(&api, record), record)).collect()))
}

pub(in crate::http) fn has_number(record: &InstanceRecord, number: &str) -> bool {
    let owner = record.owner_jid.as_deref().and_then(|jid| jid.split(['@', ':']).next());
    record.number.as_deref() == Some(number) || owner == Some(number)
}

/// Writes one row. What the owner knows is newer than what was written.
pub(in crate::http) fn row(known: &Standing, record: &InstanceRecord) -> Value {
    let Standing { state, code, account } = known;
    let either = |known: &Option<String>, stored: &Option<String>| known.clone().or_else(|| stored.clone());
    let mut row = json!({
        "id": record.id,
        "name": record.name,
        "connectionStatus": state,
        "ownerJid": either(&account.jid, &record.owner_jid),
        "profileName": either(&account.name, &record.profile_name),
        "profilePicUrl": either(&account.picture, &record.profile_picture),
        "integration": record.integration,
        "number": record.number,
        "businessId": record.business_id,
        "token": record.token,
        "clientName": record.client_name,
        "disconnectionReasonCode": record.disconnection_code,
        "disconnectionObject": record.disconnection_object,
        "disconnectionAt": record.disconnection_at.map(reply::date),
        "createdAt": record.created_at.map(reply::date),
        "updatedAt": record.updated_at.map(reply::date),
        "Chatwoot": record.chatwoot,
        "Proxy": record.proxy.as_ref().map(proxies::row),
        "Rabbitmq": null,
        "Nats": null,
        "Sqs": null,
        "Websocket": null,
        "Setting": record.setting.as_ref().map(instance_settings::row),
        "_count": { "Message": 0, "Contact": 0, "Chat": 0 },
    });
    if let Some(code) = code {
        row["code"] = json!(code);
    }
    if !record.unreadable.is_empty() {
        row["unreadable"] = json!(record.unreadable);
    }
    row
}
