//! The queue of events on their way to sinks: durable, in order for each instance, at least once.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::InstanceId;
use serde_json::Value;
use tokio::sync::Notify;

use super::store::StoreError;

/// Where a delivery goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The URL as it was set.
    pub url: String,
    /// Extra headers, a JSON object.
    pub headers: Option<Value>,
    /// Whether the event's suffix is appended to the URL.
    pub by_events: bool,
}

/// One event that is due for one sink.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The row; a larger one is later.
    pub seq: i64,
    /// Stable through retries and restarts; receivers tell repetitions by it.
    pub event_id: String,
    /// Whose event it is.
    pub instance: InstanceId,
    /// The instance's name when the event happened.
    pub instance_name: String,
    /// The instance's token when the event happened.
    pub token: Option<String>,
    /// The number's JID, if it was known.
    pub owner_jid: Option<String>,
    /// The event.
    pub event: EngineEvent,
    /// When it happened, in Unix milliseconds.
    pub at_ms: i64,
    /// Tries before this one.
    pub attempts: u32,
    /// Where it goes: the instance's present webhook, or, when the instance is gone, the one at the time of the event.
    pub target: Target,
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It arrived; the row goes.
    Delivered,
    /// It is tried again at this Unix millisecond; nothing later of its instance goes before.
    RetryAt { at_ms: i64, why: String },
    /// It is kept aside.
    Dead { why: String },
}

/// How far the sinks are behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Rows that wait.
    pub pending: u64,
    /// When the oldest of them happened, in Unix milliseconds.
    pub oldest_ms: Option<i64>,
    /// Rows that were given up.
    pub dead: u64,
}

/// The outbox.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Queues events for those sinks of the instance that asked for them, and returns how many rows that made.
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError>;

    /// Returns, for each instance, its oldest waiting delivery if that is due at `now_ms`; at most `limit`, the longest waiting first.
    async fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Delivery>, StoreError>;

    /// Returns the Unix millisecond at which the next delivery becomes due.
    async fn next_due_at(&self) -> Result<Option<i64>, StoreError>;

    /// Records how deliveries went, by row.
    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError>;

    /// Returns how far the sinks are behind.
    async fn lag(&self) -> Result<Lag, StoreError>;

    /// Is notified after each commit that queued something.
    fn appended(&self) -> Arc<Notify>;
}
