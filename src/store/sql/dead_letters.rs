//! The dead letters: pages of them, and taking them back or away in steps that let other writers pass.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use holdfast_core::id::InstanceId;
use serde_json::Value;

use super::dialect::numbers;
use super::{Conn, Database, Lane, Tx};
use crate::ports::dead_letters::{DeadLetter, DeadLetters, Page, Redriven, Selection};
use crate::ports::store::StoreError;
use crate::store::failure::Failure;

/// Rows in one transaction.
const STEP: i64 = 500;

const PAGE: &str = r#"
    SELECT dead.seq, dead.event_id, dead.instance_id, dead.instance_name, dead.event, dead.at_ms, dead.dead_ms, dead.tries, dead.why,
      coalesce(live."url", dead.url) AS url, CASE WHEN $1 THEN dead.data END AS data
    FROM holdfast_outbox dead LEFT JOIN "Webhook" live ON live."instanceId" = dead.instance_id
    WHERE dead.state = 'dead' AND dead.seq > $2 AND "#;

const LAST: &str = "SELECT coalesce(max(seq), 0) AS seq, FALSE AS disabled FROM holdfast_outbox WHERE state = 'dead'";

/// The next rows of a selection, and whether their webhook is disabled.
const SELECTED: &str = r#"
    SELECT dead.seq, live."id" IS NOT NULL AND live."enabled" IS NOT TRUE AS disabled
    FROM holdfast_outbox dead LEFT JOIN "Webhook" live ON live."instanceId" = dead.instance_id
    WHERE dead.state = 'dead' AND dead.seq > $1 AND dead.seq <= $2 AND "#;

const REDRIVE: &str = "\
    UPDATE holdfast_outbox SET state = 'pending', attempts = 0, due_ms = $1, waiting_ms = $1, dead_ms = NULL, why = NULL \
    WHERE seq IN ";

const DISCARD: &str = "DELETE FROM holdfast_outbox WHERE seq IN ";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    event_id: String,
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = Text)]
    instance_name: String,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = BigInt)]
    at_ms: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    dead_ms: Option<i64>,
    #[diesel(sql_type = Integer)]
    tries: i32,
    #[diesel(sql_type = Nullable<Text>)]
    why: Option<String>,
    #[diesel(sql_type = Text)]
    url: String,
    #[diesel(sql_type = Nullable<Text>)]
    data: Option<String>,
}

#[derive(QueryableByName)]
struct Selected {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Bool)]
    disabled: bool,
}

#[async_trait]
impl DeadLetters for Database {
    async fn dead_letters(&self, page: Page) -> Result<Vec<DeadLetter>, StoreError> {
        self.look("reading dead letters", move |conn| read(conn, &page)).await
    }

    async fn redrive(&self, selection: Selection) -> Result<Redriven, StoreError> {
        let mut done = Redriven::default();
        let mut steps = Steps::over(self, selection).await?;
        while let Some(rows) = steps.next(self, "redriving dead letters", redrive).await? {
            let left = rows.iter().filter(|row| row.disabled).count() as u64;
            done.left += left;
            done.redriven += rows.len() as u64 - left;
        }
        Ok(done)
    }

    async fn discard(&self, selection: Selection) -> Result<u64, StoreError> {
        let mut discarded = 0;
        let mut steps = Steps::over(self, selection).await?;
        while let Some(rows) = steps.next(self, "discarding dead letters", discard).await? {
            discarded += rows.len() as u64;
        }
        Ok(discarded)
    }
}

fn read(conn: &mut Conn, page: &Page) -> Result<Vec<DeadLetter>, Failure> {
    let filter = if page.instance.is_some() { "dead.instance_name = $3" } else { "$3 IS NULL" };
    let rows: Vec<Row> = diesel::sql_query(format!("{PAGE} {filter} ORDER BY dead.seq LIMIT $4"))
        .bind::<Bool, _>(page.data)
        .bind::<BigInt, _>(page.after)
        .bind::<Nullable<Text>, _>(page.instance.as_deref())
        .bind::<BigInt, _>(i64::from(page.limit))
        .load(conn)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What is left of a selection.
struct Steps {
    selection: Selection,
    after: i64,
    /// Letters that are written meanwhile were not meant.
    last: i64,
}

impl Steps {
    async fn over(store: &Database, selection: Selection) -> Result<Self, StoreError> {
        let read = |conn: &mut Conn| {
            let last: Selected = diesel::sql_query(LAST).get_result(conn)?;
            Ok(last.seq)
        };
        let last = store.read("reading dead letters", read).await?;
        Ok(Self { selection, after: 0, last })
    }

    /// Does something with the next rows, and returns them, until there are no more.
    async fn next(
        &mut self,
        store: &Database,
        doing: &'static str,
        work: fn(&mut Tx<'_>, &[Selected]) -> Result<(), Failure>,
    ) -> Result<Option<Vec<Selected>>, StoreError> {
        let (selection, after, last) = (self.selection.clone(), self.after, self.last);
        let step = move |tx: &mut Tx<'_>| {
            let rows = selected(tx.conn, &selection, after, last)?;
            work(tx, &rows)?;
            Ok(rows)
        };
        let rows = store.write(doing, Lane::ANY, step).await?;
        let Some(end) = rows.last() else { return Ok(None) };
        self.after = end.seq;
        Ok(Some(rows))
    }
}

fn selected(conn: &mut Conn, selection: &Selection, after: i64, last: i64) -> Result<Vec<Selected>, Failure> {
    let (filter, value) = match selection {
        Selection::Rows(rows) => (format!("dead.seq IN ({})", numbers("$3")), serde_json::json!(rows).to_string()),
        Selection::Instance(name) => ("dead.instance_name = $3".to_owned(), name.clone()),
        Selection::All => ("$3 = ''".to_owned(), String::new()),
    };
    Ok(diesel::sql_query(format!("{SELECTED} {filter} ORDER BY dead.seq LIMIT $4"))
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(last)
        .bind::<Text, _>(value)
        .bind::<BigInt, _>(STEP)
        .load(conn)?)
}

fn redrive(tx: &mut Tx<'_>, rows: &[Selected]) -> Result<(), Failure> {
    let wanted: Vec<i64> = rows.iter().filter(|row| !row.disabled).map(|row| row.seq).collect();
    let now_ms = tx.now_ms();
    let redriven = diesel::sql_query(format!("{REDRIVE} ({})", numbers("$2")))
        .bind::<BigInt, _>(now_ms)
        .bind::<Text, _>(serde_json::json!(wanted).to_string())
        .execute(tx.conn)?;
    // The dispatcher is woken as if they were new.
    tx.queued += redriven;
    Ok(())
}

fn discard(tx: &mut Tx<'_>, rows: &[Selected]) -> Result<(), Failure> {
    let all: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    diesel::sql_query(format!("{DISCARD} ({})", numbers("$1")))
        .bind::<Text, _>(serde_json::json!(all).to_string())
        .execute(tx.conn)?;
    Ok(())
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        Self {
            seq: row.seq,
            event_id: row.event_id,
            instance: InstanceId::new(row.instance_id),
            instance_name: row.instance_name,
            event: row.event,
            at_ms: row.at_ms,
            dead_ms: row.dead_ms.unwrap_or_default(),
            tries: u32::try_from(row.tries).unwrap_or_default(),
            why: row.why.unwrap_or_default(),
            url: row.url,
            data: row.data.map(|data| serde_json::from_str(&data).unwrap_or(Value::String(data))),
        }
    }
}
