//! What SystemActor is asked and told.

use actix::Message;
use holdfast_core::shutdown::Phase;
use serde::Serialize;

/// Tells that the parts are up and the restore pass has begun. Sent by the composition root.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Booted;

/// Begins the shutdown, or forces it if one is under way. Sent by the signal handler.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct BeginShutdown;

/// Tells that the service cannot go on and why: it stops in an orderly way, and says that it did not want to. Sent by the composition
/// root. Safe to repeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct GiveUp {
    pub why: String,
}

/// Asks where the service is in its life. Sent by the HTTP API.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SystemStatus")]
pub struct GetSystemStatus;

/// Where the service is in its life.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemStatus {
    /// The phase.
    pub phase: Phase,
    /// Whether the restore pass has begun and no shutdown has, so that requests make sense.
    pub ready: bool,
}
