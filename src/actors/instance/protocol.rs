//! What InstanceActor is asked and told.

use std::time::Duration;

use actix::Message;
use holdfast_core::connection::{Event, Refusal};
use holdfast_core::id::{Generation, InstanceId};

use crate::ports::link::{OutgoingText, SendError, SentMessage};

/// A command for the machine. Sent by SupervisorActor only, which has checked that it is for this generation.
///
/// Answers once the step was taken, not when the command has had its effect.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct Command(pub Event);

/// Sends a text; waits up to `wait` for the instance to be online, then for WhatsApp's acknowledgement. Sent by the HTTP API.
///
/// A message that has its id already is sent again under it if its connection is lost before the acknowledgement, within `within`.
#[derive(Debug, Message)]
#[rtype(result = "Result<SentMessage, SendError>")]
pub struct SendText {
    pub message: OutgoingText,
    pub wait: Duration,
    pub within: Duration,
}

/// Asks whether the actor still turns; it answers with [`StillHere`](crate::actors::supervisor::protocol::StillHere).
///
/// Sent by SupervisorActor. Safe to repeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct AreYouThere;

/// Asks for fresh proof of life. Sent by HealthActor when the last proof is one interval old. Safe to repeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Tells that an instance has shown life, or has none to show any more (`proof_due_in` is `None`). Sent to HealthActor.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Pong {
    pub id: InstanceId,
    pub generation: Generation,
    /// How long until its proof of life is one interval old.
    pub proof_due_in: Option<Duration>,
}
