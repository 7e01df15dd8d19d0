//! Rows of webhooks.

use diesel::prelude::*;
use holdfast_core::id::InstanceId;

use super::instances::require;
use super::queue;
use super::{Conn, Tx};
use crate::ports::store::{WebhookRow, WebhookSpec};
use crate::store::columns::{JsonText, column_time};
use crate::store::cuid::cuid;
use crate::store::failure::Failure;
use crate::store::rows::Webhook;
use crate::store::schema::webhook;

/// Reads the webhook of an instance.
pub(super) fn read(conn: &mut Conn, id: &InstanceId) -> Result<Option<WebhookRow>, Failure> {
    let found: Option<Webhook> = webhook::table
        .filter(webhook::instance_id.eq(id.as_str()))
        .select(Webhook::as_select())
        .first(conn)
        .optional()?;
    Ok(found.map(TryInto::try_into).transpose()?)
}

/// Creates or replaces it. What is queued for a webhook that is disabled would never be wanted again.
pub(super) fn set(tx: &mut Tx<'_>, id: &InstanceId, spec: &WebhookSpec) -> Result<WebhookRow, Failure> {
    require(tx.conn, id)?;
    let keys: Vec<_> = spec.events.iter().map(|name| name.key()).collect();
    let time = column_time(tx.now);
    let columns = (
        webhook::url.eq(&spec.url),
        webhook::headers.eq(spec.headers.as_ref().map(JsonText::of)),
        webhook::enabled.eq(spec.enabled),
        webhook::events.eq(JsonText::of(&serde_json::json!(keys))),
        webhook::webhook_by_events.eq(spec.by_events),
        webhook::webhook_base64.eq(spec.base64),
        webhook::updated_at.eq(time),
    );
    let created = (webhook::id.eq(cuid()?), webhook::created_at.eq(time), webhook::instance_id.eq(id.as_str()));
    diesel::insert_into(webhook::table)
        .values((columns.clone(), created))
        .on_conflict(webhook::instance_id)
        .do_update()
        .set(columns)
        .execute(tx.conn)?;
    if !spec.enabled {
        queue::drop_pending(tx, id)?;
    }
    read(tx.conn, id)?.ok_or_else(|| diesel::result::Error::NotFound.into())
}
