//! What DispatcherActor is asked and told.

use std::time::Duration;

use actix::Message;
use chrono::{DateTime, Utc};
use holdfast_core::delivery::origin::Origin;

/// Finishes the deliveries that are under way and begins no other; what waits stays in the outbox. Answers with what was cut off.
///
/// Sent by SystemActor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
pub struct Flush {
    pub within: Duration,
}

/// Asks how the sink is doing.
///
/// Sent by the HTTP interface. Changes nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SinkStatus")]
pub struct GetSinkStatus;

/// How a sink is doing. The counters begin with the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkStatus {
    pub sink: &'static str,
    pub under_way: usize,
    pub delivered: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Deliveries that became dead letters.
    pub given_up: u64,
    pub targets: Vec<TargetStatus>,
}

/// What is known of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    pub origin: Origin,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Tries in a row that have spoken against it.
    pub failures: u32,
    /// Since when nothing but probes goes there.
    pub since: Option<DateTime<Utc>>,
    /// When the next probe goes there.
    pub next_try_at: Option<DateTime<Utc>>,
    pub under_way: usize,
}
