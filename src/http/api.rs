//! What the handlers work with.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{MailboxError, Message, Recipient};
use holdfast_core::id::InstanceId;
use holdfast_core::shutdown::Phase;
use holdfast_core::status::InstanceStatus;
use tokio::runtime::Handle;
use tracing::error;

use super::error::ApiError;
use super::idempotency::KeysInUse;
use super::nodes::Neighbours;
use super::settings::HttpSettings;
use crate::actors::dispatcher::protocol::{GetSinkStatus, SinkStatus};
use crate::actors::supervisor::protocol::{
    ApplySettings, CommandError, ConnectInstance, DeleteInstance, LogOutInstance, RerouteInstance, RestartInstance,
    StartInstance, WhereIs,
};
use crate::actors::system::protocol::{GetSystemStatus, SystemStatus};
use crate::ports::board::Board;
use crate::ports::clock::Clock;
use crate::ports::copying::Copying;
use crate::ports::leases::Leases;
use crate::ports::meter::Meter;
use crate::ports::proxies::Proxies;
use crate::ports::restoration::Restoration;
use crate::ports::restore::Restore;
use crate::ports::store::Store;

/// How long the system actor may take to say where the service is in its life.
const STATUS_WITHIN: Duration = Duration::from_secs(2);

/// The ways to the actors, the store and the board; cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub start: Recipient<StartInstance>,
    pub connect: Recipient<ConnectInstance>,
    pub restart: Recipient<RestartInstance>,
    pub reroute: Recipient<RerouteInstance>,
    pub log_out: Recipient<LogOutInstance>,
    pub delete: Recipient<DeleteInstance>,
    pub where_is: Recipient<WhereIs>,
    pub apply_settings: Recipient<ApplySettings>,
    pub system: Recipient<GetSystemStatus>,
    pub sink: Recipient<GetSinkStatus>,
    pub store: Arc<dyn Store>,
    pub leases: Arc<dyn Leases>,
    pub neighbours: Neighbours,
    pub restore: Arc<dyn Restore>,
    /// How the instances came back.
    pub restoration: Arc<Restoration>,
    /// Those who keep copies of the sessions.
    pub copying: Vec<Arc<dyn Copying>>,
    pub proxies: Arc<dyn Proxies>,
    pub board: Arc<Board>,
    pub meter: Arc<dyn Meter>,
    pub clock: Clock,
    pub keys: Arc<KeysInUse>,
    /// The shared runtime, for what it says about itself.
    pub runtime: Handle,
    pub settings: Arc<HttpSettings>,
}

impl Api {
    /// Returns where the service is in its life, `None` if the system actor does not say.
    pub(super) async fn system_status(&self) -> Option<SystemStatus> {
        self.system.send(GetSystemStatus).timeout(STATUS_WITHIN).await.ok()
    }

    /// Returns how the sink is doing, `None` if the dispatcher does not say.
    pub(super) async fn sink_status(&self) -> Option<SinkStatus> {
        self.sink.send(GetSinkStatus).timeout(STATUS_WITHIN).await.ok()
    }

    /// Fails while the service starts or stops: an answer about instances would then be wrong, or what it promises not kept.
    pub(super) async fn require_running(&self) -> Result<(), ApiError> {
        match self.system_status().await {
            Some(status) if status.phase > Phase::Running => Err(ApiError::stopping()),
            Some(status) if status.ready => Ok(()),
            Some(_) | None => Err(ApiError::starting()),
        }
    }

    /// Says that an instance is not here. One that is on its way back is no reason to create it anew.
    pub(super) fn unknown(&self, name: &str) -> ApiError {
        if self.restoration.awaits(name) { ApiError::returning() } else { ApiError::unknown_instance(name) }
    }

    /// Reads the status that hangs on the board.
    pub(super) fn status(&self, id: &InstanceId) -> Option<InstanceStatus> {
        self.board.get(id).map(|entry| entry.status)
    }
}

/// Asks an actor, and gives up after `within`. Both a full mailbox and a slow answer end in [`CommandError::Overloaded`].
pub(super) async fn ask<M, T>(to: &Recipient<M>, message: M, within: Duration) -> Result<T, CommandError>
where
    M: Message<Result = Result<T, CommandError>> + Send + 'static,
    T: Send + 'static,
{
    match to.send(message).timeout(within).await {
        Ok(answer) => answer,
        Err(MailboxError::Timeout) => Err(CommandError::Overloaded),
        // The supervisor lives as long as the service.
        Err(MailboxError::Closed) => Err(CommandError::Stopping),
    }
}

/// Runs work to its end even if the client goes away meanwhile: half of a creation or deletion would be worse than either.
pub(super) async fn to_the_end<T: 'static>(
    work: impl Future<Output = Result<T, ApiError>> + 'static,
) -> Result<T, ApiError> {
    match actix_web::rt::spawn(work).await {
        Ok(result) => result,
        Err(cause) => {
            error!(%cause, "A request did not come to its end");
            Err(ApiError::internal())
        }
    }
}
