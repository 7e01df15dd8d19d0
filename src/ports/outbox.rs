//! The queue of events on their way to sinks: durable, in order for each instance, at least once.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_core::delivery::lanes::Head;
use holdfast_core::delivery::origin::Origin;
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
    /// Extra headers, a JSON object. Anything else, such as the `null` of headers that could not be read, cannot be sent.
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
    /// Since when it waits: since it happened, or since it was taken back from the dead letters.
    pub waiting_ms: i64,
    /// Tries before this one.
    pub tries: u32,
    /// Those of them that count against the policy's limit.
    pub attempts: u32,
    /// Where it goes: the instance's present webhook, or, when the instance is gone, the one at the time of the event.
    pub target: Target,
}

/// The oldest waiting row of an instance, read.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// Nothing waits, or not yet.
    Nothing,
    /// It can be tried.
    Ready(Box<Delivery>),
    /// The row cannot be understood.
    Unreadable { seq: i64, why: String },
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It arrived; the row goes.
    Delivered,
    /// It is tried again at this Unix millisecond; nothing later of its instance goes before. `counts` tells whether the try counts
    /// against the policy's limit.
    RetryAt { at_ms: i64, counts: bool, why: String },
    /// It is kept aside, and with it whatever else of its instance has been waiting since before `and_before_ms`.
    Dead { counts: bool, and_before_ms: Option<i64>, why: String },
    /// It was never tried, because it cannot be read; it is kept aside.
    Unreadable { why: String },
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

/// How far the sinks are behind with one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceLag {
    pub instance: InstanceId,
    pub name: String,
    /// Where its deliveries go.
    pub origin: Origin,
    pub lag: Lag,
}

/// The outbox.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Queues events for those sinks of the instance that asked for them, and returns how many rows that made.
    ///
    /// # Errors
    /// [`StoreError::FencedOff`] if another node owns the instance.
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError>;

    /// Returns the oldest waiting row of each instance, due or not, without its payload: of the instances that this node owns, and of those
    /// that are gone and whose last events it has to deliver.
    async fn heads(&self) -> Result<Vec<Head>, StoreError>;

    /// Reads the oldest waiting row of an instance, if it is due at `now_ms`.
    async fn next(&self, id: &InstanceId, now_ms: i64) -> Result<Loaded, StoreError>;

    /// Records how deliveries went, by row. Of what `and_before_ms` takes along at most a thousand rows go at once.
    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError>;

    /// Returns how far the sinks are behind.
    async fn lag(&self) -> Result<Lag, StoreError>;

    /// Returns how far they are behind with each instance for which something waits or was given up, by name.
    async fn lags(&self) -> Result<Vec<InstanceLag>, StoreError>;

    /// Is notified after each commit that queued something.
    fn appended(&self) -> Arc<Notify>;
}
