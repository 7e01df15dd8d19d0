//! What InstanceActor is asked and told.

use std::time::Duration;

use actix::Message;
use holdfast_core::conduct::Presence;
use holdfast_core::connection::{Event, Refusal};
use holdfast_core::id::{Generation, InstanceId};
use holdfast_core::time::Timestamp;

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

/// Asks for proof that the connection lives, now. Answers when a ping was answered or has failed, at the latest after the ping's deadline;
/// who asks while one is under way, or within a second of the last, shares its result. `None` if too many wait already.
///
/// Sent by the HTTP API. Safe to repeat.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Verified>")]
pub struct Verify;

/// What a ping has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Whether it was answered.
    pub alive: bool,
    /// Its round trip.
    pub rtt: Option<Duration>,
}

/// Tells that the settings of the instance have changed in the store; answers when they hold. Sent by SupervisorActor. Safe to repeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SettingsChanged;

/// Shows that the account is there or not. Sent by the HTTP API. Safe to repeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), SendError>")]
pub struct SetPresence {
    pub presence: Presence,
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

/// Tells that an instance has shown life, or has none to show any more (both are `None`). Sent to HealthActor.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Pong {
    pub id: InstanceId,
    pub generation: Generation,
    /// When its proof of life is one interval old.
    pub ping_due: Option<Timestamp>,
    /// When its claim of being open runs out.
    pub stale: Option<Timestamp>,
}
