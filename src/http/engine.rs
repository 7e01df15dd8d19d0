//! What Evolution has no route for: the outbox and its dead letters. Only the global key opens them, for they span all instances.

pub(super) mod dead_letters;
pub(super) mod outbox;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::reply;

/// Writes a Unix millisecond as every answer does.
fn date(at_ms: i64) -> Value {
    DateTime::<Utc>::from_timestamp_millis(at_ms).map_or(Value::Null, |moment| json!(reply::date(moment)))
}
