//! Sending: wait for the link if it is on its way, then hand the message over and wait for WhatsApp's word.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Handler, ResponseFuture};
use holdfast_core::connection::Phase;
use holdfast_core::id::LinkId;
use tokio::sync::watch;
use tokio::time::timeout;

use super::InstanceActor;
use super::protocol::SendText;
use crate::ports::board::Entry;
use crate::ports::link::{SendError, SentMessage};

impl Handler<SendText> for InstanceActor {
    type Result = ResponseFuture<Result<SentMessage, SendError>>;

    fn handle(&mut self, request: SendText, _: &mut Self::Context) -> Self::Result {
        let link = Arc::clone(&self.link);
        let watcher = self.parts.board.watch(&self.id);
        let clock = self.parts.clock;
        Box::pin(async move {
            let watcher = watcher.ok_or(SendError::NotConnected)?;
            let online = online(watcher, request.wait, |entry| entry.status.phase_at(clock.now())).await?;
            link.send_text(online, request.message).await
        })
    }
}

/// Waits until the instance is online, or until there is no hope that it soon will be.
async fn online(
    mut watcher: watch::Receiver<Entry>,
    wait: Duration,
    phase: impl Fn(&Entry) -> Phase,
) -> Result<LinkId, SendError> {
    let settled = watcher.wait_for(|entry| match phase(entry) {
        Phase::Online | Phase::Unpaired | Phase::Parked | Phase::Draining | Phase::Stopped | Phase::Pairing => true,
        Phase::Waiting | Phase::Connecting | Phase::Syncing | Phase::Suspect | Phase::BackingOff => false,
    });
    match timeout(wait, settled).await {
        Ok(Ok(entry)) if phase(&entry) == Phase::Online => Ok(LinkId(entry.status.link)),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(SendError::NotConnected),
    }
}
