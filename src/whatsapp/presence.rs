//! What an account shows of itself: that it is there, or that it is not.
//!
//! The library says "available" by itself at each login of an account that has a name, and when the name changes. There is no switch for
//! it, so what is wanted is said after that.

use std::time::Duration;

use holdfast_core::conduct::Presence;
use holdfast_core::id::InstanceId;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;
use tracing::debug;
use whatsapp_rust::{Client, NodeBuilder, PresenceStatus};

use crate::ports::link::SendError;

/// How long a word may take to leave.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// What one account shows.
pub(super) struct Shown {
    instance: InstanceId,
    /// What was said last. Whoever says something holds it, so that the newest wish is also the last one to leave.
    said: AsyncMutex<Option<Presence>>,
}

impl Shown {
    pub(super) fn new(instance: InstanceId) -> Self {
        Self { instance, said: AsyncMutex::default() }
    }

    /// Says what is wanted when its turn comes, unless that was said last; `anew` says it in any case.
    pub(super) async fn show(&self, client: &Client, wanted: impl FnOnce() -> Presence, anew: bool) {
        let mut said = self.said.lock().await;
        let wanted = wanted();
        if *said == Some(wanted) && !anew {
            return;
        }
        *said = None;
        match say(client, wanted).await {
            Ok(()) => *said = Some(wanted),
            // The next connection says it again.
            Err(error) => debug!(instance.id = %self.instance, "{:?} could not be shown: {error}", wanted),
        }
    }

    /// Says what somebody asks for.
    pub(super) async fn show_as(&self, client: &Client, presence: Presence) -> Result<(), SendError> {
        let mut said = self.said.lock().await;
        *said = None;
        say(client, presence).await?;
        *said = Some(presence);
        Ok(())
    }
}

async fn say(client: &Client, presence: Presence) -> Result<(), SendError> {
    let saying = async {
        if client.push_name().is_empty() {
            // The library says nothing for an account without a name; the server does not need one.
            let node = NodeBuilder::new("presence").attr("type", presence.as_str()).build();
            return client.send_node(node).await.map_err(|error| error.to_string());
        }
        let status = match presence {
            Presence::Available => PresenceStatus::Available,
            Presence::Unavailable => PresenceStatus::Unavailable,
        };
        client.presence().set(status).await.map_err(|error| error.to_string())
    };
    match timeout(SAID_WITHIN, saying).await {
        Ok(said) => said.map_err(SendError::Failed),
        Err(_) => Err(SendError::Failed("it did not leave in its time".to_owned())),
    }
}
