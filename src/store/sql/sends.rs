//! Requests to send that carry an idempotency key.

use async_trait::async_trait;
use diesel::prelude::*;
use holdfast_core::id::InstanceId;
use holdfast_core::sending::key::Key;

use super::instances::require;
use super::{Database, Lane, Tx};
use crate::ports::sends::{KeptAnswer, KeptSend, NewSend, Sends};
use crate::ports::store::StoreError;
use crate::store::failure::{Failure, unreadable};
use crate::store::schema::holdfast_send;

#[derive(Queryable, Selectable)]
#[diesel(table_name = holdfast_send)]
struct Row {
    fingerprint: Vec<u8>,
    message_id: String,
    may_have_left: bool,
    status: Option<i32>,
    answer: Option<String>,
}

#[async_trait]
impl Sends for Database {
    async fn begin_send(&self, id: &InstanceId, key: &Key, new: NewSend) -> Result<KeptSend, StoreError> {
        let (id, key) = (id.clone(), key.clone());
        self.write("keeping a request to send", Lane::of(&id), move |tx| begin(tx, &id, &key, &new)).await
    }

    async fn finish_send(&self, id: &InstanceId, key: &Key, answer: KeptAnswer) -> Result<(), StoreError> {
        let (lane, id, key) = (Lane::of(id), id.clone(), key.clone());
        let finish = move |tx: &mut Tx<'_>| {
            let open = holdfast_send::table.find((id.as_str(), key.as_str())).filter(holdfast_send::status.is_null());
            let row =
                (holdfast_send::status.eq(i32::from(answer.status)), holdfast_send::answer.eq(answer.body.to_string()));
            diesel::update(open).set(row).execute(tx.conn)?;
            Ok(())
        };
        self.write("keeping the answer to a request to send", lane, finish).await
    }

    async fn unsent(&self, id: &InstanceId, key: &Key) -> Result<(), StoreError> {
        let (lane, id, key) = (Lane::of(id), id.clone(), key.clone());
        let note = move |tx: &mut Tx<'_>| {
            let kept = holdfast_send::table.find((id.as_str(), key.as_str()));
            diesel::update(kept).set(holdfast_send::may_have_left.eq(false)).execute(tx.conn)?;
            Ok(())
        };
        self.write("noting that a message has not left", lane, note).await
    }
}

fn begin(tx: &mut Tx<'_>, id: &InstanceId, key: &Key, new: &NewSend) -> Result<KeptSend, Failure> {
    require(tx.conn, id)?;
    let row = (
        holdfast_send::instance_id.eq(id.as_str()),
        holdfast_send::key.eq(key.as_str()),
        holdfast_send::fingerprint.eq(&new.fingerprint),
        holdfast_send::message_id.eq(&new.message_id),
        holdfast_send::created_at.eq(tx.now_ms()),
    );
    let is_new = diesel::insert_into(holdfast_send::table).values(row).on_conflict_do_nothing().execute(tx.conn)? > 0;
    let kept = holdfast_send::table.find((id.as_str(), key.as_str()));
    let row: Row = kept.select(Row::as_select()).first(tx.conn)?;
    if row.status.is_none() && !row.may_have_left {
        diesel::update(kept).set(holdfast_send::may_have_left.eq(true)).execute(tx.conn)?;
    }
    let what = || format!("the answer to a request to send of instance {id}");
    let answer = match (row.status, row.answer) {
        (None, _) => None,
        (Some(status), text) => Some(KeptAnswer {
            status: u16::try_from(status).map_err(|error| unreadable(what(), error))?,
            body: serde_json::from_str(&text.unwrap_or_default()).map_err(|error| unreadable(what(), error))?,
        }),
    };
    let first = NewSend { fingerprint: row.fingerprint, message_id: row.message_id };
    Ok(KeptSend { first, is_new, may_have_left: !is_new && row.may_have_left, answer })
}
