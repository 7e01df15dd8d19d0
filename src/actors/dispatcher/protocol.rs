//! What DispatcherActor is asked and told.

use std::time::Duration;

use actix::Message;

/// Finishes the deliveries that are under way and begins no other; what waits stays in the outbox. Answers with what was cut off.
///
/// Sent by SystemActor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
pub struct Flush {
    pub within: Duration,
}
