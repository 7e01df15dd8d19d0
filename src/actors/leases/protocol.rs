//! What LeaseActor is asked and told.

use std::time::Duration;

use actix::Message;
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;

/// Tells that this node's leases were renewed for the first time, asked for at `asked_at`: from now on they are kept.
///
/// Sent by the composition root, once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Keep {
    pub asked_at: Timestamp,
}

/// Tells that the roster holds what this node owns: from now on it follows the leases. Sent by the composition root, once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Manned;

/// Says that the service is stopping: nothing more is taken, and the other nodes are told. Sent by SystemActor. Safe to repeat.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Retire;

/// Tells that the connections of these instances are closed for good: another node may have them. Sent by SupervisorActor while draining.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Closed {
    pub ids: Vec<InstanceId>,
}

/// Lets go of what is closed, and leaves the fleet. Answers within the time, whatever the database does. Sent by SystemActor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Leave {
    pub within: Duration,
}
