//! Sending: wait for the link if it is on its way, then hand the message over and wait for WhatsApp's word.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::{Handler, ResponseFuture};
use holdfast_core::connection::Phase;
use holdfast_core::id::LinkId;
use holdfast_core::sending::allowance::{Allowance, Rate};
use holdfast_core::sending::tries::{Next, Outcome, Tries};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::info;

use super::InstanceActor;
use super::protocol::SendText;
use crate::ports::board::Entry;
use crate::ports::clock::Clock;
use crate::ports::link::{Link, OutgoingText, SendError, SentMessage};

impl Handler<SendText> for InstanceActor {
    type Result = ResponseFuture<Result<SentMessage, SendError>>;

    fn handle(&mut self, request: SendText, _: &mut Self::Context) -> Self::Result {
        let sending = self.sending();
        Box::pin(async move {
            match sending {
                Some(sending) => sending.send(request).await,
                None => Err(SendError::NotConnected),
            }
        })
    }
}

impl InstanceActor {
    /// Gathers what sending one message needs; `None` if the instance is off the board.
    pub(super) fn sending(&self) -> Option<Sending> {
        self.parts.board.watch(&self.id).map(|watcher| Sending {
            instance: self.id.to_string(),
            link: Arc::clone(&self.link),
            watcher,
            clock: self.parts.clock,
            rate: self.parts.policy.send_rate,
            allowance: Arc::clone(&self.allowance),
        })
    }
}

/// What sending one message needs; it goes on without the actor.
pub(super) struct Sending {
    instance: String,
    link: Arc<dyn Link>,
    watcher: watch::Receiver<Entry>,
    clock: Clock,
    rate: Option<Rate>,
    allowance: Arc<Mutex<Allowance>>,
}

impl Sending {
    pub(super) async fn send(self, request: SendText) -> Result<SentMessage, SendError> {
        let SendText { mut message, wait, within } = request;
        let deadline = self.clock.now().after(within);
        let mut link = self.online(wait, None).await?;
        self.take()?;
        let left = || self.clock.now().until(deadline);
        let mut tries = Tries::new(message.id.is_some());
        let mut outcome = self.attempt(link, &message, left()).await;
        loop {
            match (tries.after(kind(&outcome), left()), &message.id) {
                (Next::Answer, _) | (Next::Unconfirmed, None) => return outcome,
                (Next::Unconfirmed, Some(id)) => return Err(SendError::Unconfirmed { id: id.clone() }),
                (Next::Again, _) => {}
            }
            outcome = match self.online(left(), Some(link)).await {
                Ok(next) => {
                    info!(instance.id = %self.instance, "A message was not acknowledged before its connection ended; it is sent again");
                    link = next;
                    message.delay = Duration::ZERO;
                    self.attempt(link, &message, left()).await
                }
                Err(error) => Err(error),
            };
        }
    }

    /// One try. If the message can be sent again it goes on when the time is over, but nobody waits for it any more.
    async fn attempt(&self, link: LinkId, message: &OutgoingText, left: Duration) -> Result<SentMessage, SendError> {
        let sending = self.link.send_text(link, message.clone());
        let Some(id) = message.id.clone() else { return sending.await };
        timeout(left, sending).await.unwrap_or(Err(SendError::Unconfirmed { id }))
    }

    /// Uses up one message of what the instance may send.
    fn take(&self) -> Result<(), SendError> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        *allowance =
            allowance.take(rate, self.clock.now()).map_err(|retry_after| SendError::Limited { retry_after })?;
        Ok(())
    }

    /// Waits until the instance is online, on another link than `tried`, or until there is no hope that it soon will be.
    async fn online(&self, wait: Duration, tried: Option<LinkId>) -> Result<LinkId, SendError> {
        let clock = self.clock;
        let phase = |entry: &Entry| entry.status.phase_at(clock.now());
        let link = |entry: &Entry| LinkId(entry.status.link);
        let mut watcher = self.watcher.clone();
        let settled = watcher.wait_for(|entry| match phase(entry) {
            Phase::Online => Some(link(entry)) != tried,
            Phase::Unpaired | Phase::Parked | Phase::Draining | Phase::Stopped | Phase::Pairing => true,
            Phase::Waiting | Phase::Connecting | Phase::Syncing | Phase::Suspect | Phase::BackingOff => false,
        });
        match timeout(wait, settled).await {
            Ok(Ok(entry)) if phase(&entry) == Phase::Online => Ok(link(&entry)),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(SendError::NotConnected),
        }
    }
}

/// Tells what is known of a message after a try.
fn kind(outcome: &Result<SentMessage, SendError>) -> Outcome {
    match outcome {
        Ok(_) | Err(SendError::Refused { .. } | SendError::NotOnWhatsApp { .. } | SendError::Invalid(_)) => {
            Outcome::Answered
        }
        Err(SendError::NotConnected | SendError::Failed(_) | SendError::Limited { .. }) => Outcome::NotSent,
        Err(SendError::Unconfirmed { .. }) => Outcome::Unknown,
    }
}
