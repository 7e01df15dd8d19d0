//! Where events go.

use async_trait::async_trait;
use holdfast_core::delivery::Outcome;

use super::outbox::Delivery;

/// Hands one event at a time to one kind of receiver.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns the name that logs and metrics use.
    fn name(&self) -> &'static str;

    /// Tries once to deliver, in bounded time.
    async fn deliver(&self, delivery: &Delivery) -> Outcome;
}
