//! A webhook for which nothing can be queued.

use std::sync::atomic::Ordering;

use holdfast_core::event::EngineEvent;

use super::MemoryStore;
use crate::ports::store::StoreError;

impl MemoryStore {
    /// Errs as a store does whose row of the webhook is damaged, if a test wants it so.
    pub(super) fn can_queue(&self, events: &[EngineEvent]) -> Result<(), StoreError> {
        if self.webhook_is_damaged.load(Ordering::Relaxed) && !events.is_empty() {
            return Err(StoreError::Corrupt { what: "a webhook".to_owned(), cause: "planned".into() });
        }
        Ok(())
    }
}
