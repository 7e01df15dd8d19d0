//! The outbox: what is due, and how it went.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use tokio::sync::Notify;

use super::writer::Tx;
use super::{SqliteStore, queue};
use crate::ports::outbox::{Delivery, Lag, Outbox, Settlement, Target};
use crate::ports::store::StoreError;
use crate::store::columns;
use crate::store::failure::Failure;
use crate::store::schema::holdfast_outbox;

/// Finds the oldest waiting row of each instance. It leaps from instance to instance through the index: a plain `GROUP BY` would walk
/// over every waiting row each time, and there are many exactly when a receiver is down.
const HEADS: &str = "\
    WITH RECURSIVE lane (id) AS (\
      SELECT min(instance_id) FROM holdfast_outbox WHERE state = 'pending' AND sink = 'webhook' \
      UNION ALL \
      SELECT (SELECT min(o.instance_id) FROM holdfast_outbox o \
        WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.instance_id > lane.id) \
      FROM lane WHERE lane.id IS NOT NULL\
    ), head AS (\
      SELECT row.* FROM lane JOIN holdfast_outbox row ON row.seq = (\
        SELECT min(o.seq) FROM holdfast_outbox o WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.instance_id = lane.id)\
    )";

#[derive(QueryableByName)]
struct Head {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    event_id: String,
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = Text)]
    instance_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    token: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    owner_jid: Option<String>,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = BigInt)]
    at_ms: i64,
    #[diesel(sql_type = Integer)]
    attempts: i32,
    #[diesel(sql_type = Text)]
    target_url: String,
    #[diesel(sql_type = Nullable<Text>)]
    target_headers: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    target_by_events: Option<bool>,
}

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Nullable<BigInt>)]
    due_ms: Option<i64>,
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError> {
        let id = id.clone();
        self.writer.submit("queuing events", move |tx| queue::add(tx, &id, &events)).await
    }

    async fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.readers.submit("reading what is due", move |conn| due(conn, now_ms, limit)).await
    }

    async fn next_due_at(&self) -> Result<Option<i64>, StoreError> {
        let read = |conn: &mut SqliteConnection| {
            let found: Due =
                diesel::sql_query(format!("{HEADS} SELECT min(due_ms) AS due_ms FROM head")).get_result(conn)?;
            Ok(found.due_ms)
        };
        self.readers.submit("reading when something is due", read).await
    }

    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        self.writer.submit("recording deliveries", move |tx| settle(tx, settlements)).await
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        self.readers.submit("reading how far the sinks are behind", lag).await
    }

    fn appended(&self) -> Arc<Notify> {
        Arc::clone(&self.appended)
    }
}

fn due(conn: &mut SqliteConnection, now_ms: i64, limit: u32) -> Result<Vec<Delivery>, Failure> {
    let query = format!(
        r#"{HEADS} SELECT head.*,
            CASE WHEN live."id" IS NULL THEN head.url ELSE live."url" END AS target_url,
            CASE WHEN live."id" IS NULL THEN head.headers ELSE live."headers" END AS target_headers,
            CASE WHEN live."id" IS NULL THEN head.by_events ELSE live."webhookByEvents" END AS target_by_events
        FROM head LEFT JOIN "Webhook" live ON live."instanceId" = head.instance_id
        WHERE head.due_ms <= ? ORDER BY head.seq LIMIT ?"#
    );
    let heads: Vec<Head> =
        diesel::sql_query(query).bind::<BigInt, _>(now_ms).bind::<BigInt, _>(i64::from(limit)).load(conn)?;
    Ok(heads.into_iter().filter_map(delivery).collect())
}

/// Reads a row. One that cannot be understood holds up its own instance only, and is not lost.
fn delivery(head: Head) -> Option<Delivery> {
    let seq = head.seq;
    let parsed = (|| {
        let name = EventName::from_dotted(&head.event)?;
        let data = serde_json::from_str(&head.data).ok()?;
        Some((EngineEvent { name, data }, columns::json(head.target_headers.as_deref()).ok()?))
    })();
    let Some((event, headers)) = parsed else {
        tracing::error!(
            instance.id = head.instance_id,
            seq,
            "Outbox row {seq} cannot be read; its instance's deliveries wait behind it"
        );
        return None;
    };
    Some(Delivery {
        seq,
        event_id: head.event_id,
        instance: InstanceId::new(head.instance_id),
        instance_name: head.instance_name,
        token: head.token,
        owner_jid: head.owner_jid,
        event,
        at_ms: head.at_ms,
        attempts: u32::try_from(head.attempts).unwrap_or_default(),
        target: Target { url: head.target_url, headers, by_events: head.target_by_events.unwrap_or(false) },
    })
}

fn settle(tx: &mut Tx<'_>, settlements: Vec<(i64, Settlement)>) -> Result<(), Failure> {
    use holdfast_outbox::{attempts, dead_ms, due_ms, state, why};
    let now_ms = tx.now_ms();
    for (seq, settlement) in settlements {
        // A row that is gone, because its webhook was disabled meanwhile, needs no record.
        let row = holdfast_outbox::table.find(seq);
        match settlement {
            Settlement::Delivered => diesel::delete(row).execute(tx.conn)?,
            Settlement::RetryAt { at_ms, why: reason } => diesel::update(row)
                .set((attempts.eq(attempts + 1), due_ms.eq(at_ms), why.eq(reason)))
                .execute(tx.conn)?,
            Settlement::Dead { why: reason } => {
                let dead = (attempts.eq(attempts + 1), state.eq("dead"), dead_ms.eq(now_ms), why.eq(reason));
                diesel::update(row).set(dead).execute(tx.conn)?
            }
        };
    }
    Ok(())
}

fn lag(conn: &mut SqliteConnection) -> Result<Lag, Failure> {
    use diesel::dsl::{count_star, min};
    use holdfast_outbox::{at_ms, state};
    let (pending, oldest_ms): (i64, Option<i64>) =
        holdfast_outbox::table.filter(state.eq("pending")).select((count_star(), min(at_ms))).first(conn)?;
    let dead: i64 = holdfast_outbox::table.filter(state.eq("dead")).select(count_star()).first(conn)?;
    Ok(Lag { pending: pending as u64, oldest_ms, dead: dead as u64 })
}
