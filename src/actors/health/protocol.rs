//! What HealthActor is asked and told; instances report to it with [`Pong`](crate::actors::instance::protocol::Pong).

use actix::Message;
use actix::prelude::Recipient;
use holdfast_core::id::{Generation, InstanceId};

use crate::actors::instance::Scribe;
use crate::actors::instance::protocol::Ping;

/// Begins to watch an instance. Sent by SupervisorActor when it starts a child; replaces an older generation.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Watch {
    pub id: InstanceId,
    pub generation: Generation,
    pub ping: Recipient<Ping>,
    /// Its name in events.
    pub name: String,
    /// Writes its row and events when it does not turn.
    pub scribe: Scribe,
}

/// Ends the watch over one generation of an instance. Sent by SupervisorActor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unwatch {
    pub id: InstanceId,
    pub generation: Generation,
}
