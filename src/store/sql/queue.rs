//! Adding to the outbox: one row for each sink that asked for the event.

use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use uuid::Uuid;

use super::Tx;
use crate::store::columns::JsonText;
use crate::store::failure::Failure;
use crate::store::member::Member;
use crate::store::rows::event_keys;
use crate::store::schema::{holdfast_outbox, instance, webhook};

/// The only sink so far.
pub(super) const WEBHOOK: &str = "webhook";

/// Rows that wait, written out: an index over these rows alone is not used for a value that comes later.
pub(super) fn pending() -> SqlLiteral<Bool> {
    diesel::dsl::sql("state = 'pending'")
}

/// Rows that were given up.
pub(super) fn dead() -> SqlLiteral<Bool> {
    diesel::dsl::sql("state = 'dead'")
}

/// What a webhook's rows have in common.
#[derive(Queryable)]
struct Subscriber {
    name: String,
    token: Option<String>,
    owner_jid: Option<String>,
    url: String,
    headers: Option<JsonText>,
    events: Option<JsonText>,
    by_events: Option<bool>,
}

/// Queues events for the instance's webhook, if it is enabled and asked for them, and returns how many rows that made.
pub(super) fn add<'e>(
    tx: &mut Tx<'_>,
    id: &InstanceId,
    events: impl IntoIterator<Item = &'e EngineEvent>,
) -> Result<usize, Failure> {
    let mut events = events.into_iter().peekable();
    if events.peek().is_none() {
        return Ok(0);
    }
    let subscriber: Option<Subscriber> = instance::table
        .inner_join(webhook::table)
        .filter(instance::id.eq(id.as_str()))
        .filter(webhook::enabled.eq(true))
        .select((
            instance::name,
            instance::token,
            instance::owner_jid,
            webhook::url,
            webhook::headers,
            webhook::events,
            webhook::webhook_by_events,
        ))
        .first(tx.conn)
        .optional()?;
    // Clients write an empty text, or a word for it, where they mean no address; Evolution passes such a webhook by.
    let callable = |one: &Subscriber| one.url.starts_with("http://") || one.url.starts_with("https://");
    let Some(subscriber) = subscriber.filter(callable) else { return Ok(0) };
    let keys = event_keys(subscriber.events.as_ref(), id.as_str())?;
    let wanted: Vec<EventName> = keys.iter().filter_map(|key| EventName::from_key(key)).collect();
    let mut added = 0;
    for event in events.filter(|event| wanted.contains(&event.name)) {
        let at_ms = tx.now_ms();
        let row = (
            holdfast_outbox::event_id.eq(Uuid::new_v4().to_string()),
            holdfast_outbox::instance_id.eq(id.as_str()),
            holdfast_outbox::instance_name.eq(&subscriber.name),
            holdfast_outbox::token.eq(&subscriber.token),
            holdfast_outbox::owner_jid.eq(&subscriber.owner_jid),
            holdfast_outbox::sink.eq(WEBHOOK),
            holdfast_outbox::event.eq(event.name.dotted()),
            holdfast_outbox::data.eq(event.data.to_string()),
            holdfast_outbox::at_ms.eq(at_ms),
            holdfast_outbox::due_ms.eq(at_ms),
            holdfast_outbox::waiting_ms.eq(at_ms),
            holdfast_outbox::url.eq(&subscriber.url),
            holdfast_outbox::headers.eq(subscriber.headers.as_ref().map(|headers| &headers.0)),
            holdfast_outbox::by_events.eq(subscriber.by_events.unwrap_or(false)),
        );
        added += diesel::insert_into(holdfast_outbox::table).values(row).execute(tx.conn)?;
    }
    tx.queued += added;
    Ok(added)
}

/// Notes on what waits for the instance's webhook that the instance is gone, and which node is to deliver it.
pub(super) fn leave_behind(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<(), Failure> {
    let waiting = holdfast_outbox::table
        .filter(pending())
        .filter(holdfast_outbox::sink.eq(WEBHOOK))
        .filter(holdfast_outbox::instance_id.eq(id.as_str()));
    let stamp = (holdfast_outbox::deleted_by.eq(&member.node), holdfast_outbox::client_name.eq(&member.client_name));
    diesel::update(waiting).set(stamp).execute(tx.conn)?;
    Ok(())
}

/// Forgets what waits for the instance's webhook.
pub(super) fn drop_pending(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Failure> {
    let waiting = holdfast_outbox::table
        .filter(pending())
        .filter(holdfast_outbox::sink.eq(WEBHOOK))
        .filter(holdfast_outbox::instance_id.eq(id.as_str()));
    diesel::delete(waiting).execute(tx.conn)?;
    Ok(())
}
