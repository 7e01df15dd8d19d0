//! What was given up: kept for a while, to be looked at, delivered after all, or thrown away.

use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use serde_json::Value;

use super::store::StoreError;

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The row; a larger one is later.
    pub seq: i64,
    pub event_id: String,
    pub instance: InstanceId,
    /// The instance's name when the event happened.
    pub instance_name: String,
    /// The event's name, which may be one that nobody knows.
    pub event: String,
    /// When it happened, in Unix milliseconds.
    pub at_ms: i64,
    /// When it was given up.
    pub dead_ms: i64,
    pub tries: u32,
    pub why: String,
    /// Where it would go now, as it was set: not for everybody's eyes.
    pub url: String,
    /// The payload, if it was asked for; what is no JSON is a text.
    pub data: Option<Value>,
}

/// Which dead letters are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Only those of instances with this name, also of ones that are gone.
    pub instance: Option<String>,
    /// Only those behind this row.
    pub after: i64,
    /// At most so many, the oldest first.
    pub limit: u32,
    /// Whether with their payload.
    pub data: bool,
}

/// Which dead letters something is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These rows.
    Rows(Vec<i64>),
    /// Those of instances with this name.
    Instance(String),
    /// All that are there now.
    All,
}

/// What a redrive did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Letters that wait to be delivered again.
    pub redriven: u64,
    /// Letters that stay, because the webhook of their instance is disabled.
    pub left: u64,
}

/// The dead letters.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Reads a page of them.
    async fn dead_letters(&self, page: Page) -> Result<Vec<DeadLetter>, StoreError>;

    /// Puts some back into the queue as if they had never been tried, in their old places and under their old event ids.
    async fn redrive(&self, selection: Selection) -> Result<Redriven, StoreError>;

    /// Throws some away, and returns how many.
    async fn discard(&self, selection: Selection) -> Result<u64, StoreError>;
}
