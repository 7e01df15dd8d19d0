//! A store in memory that keeps what actors write, fails when told to, and knows nothing of sessions: links are scripted here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use holdfast_core::connection::Desired;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::sending::key::Key;
use serde_json::json;
use tokio::sync::Notify;

use crate::ports::outbox::{Delivery, Lag, Outbox, Settlement, Target};
use crate::ports::sends::{KeptAnswer, KeptSend, NewSend, Sends};
use crate::ports::session::{Claim, Clear, MessageKey, SessionBatch, Sessions};
use crate::ports::store::{
    InstancePatch, InstanceRecord, Instances, NewInstance, Store, StoreError, WebhookRow, WebhookSpec,
};

#[derive(Default)]
pub(crate) struct MemoryStore {
    down: AtomicBool,
    slow_looks: AtomicBool,
    inner: Mutex<Inner>,
    appended: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    written: Vec<String>,
    deliveries: VecDeque<(i64, Delivery)>,
    seq: i64,
    dead: u64,
}

impl Inner {
    fn due(&self, now_ms: i64, limit: u32) -> Vec<Delivery> {
        let mut seen = Vec::new();
        let mut due = Vec::new();
        for (at, delivery) in &self.deliveries {
            if seen.contains(&delivery.instance) {
                continue;
            }
            seen.push(delivery.instance.clone());
            if *at <= now_ms && due.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
                due.push(delivery.clone());
            }
        }
        due
    }
}

impl MemoryStore {
    /// Lets every call fail, or work again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Lets what a look into the outbox finds be a second old when it is answered.
    pub(crate) fn slow_looks(&self) {
        self.slow_looks.store(true, Ordering::Relaxed);
    }

    /// Returns what was written so far, and forgets it.
    pub(crate) fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().written)
    }

    /// Queues a delivery that is due at once.
    pub(crate) fn queue(&self, instance: &str, text: &str) {
        let event = EngineEvent { name: EventName::MessagesUpsert, data: json!({ "text": text }) };
        self.push(&InstanceId::new(instance), event);
        self.appended.notify_one();
    }

    pub(crate) fn dead(&self) -> u64 {
        self.inner().dead
    }

    fn push(&self, id: &InstanceId, event: EngineEvent) {
        let mut inner = self.inner();
        inner.seq += 1;
        let delivery = Delivery {
            seq: inner.seq,
            event_id: format!("e{}", inner.seq),
            instance: id.clone(),
            instance_name: id.as_str().to_owned(),
            token: None,
            owner_jid: None,
            event,
            at_ms: 0,
            attempts: 0,
            target: Target { url: "http://127.0.0.1:1/".to_owned(), headers: None, by_events: false },
        };
        inner.deliveries.push_back((0, delivery));
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: String) -> Result<(), StoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable { doing: "a planned failure", cause: "planned".into() });
        }
        self.inner().written.push(what);
        Ok(())
    }
}

#[async_trait]
impl Instances for MemoryStore {
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError> {
        Ok(super::record(&new.id, false, Desired::Stopped))
    }

    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn get(&self, _: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        Ok(None)
    }

    async fn patch(&self, id: &InstanceId, patch: InstancePatch) -> Result<(), StoreError> {
        match patch.connection_status {
            Some(state) => self.note(format!("{id} is {}", state.as_str())),
            None => self.note(format!("{id} patched")),
        }
    }

    async fn set_desired(&self, id: &InstanceId, desired: Desired) -> Result<(), StoreError> {
        self.note(format!("{id} wanted {desired:?}"))
    }

    async fn delete(&self, id: &InstanceId) -> Result<(), StoreError> {
        self.note(format!("{id} deleted"))
    }

    async fn webhook(&self, _: &InstanceId) -> Result<Option<WebhookRow>, StoreError> {
        Ok(None)
    }

    async fn set_webhook(&self, id: &InstanceId, _: WebhookSpec) -> Result<WebhookRow, StoreError> {
        Err(StoreError::NoSuchInstance(id.clone()))
    }
}

#[async_trait]
impl Sessions for MemoryStore {
    async fn claim(&self, _: &InstanceId, _: &str) -> Result<Claim, StoreError> {
        Ok(Claim { epoch: Epoch(1), revision: Revision(0), holds_for: None })
    }

    async fn release(&self, _: &InstanceId, _: Epoch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn device(&self, _: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn read(&self, _: &InstanceId, _: &'static str, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn read_many(
        &self,
        _: &InstanceId,
        _: &'static str,
        _: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn scan(&self, _: &InstanceId, _: &'static str, _: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn count(&self, _: &InstanceId, _: &Clear) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn commit(&self, _: &InstanceId, _: Epoch, _: SessionBatch) -> Result<Revision, StoreError> {
        Ok(Revision(1))
    }

    async fn is_accepted(&self, _: &InstanceId, _: &MessageKey) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn archive(&self, id: &InstanceId, _: &str) -> Result<(), StoreError> {
        self.note(format!("{id} archived"))
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError> {
        for event in &events {
            let detail = event.data.get("state").and_then(|state| state.as_str()).unwrap_or_default();
            self.note(format!("{id} {} {detail}", event.name.dotted()).trim_end().to_owned())?;
        }
        Ok(events.len())
    }

    async fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.note("looked".to_owned())?;
        let due = self.inner().due(now_ms, limit);
        if self.slow_looks.load(Ordering::Relaxed) {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        Ok(due)
    }

    async fn next_due_at(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.inner().deliveries.iter().map(|(at, _)| *at).min())
    }

    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        self.note("settled".to_owned())?;
        let mut inner = self.inner();
        for (seq, settlement) in settlements {
            match settlement {
                Settlement::Delivered => inner.deliveries.retain(|(_, delivery)| delivery.seq != seq),
                Settlement::Dead { .. } => {
                    inner.deliveries.retain(|(_, delivery)| delivery.seq != seq);
                    inner.dead += 1;
                }
                Settlement::RetryAt { at_ms, .. } => {
                    for (at, delivery) in &mut inner.deliveries {
                        if delivery.seq == seq {
                            *at = at_ms;
                            delivery.attempts += 1;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        Ok(Lag::default())
    }

    fn appended(&self) -> Arc<Notify> {
        Arc::clone(&self.appended)
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
        self.note("pinged".to_owned())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.note("store closed".to_owned())
    }
}
