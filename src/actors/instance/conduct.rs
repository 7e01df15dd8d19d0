//! What an instance does by its settings: they are told to its link, and texts that they ask for are sent.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Handler, ResponseFuture};
use holdfast_core::id::LinkId;
use tracing::{info, warn};

use super::InstanceActor;
use super::protocol::{SendText, SetPresence, SettingsChanged};
use crate::ports::link::{OutgoingText, SendError};

/// Replies that may be under way; who calls while so many are gets none.
pub(super) const REPLIES: usize = 16;
/// How long a reply waits for the instance to be online.
const WAIT: Duration = Duration::from_secs(10);
/// How long it may take in all.
const WITHIN: Duration = Duration::from_secs(60);

impl Handler<SettingsChanged> for InstanceActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: SettingsChanged, _: &mut Self::Context) -> Self::Result {
        let link = Arc::clone(&self.link);
        Box::pin(async move { link.settings_changed().await })
    }
}

impl Handler<SetPresence> for InstanceActor {
    type Result = ResponseFuture<Result<(), SendError>>;

    fn handle(&mut self, SetPresence { presence }: SetPresence, _: &mut Self::Context) -> Self::Result {
        let (link, id) = (Arc::clone(&self.link), self.machine.link());
        Box::pin(async move { link.show(id.ok_or(SendError::NotConnected)?, presence).await })
    }
}

impl InstanceActor {
    /// Sends a text that the settings ask for, at the instance's rate. It is sent once; what becomes of it is logged.
    pub(super) fn reply(&self, link: LinkId, to: String, text: String) {
        let instance = self.id.clone();
        let permit = Arc::clone(&self.replies).try_acquire_owned();
        let (Some(sending), Ok(permit)) = (self.sending(), permit) else {
            warn!(instance.id = %instance, link = link.0, "A caller gets no text: too many wait for one");
            return;
        };
        let message = OutgoingText {
            id: None,
            number: to,
            text,
            delay: Duration::ZERO,
            link_preview: false,
            mentioned: Vec::new(),
            quoted: None,
        };
        self.parts.runtime.spawn(async move {
            match sending.send(SendText { message, wait: WAIT, within: WITHIN }).await {
                Ok(_) => info!(instance.id = %instance, "A caller was sent a text"),
                Err(error) => warn!(instance.id = %instance, "A caller gets no text: {error}"),
            }
            drop(permit);
        });
    }
}
