//! What Evolution has no route for: the outbox, its dead letters, and messages that did not come whole; the
//! settings in force, and the log. Only the global key opens them, for they span all instances; the board is for other nodes alone.

pub(super) mod board;
pub(super) mod config;
pub(super) mod dead_letters;
pub(super) mod fleet;
pub(super) mod log;
pub(super) mod nodes;
pub(super) mod outbox;
pub(super) mod process;
pub(super) mod restoration;
pub(super) mod unrecovered;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::reply;

/// Writes a Unix millisecond as every answer does.
fn date(at_ms: i64) -> Value {
    DateTime::<Utc>::from_timestamp_millis(at_ms).map_or(Value::Null, |moment| json!(reply::date(moment)))
}
