//! Requests to send that carry an idempotency key: what each was answered, and under which id its message goes.

use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use holdfast_core::sending::key::Key;
use serde_json::Value;

use super::store::StoreError;

/// What a request with a new key is kept with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSend {
    /// Tells requests apart; the same for the same request.
    pub fingerprint: Vec<u8>,
    /// The id under which the message goes, however often it is sent.
    pub message_id: String,
}

/// What is kept of a request with a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptSend {
    /// What the first request was kept with.
    pub first: NewSend,
    /// Whether it was kept just now.
    pub is_new: bool,
    /// Whether the message may have left in an earlier request.
    pub may_have_left: bool,
    /// The answer, once it is final.
    pub answer: Option<KeptAnswer>,
}

/// An answer that is given again.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// The requests with keys.
#[async_trait]
pub trait Sends: Send + Sync {
    /// Returns what is kept under a key of the instance; if nothing is, keeps `new`. From here on the message may have left. Durable when
    /// it returns: whatever leaves afterwards has an id that a crash does not forget.
    ///
    /// # Errors
    /// [`StoreError::NoSuchInstance`] if there is no such instance.
    async fn begin_send(&self, id: &InstanceId, key: &Key, new: NewSend) -> Result<KeptSend, StoreError>;

    /// Keeps the final answer. Does nothing if the key is not known any more, or has an answer.
    async fn finish_send(&self, id: &InstanceId, key: &Key, answer: KeptAnswer) -> Result<(), StoreError>;

    /// Notes that the message has not left, in no request so far.
    async fn unsent(&self, id: &InstanceId, key: &Key) -> Result<(), StoreError>;
}
