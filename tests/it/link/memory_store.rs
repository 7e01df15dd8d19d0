//! A store in memory whose sessions can be made to fail, hang or lose what they hold.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use holdfast::ports::outbox::{Delivery, Lag, Outbox, Settlement};
use holdfast::ports::sends::{KeptAnswer, KeptSend, NewSend, Sends};
use holdfast::ports::session::{Claim, Clear, MessageKey, SessionBatch, Sessions};
use holdfast::ports::store::{
    InstancePatch, InstanceRecord, Instances, NewInstance, Store, StoreError, WebhookRow, WebhookSpec,
};
use holdfast_core::connection::Desired;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::sending::key::Key;
use tokio::sync::Notify;

/// What goes wrong at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    Reads,
    Writes,
    Everything,
    Hang,
    /// The next read of this category cannot be understood.
    Corrupt(&'static str),
    /// Writes of this category fail.
    WritesOf(&'static str),
    /// Messages cannot be handed over.
    Handover,
}

/// A value, and until when it is kept.
type Row = (Vec<u8>, Option<i64>);

#[derive(Default)]
struct State {
    device: Option<Vec<u8>>,
    paired: bool,
    rows: BTreeMap<(&'static str, String), Row>,
    accepted: HashSet<MessageKey>,
    events: Vec<EngineEvent>,
    epoch: u64,
    revision: u64,
    fault: Fault,
    /// Whether a ratchet was stored after the last message that waits to be handed over.
    ratchet_stored: bool,
}

/// One session, and nothing else.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn break_with(&self, fault: Fault) {
        self.with(|state| state.fault = fault);
    }

    pub(crate) fn heal(&self) {
        self.break_with(Fault::None);
    }

    /// Takes the session over, as another node would.
    pub(crate) fn steal(&self) {
        self.with(|state| {
            state.epoch += 1;
            state.revision += 1;
        });
    }

    pub(crate) fn is_paired(&self) -> bool {
        self.with(|state| state.paired && state.device.is_some())
    }

    pub(crate) fn has_device(&self) -> bool {
        self.with(|state| state.device.is_some())
    }

    pub(crate) fn drop_device(&self) {
        self.with(|state| state.device = None);
    }

    pub(crate) fn accepted(&self) -> Vec<MessageKey> {
        self.with(|state| state.accepted.iter().cloned().collect())
    }

    /// Returns the only value of a category.
    pub(crate) fn value(&self, category: &str) -> Option<Vec<u8>> {
        self.with(|state| {
            state.rows.iter().find(|((kind, _), _)| *kind == category).map(|(_, (value, _))| value.clone())
        })
    }

    pub(crate) fn ratchet_stored(&self) -> bool {
        self.with(|state| state.ratchet_stored)
    }

    /// Loses what was decrypted but not handed over.
    pub(crate) fn lose_rows(&self, category: &str) -> usize {
        self.with(|state| {
            let before = state.rows.len();
            state.rows.retain(|(kind, _), _| *kind != category);
            before - state.rows.len()
        })
    }

    pub(crate) fn events(&self) -> Vec<EngineEvent> {
        self.with(|state| state.events.clone())
    }

    pub(crate) fn rows(&self, category: &str) -> usize {
        self.with(|state| state.rows.keys().filter(|(kind, _)| *kind == category).count())
    }

    async fn faulty(&self, write: Option<&SessionBatch>, category: Option<&'static str>) -> Result<(), StoreError> {
        let fault = self.with(|state| state.fault);
        let fails = match fault {
            Fault::None => false,
            Fault::Reads => write.is_none(),
            Fault::Writes => write.is_some(),
            Fault::Everything => true,
            Fault::Hang => {
                std::future::pending::<()>().await;
                false
            }
            Fault::Corrupt(kind) => {
                if category == Some(kind) {
                    return Err(StoreError::Corrupt { what: kind.to_owned(), cause: "planned".into() });
                }
                false
            }
            Fault::Handover => write.is_some_and(|batch| !batch.accepted.is_empty()),
            Fault::WritesOf(kind) => write.is_some_and(|batch| batch.writes.iter().any(|write| write.category == kind)),
        };
        if fails {
            Err(StoreError::Unavailable { doing: "what was asked", cause: "the database is locked".into() })
        } else {
            Ok(())
        }
    }
}

fn matches(clear: &Clear, key: &(&'static str, String), expires_at: Option<i64>) -> bool {
    key.0 == clear.category
        && key.1.starts_with(&clear.prefix)
        && clear.expired_at.is_none_or(|at| expires_at.is_some_and(|expires| expires <= at))
}

#[async_trait]
impl Sessions for MemoryStore {
    async fn claim(&self, _: &InstanceId, _: &str) -> Result<Claim, StoreError> {
        self.faulty(None, None).await?;
        Ok(self.with(|state| {
            state.epoch += 1;
            Claim { epoch: Epoch(state.epoch), revision: Revision(state.revision), holds_for: None }
        }))
    }

    async fn release(&self, _: &InstanceId, _: Epoch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn device(&self, _: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.faulty(None, Some("device")).await?;
        self.with(|state| match (&state.device, state.paired) {
            (None, true) => Err(StoreError::Corrupt { what: "device".to_owned(), cause: "it is missing".into() }),
            (device, _) => Ok(device.clone()),
        })
    }

    async fn read(&self, _: &InstanceId, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.faulty(None, Some(category)).await?;
        Ok(self.with(|state| state.rows.get(&(category, key.to_owned())).map(|(value, _)| value.clone())))
    }

    async fn read_many(
        &self,
        id: &InstanceId,
        category: &'static str,
        keys: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        for key in keys {
            if let Some(value) = self.read(id, category, key).await? {
                found.push((key.clone(), value));
            }
        }
        Ok(found)
    }

    async fn scan(
        &self,
        _: &InstanceId,
        category: &'static str,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.faulty(None, Some(category)).await?;
        Ok(self.with(|state| {
            let rows = state.rows.iter().filter(|((kind, key), _)| *kind == category && key.starts_with(prefix));
            rows.map(|((_, key), (value, _))| (key.clone(), value.clone())).collect()
        }))
    }

    async fn count(&self, _: &InstanceId, clear: &Clear) -> Result<u64, StoreError> {
        self.faulty(None, Some(clear.category)).await?;
        Ok(self
            .with(|state| state.rows.iter().filter(|(key, (_, expires))| matches(clear, key, *expires)).count() as u64))
    }

    async fn commit(&self, id: &InstanceId, epoch: Epoch, batch: SessionBatch) -> Result<Revision, StoreError> {
        self.faulty(Some(&batch), None).await?;
        self.with(|state| {
            if state.epoch != epoch.0 {
                return Err(StoreError::FencedOff(id.clone()));
            }
            for write in batch.writes.iter().filter(|write| write.value.is_some()) {
                match write.category {
                    "pending-inbound" => state.ratchet_stored = false,
                    "session" => state.ratchet_stored = true,
                    _ => {}
                }
            }
            if let Some(device) = batch.device {
                state.device = Some(device);
            }
            state.paired = batch.paired.unwrap_or(state.paired);
            for clear in &batch.clears {
                state.rows.retain(|key, (_, expires)| !matches(clear, key, *expires));
            }
            for write in batch.writes {
                match write.value {
                    Some(value) => {
                        state.rows.insert((write.category, write.key), (value, write.expires_at));
                    }
                    None => {
                        state.rows.remove(&(write.category, write.key));
                    }
                }
            }
            for accepted in batch.accepted {
                if state.accepted.insert(accepted.key) {
                    state.events.extend(accepted.event);
                }
            }
            state.events.extend(batch.events);
            state.revision += 1;
            Ok(Revision(state.revision))
        })
    }

    async fn is_accepted(&self, _: &InstanceId, message: &MessageKey) -> Result<bool, StoreError> {
        self.faulty(None, Some("accepted")).await?;
        Ok(self.with(|state| state.accepted.contains(message)))
    }

    async fn archive(&self, _: &InstanceId, _: &str) -> Result<(), StoreError> {
        self.with(|state| {
            state.device = None;
            state.paired = false;
            state.rows.clear();
        });
        Ok(())
    }
}

#[async_trait]
impl Instances for MemoryStore {
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError> {
        Err(StoreError::NoSuchInstance(new.id))
    }

    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn get(&self, _: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        Ok(None)
    }

    async fn patch(&self, _: &InstanceId, _: InstancePatch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn set_desired(&self, _: &InstanceId, _: Desired) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete(&self, _: &InstanceId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn webhook(&self, _: &InstanceId) -> Result<Option<WebhookRow>, StoreError> {
        Ok(None)
    }

    async fn set_webhook(&self, id: &InstanceId, _: WebhookSpec) -> Result<WebhookRow, StoreError> {
        Err(StoreError::NoSuchInstance(id.clone()))
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn append(&self, _: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError> {
        let count = events.len();
        self.with(|state| state.events.extend(events));
        Ok(count)
    }

    async fn due(&self, _: i64, _: u32) -> Result<Vec<Delivery>, StoreError> {
        Ok(Vec::new())
    }

    async fn next_due_at(&self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn settle(&self, _: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        Ok(Lag::default())
    }

    fn appended(&self) -> Arc<Notify> {
        Arc::new(Notify::new())
    }
}

#[async_trait]
impl Sends for MemoryStore {
    async fn begin_send(&self, _: &InstanceId, _: &Key, new: NewSend) -> Result<KeptSend, StoreError> {
        Ok(KeptSend { first: new, is_new: true, may_have_left: false, answer: None })
    }

    async fn finish_send(&self, _: &InstanceId, _: &Key, _: KeptAnswer) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unsent(&self, _: &InstanceId, _: &Key) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
