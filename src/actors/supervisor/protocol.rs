//! What SupervisorActor is asked and told.

use actix::Message;
use actix::prelude::Recipient;
use holdfast_core::connection::{Desired, Method, Refusal};
use holdfast_core::fleet::Standing;
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::supervision::ExitReason;
use holdfast_core::time::Timestamp;

use crate::actors::instance::protocol::{SendText, SetPresence, Verify};
use crate::actors::leases::protocol::Closed;
use crate::ports::store::InstanceRecord;

/// Why a command for an instance was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The roster does not have it.
    #[error("there is no such instance")]
    Unknown,
    /// Its machine refuses.
    #[error("the instance refuses the command")]
    Refused(Refusal),
    /// Too many commands wait already, or the actor does not answer in its time; worth another try.
    #[error("the instance is overloaded")]
    Overloaded,
    /// What is stored of it cannot be read, so that it cannot be started.
    #[error("the database does not answer")]
    StoreUnavailable,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// Puts an instance on the roster and starts its actor; does nothing if it is there already.
///
/// Sent by the HTTP API after the row was inserted, and by the boot for every stored instance. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct StartInstance {
    /// The row.
    pub record: InstanceRecord,
}

/// Connects an instance, pairing by `method` if it has no credentials. Sent by the HTTP API. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct ConnectInstance {
    pub id: InstanceId,
    pub method: Method,
}

/// Replaces the connection of an instance, whatever it is doing. Sent by the HTTP API. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct RestartInstance {
    pub id: InstanceId,
}

/// Tells that the proxy of an instance has been changed: a connection that goes by another way is replaced. Sent by the HTTP API after
/// the row was written. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct RerouteInstance {
    pub id: InstanceId,
}

/// Unlinks an instance and archives its credentials; answers when that is done. Sent by the HTTP API.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct LogOutInstance {
    pub id: InstanceId,
}

/// Unlinks an instance if it is connected, ends its actor and takes it off the roster; answers when its socket is gone. Nothing connects
/// it from then on.
///
/// The rows are still there afterwards: the HTTP API removes them next. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<OffTheRoster, CommandError>")]
pub struct DeleteInstance {
    pub id: InstanceId,
}

/// What became of an instance that is off the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffTheRoster {
    /// Whether the phone may still list its device: it was paired, and WhatsApp has not confirmed that it is not any more.
    pub listed: bool,
}

/// Deletes an instance with its rows, unless somebody is pairing it or it was ever paired. Nothing connects it meanwhile, and if it is
/// refused or fails, the instance is where it was before. Sent by ExpiryActor. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct ExpireInstance {
    pub id: InstanceId,
}

/// Tells that the settings of an instance have changed in the store; answers when they hold on what runs of it. Sent by the HTTP API.
///
/// One that does not run reads them when it dials. Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct ApplySettings {
    pub id: InstanceId,
}

/// Asks for the way to an instance's actor. Keep it for one request only: it outlives its generation.
#[derive(Debug, Message)]
#[rtype(result = "Result<InstancePorts, CommandError>")]
pub struct WhereIs {
    pub id: InstanceId,
}

/// The way to an instance's actor.
#[derive(Debug, Clone)]
pub struct InstancePorts {
    /// Takes messages to send.
    pub send_text: Recipient<SendText>,
    /// Takes the wish for proof of life.
    pub verify: Recipient<Verify>,
    /// Shows whether the account is there.
    pub set_presence: Recipient<SetPresence>,
}

/// Tells that a child's actor is gone. Sent by its ExitGuard, during a panic too.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ChildExited {
    pub id: InstanceId,
    pub generation: Generation,
    pub reason: ExitReason,
    /// The newest link it dialled, so that the next actor counts on from there.
    pub last_link: LinkId,
    /// What the operator wants; perhaps not stored yet.
    pub desired: Desired,
    /// Whether what it held was saved and closed as it should.
    pub clean: bool,
    /// Whether the phone may still list its device.
    pub listed: bool,
}

/// Tells how an instance stands towards the dials of the fleet, and what a new actor would go on from. Sent by InstanceActor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stands {
    pub id: InstanceId,
    pub generation: Generation,
    pub standing: Standing,
    /// The newest link that it dialled or asked for.
    pub last_link: LinkId,
    pub desired: Desired,
}

/// Answers [`AreYouThere`](crate::actors::instance::protocol::AreYouThere). Sent by InstanceActor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StillHere {
    pub id: InstanceId,
    pub generation: Generation,
}

/// The ways from a child to its supervisor.
#[derive(Debug, Clone)]
pub struct Upward {
    pub exited: Recipient<ChildExited>,
    pub stands: Recipient<Stands>,
    pub here: Recipient<StillHere>,
}

/// Stops every instance: each saves, then closes. Answers with the names of those that had to be forced. Sent by SystemActor.
#[derive(Debug, Message)]
#[rtype(result = "Vec<String>")]
pub struct DrainAll {
    pub within: std::time::Duration,
    /// Hears of each instance whose connection is closed for good, as soon as it is.
    pub closed: Option<Recipient<Closed>>,
}

/// Seals the links of all instances: the leases have ended. Answers when nothing leaves them any more. Sent by LeaseActor. Safe to
/// repeat.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SealAll;

/// Tells what this node owned when it was asked at `asked_at`. What else is on the roster ends; answers with what is missing there.
///
/// Sent by LeaseActor after each renewal. Safe to repeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<InstanceId>")]
pub struct Own {
    pub asked_at: Timestamp,
    pub ids: Vec<InstanceId>,
}

/// Puts an instance on the roster that this node owned when it was asked at `asked_at`, unless it has left since. Sent by LeaseActor.
/// Safe to repeat.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TakeIn {
    pub record: InstanceRecord,
    pub asked_at: Timestamp,
}

/// Ends up to so many instances, as in a shutdown, for another node; answers with those that are closed and off the roster. They are not
/// put on again before [`LetGone`]. Sent by LeaseActor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<InstanceId>")]
pub struct HandOver {
    pub most: u32,
}

/// Tells that instances which were ended for another node are let go, or could not be: what the leases say from now on counts. Sent by
/// LeaseActor.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct LetGone {
    pub ids: Vec<InstanceId>,
}
