//! The library's durability hook: a message is acknowledged only after it, its id and its events are on disk together.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use whatsapp_rust::types::durability_hook::InboundMessage;
use whatsapp_rust::{Client, InboundDurabilityHook};

use super::backend::Backend;
use super::backlog::Backlog;
use super::manners::Manners;
use super::{message, reading};
use crate::failpoint::reach;

/// Hands received messages over to the store.
pub(super) struct Handover {
    backend: Arc<Backend>,
    backlog: Arc<Backlog>,
    manners: Arc<Manners>,
    instance: InstanceId,
}

impl Handover {
    pub(super) fn new(
        backend: Arc<Backend>,
        backlog: Arc<Backlog>,
        manners: Arc<Manners>,
        instance: InstanceId,
    ) -> Self {
        Self { backend, backlog, manners, instance }
    }
}

#[async_trait]
impl InboundDurabilityHook for Handover {
    // The client is not called here: the library holds locks that a call could wait for.
    async fn on_messages(&self, _client: Arc<Client>, batch: &[InboundMessage]) -> Result<()> {
        reach!("hand-over.before");
        let conduct = self.manners.conduct();
        let event_of = |received| message::accepted(received, self.instance.as_str(), &conduct);
        let accepted: Vec<_> = batch.iter().map(event_of).collect();
        let reads = reading::to_read(batch.iter().zip(&accepted), &conduct);
        let handed_over = self.backend.hand_over(accepted).await;
        self.backlog.settled(batch.iter().map(|received| received.info.id.as_str()));
        handed_over?;
        reach!("hand-over.after");
        // Not before: what a crash forgets has not been read.
        self.manners.read(reads);
        Ok(())
    }
}
