//! The outbox: what is due, and how it went.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use holdfast_core::delivery::lanes::Head;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use serde_json::Value;
use tokio::sync::Notify;

use super::{Conn, Database, Lane, Tx, dialect, queue, standing};
use crate::ports::address;
use crate::ports::outbox::{Delivery, InstanceLag, Lag, Loaded, Outbox, Settlement, Target};
use crate::ports::store::StoreError;
use crate::store::columns;
use crate::store::failure::Failure;
use crate::store::member::Member;
use crate::store::schema::holdfast_outbox;

/// Finds the oldest waiting row of each instance. It leaps from instance to instance through the index, whose columns are all it needs:
/// a plain `GROUP BY` would walk over every waiting row each time, and there are many exactly when a receiver is down. The URL is that
/// of the present webhook; the row's own is looked up only if there is none.
const HEADS: &str = r#"
    WITH RECURSIVE lane (id) AS (
      SELECT min(instance_id) FROM holdfast_outbox WHERE state = 'pending' AND sink = 'webhook'
      UNION ALL
      SELECT (SELECT min(o.instance_id) FROM holdfast_outbox o
        WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.instance_id > lane.id)
      FROM lane WHERE lane.id IS NOT NULL
    )
    SELECT waits.seq, waits.instance_id, waits.due_ms, waits.tries, CASE WHEN live."id" IS NULL
      THEN (SELECT o.url FROM holdfast_outbox o WHERE o.seq = waits.seq) ELSE live."url" END AS target_url
    FROM lane OLDEST
    LEFT JOIN "Webhook" live ON live."instanceId" = waits.instance_id OURS"#;

pub(in crate::store) fn heads_query() -> String {
    HEADS.replace("OLDEST", dialect::OLDEST).replace("OURS", dialect::OURS).replace("NOW_MS", dialect::NOW_MS)
}

/// Reads the oldest waiting row of one instance.
pub(in crate::store) const NEXT: &str = r#"
    SELECT waits.*, CASE WHEN live."id" IS NULL THEN waits.url ELSE live."url" END AS target_url,
      CASE WHEN live."id" IS NULL THEN waits.headers ELSE CAST(live."headers" AS TEXT) END AS target_headers,
      CASE WHEN live."id" IS NULL THEN waits.by_events ELSE live."webhookByEvents" END AS target_by_events
    FROM holdfast_outbox waits LEFT JOIN "Webhook" live ON live."instanceId" = waits.instance_id
    WHERE waits.due_ms <= $1 AND waits.seq = (SELECT min(o.seq) FROM holdfast_outbox o
      WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.instance_id = $2)"#;

/// Counts by instance, over the index, and takes name and URL from one row of each.
const LAGS: &str = r#"
    WITH waiting AS (
      SELECT instance_id, count(*) AS pending, min(waiting_ms) AS oldest_ms, min(seq) AS seq FROM holdfast_outbox
      WHERE state = 'pending' AND sink = 'webhook' GROUP BY instance_id
    ), given_up AS (
      SELECT instance_id, count(*) AS dead, min(seq) AS seq FROM holdfast_outbox WHERE state = 'dead' GROUP BY instance_id
    ), known AS (SELECT instance_id FROM waiting UNION SELECT instance_id FROM given_up)
    SELECT known.instance_id, sample.instance_name, coalesce(live."url", sample.url) AS target_url,
      coalesce(waiting.pending, 0) AS pending, waiting.oldest_ms, coalesce(given_up.dead, 0) AS dead
    FROM known LEFT JOIN waiting ON waiting.instance_id = known.instance_id
    LEFT JOIN given_up ON given_up.instance_id = known.instance_id
    JOIN holdfast_outbox sample ON sample.seq = coalesce(waiting.seq, given_up.seq)
    LEFT JOIN "Webhook" live ON live."instanceId" = known.instance_id
    ORDER BY sample.instance_name, known.instance_id"#;

pub(in crate::store) const LAG: &str = "\
    SELECT (SELECT count(*) FROM holdfast_outbox WHERE state = 'pending' AND sink = 'webhook') AS pending, \
      (SELECT min(waiting_ms) FROM holdfast_outbox WHERE state = 'pending' AND sink = 'webhook') AS oldest_ms, \
      (SELECT count(*) FROM holdfast_outbox WHERE state = 'dead') AS dead";

/// Gives up what has waited as long as a row that was given up for its age. Bounded: others wait for the writer.
const GIVE_UP_TOO: &str = "\
    UPDATE holdfast_outbox SET state = 'dead', dead_ms = $1, why = $2 WHERE seq IN (\
      SELECT o.seq FROM holdfast_outbox o WHERE o.state = 'pending' AND o.sink = 'webhook' AND o.waiting_ms < $3 \
        AND o.instance_id = (SELECT instance_id FROM holdfast_outbox WHERE seq = $4) ORDER BY o.seq LIMIT 1000)";

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = BigInt)]
    due_ms: i64,
    #[diesel(sql_type = Integer)]
    tries: i32,
    #[diesel(sql_type = Text)]
    target_url: String,
}

#[derive(QueryableByName)]
struct NextRow {
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
    #[diesel(sql_type = BigInt)]
    waiting_ms: i64,
    #[diesel(sql_type = Integer)]
    attempts: i32,
    #[diesel(sql_type = Integer)]
    tries: i32,
    #[diesel(sql_type = Text)]
    target_url: String,
    #[diesel(sql_type = Nullable<Text>)]
    target_headers: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    target_by_events: Option<bool>,
}

#[derive(QueryableByName)]
struct LagRow {
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest_ms: Option<i64>,
    #[diesel(sql_type = BigInt)]
    dead: i64,
}

#[derive(QueryableByName)]
struct InstanceLagRow {
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = Text)]
    instance_name: String,
    #[diesel(sql_type = Text)]
    target_url: String,
    #[diesel(embed)]
    lag: LagRow,
}

#[async_trait]
impl Outbox for Database {
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError> {
        let (id, lane) = (id.clone(), Lane::of(id));
        let member = Arc::clone(&self.member);
        let append = move |tx: &mut Tx<'_>| {
            standing::fence(tx, &member, &id)?;
            queue::add(tx, &id, &events)
        };
        self.write("queuing events", lane, append).await
    }

    async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        let member = Arc::clone(&self.member);
        self.look("reading what waits", move |conn| heads(conn, &member)).await
    }

    async fn next(&self, id: &InstanceId, now_ms: i64) -> Result<Loaded, StoreError> {
        let id = id.clone();
        self.look("reading what is due", move |conn| next(conn, &id, now_ms)).await
    }

    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        self.write("recording deliveries", Lane::ANY, move |tx| settle(tx, settlements)).await
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        let read = |conn: &mut Conn| {
            let row: LagRow = diesel::sql_query(LAG).get_result(conn)?;
            Ok(row.into())
        };
        self.look("reading how far the sinks are behind", read).await
    }

    async fn lags(&self) -> Result<Vec<InstanceLag>, StoreError> {
        let read = |conn: &mut Conn| {
            let rows: Vec<InstanceLagRow> = diesel::sql_query(LAGS).load(conn)?;
            Ok(rows.into_iter().map(Into::into).collect())
        };
        self.look("reading how far the sinks are behind", read).await
    }

    fn appended(&self) -> Arc<Notify> {
        Arc::clone(&self.appended)
    }
}

fn heads(conn: &mut Conn, member: &Member) -> Result<Vec<Head>, Failure> {
    let query = diesel::sql_query(heads_query());
    let rows: Vec<HeadRow> = if dialect::SHARED {
        query.bind::<Text, _>(&member.node).bind::<Text, _>(&member.client_name).load(conn)?
    } else {
        query.load(conn)?
    };
    let mut heads: Vec<Head> = Vec::with_capacity(rows.len());
    let mut last_url = String::new();
    for row in rows {
        // Most instances have one and the same target.
        let origin = match heads.last() {
            Some(last) if last_url == row.target_url => last.origin.clone(),
            Some(_) | None => address::origin(&row.target_url),
        };
        last_url = row.target_url;
        heads.push(Head {
            seq: row.seq,
            instance: InstanceId::new(row.instance_id),
            origin,
            due_ms: row.due_ms,
            tries: u32::try_from(row.tries).unwrap_or_default(),
        });
    }
    Ok(heads)
}

fn next(conn: &mut Conn, id: &InstanceId, now_ms: i64) -> Result<Loaded, Failure> {
    let row: Option<NextRow> =
        diesel::sql_query(NEXT).bind::<BigInt, _>(now_ms).bind::<Text, _>(id.as_str()).get_result(conn).optional()?;
    Ok(row.map_or(Loaded::Nothing, loaded))
}

fn loaded(row: NextRow) -> Loaded {
    let seq = row.seq;
    let Some(name) = EventName::from_dotted(&row.event) else {
        return Loaded::Unreadable { seq, why: format!("the event \"{}\" is not known to this version", row.event) };
    };
    let data = match serde_json::from_str(&row.data) {
        Ok(data) => data,
        Err(cause) => return Loaded::Unreadable { seq, why: format!("its data cannot be read: {cause}") },
    };
    // Headers that cannot be read are the webhook's fault, and can be set again: `null` says so.
    let headers = columns::json(row.target_headers.as_deref()).unwrap_or(Some(Value::Null));
    Loaded::Ready(Box::new(Delivery {
        seq,
        event_id: row.event_id,
        instance: InstanceId::new(row.instance_id),
        instance_name: row.instance_name,
        token: row.token,
        owner_jid: row.owner_jid,
        event: EngineEvent { name, data },
        at_ms: row.at_ms,
        waiting_ms: row.waiting_ms,
        tries: u32::try_from(row.tries).unwrap_or_default(),
        attempts: u32::try_from(row.attempts).unwrap_or_default(),
        target: Target { url: row.target_url, headers, by_events: row.target_by_events.unwrap_or(false) },
    }))
}

fn settle(tx: &mut Tx<'_>, settlements: Vec<(i64, Settlement)>) -> Result<(), Failure> {
    use holdfast_outbox::{attempts, dead_ms, due_ms, state, tries, why};
    let now_ms = tx.now_ms();
    for (seq, settlement) in settlements {
        // A row that is gone, because its webhook was disabled meanwhile, needs no record.
        let row = holdfast_outbox::table.find(seq);
        match settlement {
            Settlement::Delivered => {
                diesel::delete(row).execute(tx.conn)?;
            }
            Settlement::RetryAt { at_ms, counts, why: reason } => {
                let tried = (tries.eq(tries + 1), attempts.eq(attempts + i32::from(counts)));
                diesel::update(row).set((tried, due_ms.eq(at_ms), why.eq(reason))).execute(tx.conn)?;
            }
            Settlement::Dead { counts, and_before_ms, why: reason } => {
                let tried = (tries.eq(tries + 1), attempts.eq(attempts + i32::from(counts)));
                let dead = (state.eq("dead"), dead_ms.eq(now_ms), why.eq(&reason));
                diesel::update(row).set((tried, dead)).execute(tx.conn)?;
                if let Some(before_ms) = and_before_ms {
                    diesel::sql_query(GIVE_UP_TOO)
                        .bind::<BigInt, _>(now_ms)
                        .bind::<Text, _>(format!("it has waited as long as one before it: {reason}"))
                        .bind::<BigInt, _>(before_ms)
                        .bind::<BigInt, _>(seq)
                        .execute(tx.conn)?;
                }
            }
            Settlement::Unreadable { why: reason } => {
                let dead = (state.eq("dead"), dead_ms.eq(now_ms), why.eq(reason));
                diesel::update(row).set(dead).execute(tx.conn)?;
            }
        }
    }
    Ok(())
}

impl From<LagRow> for Lag {
    fn from(row: LagRow) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Self { pending: count(row.pending), oldest_ms: row.oldest_ms, dead: count(row.dead) }
    }
}

impl From<InstanceLagRow> for InstanceLag {
    fn from(row: InstanceLagRow) -> Self {
        Self {
            instance: InstanceId::new(row.instance_id),
            name: row.instance_name,
            origin: address::origin(&row.target_url),
            lag: row.lag.into(),
        }
    }
}
