//! A store in memory that keeps what actors write, fails when told to, and knows nothing of sessions: links are scripted here.

mod leases;
mod webhook;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use holdfast_core::connection::Desired;
use holdfast_core::delivery::lanes::Head;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::sending::key::Key;
use serde_json::json;
use tokio::sync::Notify;

use crate::ports::address;
use crate::ports::changes::Changes;
use crate::ports::dead_letters::{DeadLetter, DeadLetters, Page, Redriven, Selection};
use crate::ports::outbox::{Delivery, InstanceLag, Lag, Loaded, Outbox, Settlement, Target};
use crate::ports::sends::{KeptAnswer, KeptSend, NewSend, Sends};
use crate::ports::session::{Claim, Clear, MessageKey, SessionBatch, Sessions, Unrecovered};
use crate::ports::store::{
    InstancePatch, InstanceRecord, Instances, NewInstance, ProxySpec, SettingRow, SettingsSpec, Store, StoreError,
    WebhookRow, WebhookSpec,
};

#[derive(Default)]
pub(crate) struct MemoryStore {
    down: AtomicBool,
    fenced_off: AtomicBool,
    /// No event can be queued.
    pub webhook_is_damaged: AtomicBool,
    panics: AtomicU32,
    slow_looks: AtomicBool,
    /// How many deletions are still to fail, and how many have.
    failing_deletions: AtomicU32,
    failed_deletions: AtomicU32,
    /// What the next deletions wait for.
    held: Mutex<Option<Arc<Notify>>>,
    reads_hang: AtomicBool,
    inner: Mutex<Inner>,
    appended: Arc<Notify>,
    pub(super) changes: Changes,
}

#[derive(Default)]
struct Inner {
    written: Vec<String>,
    deliveries: VecDeque<(i64, Delivery)>,
    seq: i64,
    unreadable: Vec<i64>,
    dead: Vec<String>,
    rows: Vec<InstanceRecord>,
}

impl Inner {
    /// The oldest of each instance.
    fn heads(&self) -> Vec<&(i64, Delivery)> {
        let mut seen = Vec::new();
        let mut heads = Vec::new();
        for row in &self.deliveries {
            if !seen.contains(&&row.1.instance) {
                seen.push(&row.1.instance);
                heads.push(row);
            }
        }
        heads
    }
}

impl MemoryStore {
    /// Keeps a row, to be read, in the place of the one before it.
    pub(crate) fn keep(&self, row: InstanceRecord) {
        self.forget(&row.id);
        self.inner().rows.push(row);
    }

    /// Keeps a row, unless there is one.
    pub(crate) fn keep_new(&self, row: InstanceRecord) {
        if !self.inner().rows.iter().any(|known| known.id == row.id) {
            self.keep(row);
        }
    }

    /// Returns a row as it is.
    pub(crate) fn row(&self, id: &InstanceId) -> InstanceRecord {
        self.inner().rows.iter().find(|row| row.id == *id).cloned().unwrap()
    }

    /// Puts credentials on disk, as a link does.
    pub(crate) fn pair(&self, id: &InstanceId) {
        self.change(id, |row| row.paired = true);
    }

    /// Takes them away.
    pub(crate) fn unpair(&self, id: &InstanceId) {
        self.change(id, |row| row.paired = false);
    }

    /// Takes a row away.
    pub(crate) fn forget(&self, id: &InstanceId) {
        self.inner().rows.retain(|row| row.id != *id);
    }

    /// Lets the reading of a row never come to an end, or end again.
    pub(crate) fn hang_reads(&self, hang: bool) {
        self.reads_hang.store(hang, Ordering::Relaxed);
    }

    fn change(&self, id: &InstanceId, change: impl Fn(&mut InstanceRecord)) {
        self.inner().rows.iter_mut().filter(|row| row.id == *id).for_each(change);
    }

    /// Lets every call fail, or work again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Lets another node own every instance, or no other again.
    pub(crate) fn fence_off(&self, fenced_off: bool) {
        self.fenced_off.store(fenced_off, Ordering::Relaxed);
    }

    /// Lets the next that many writes panic.
    pub(crate) fn panic_next(&self, writes: u32) {
        self.panics.store(writes, Ordering::Relaxed);
    }

    /// Lets that many deletions fail, and nothing else.
    pub(crate) fn fail_deletions(&self, times: u32) {
        self.failing_deletions.store(times, Ordering::Relaxed);
    }

    /// How many deletions have failed.
    pub(crate) fn failed_deletions(&self) -> u32 {
        self.failed_deletions.load(Ordering::Relaxed)
    }

    /// Lets deletions wait until they are let go.
    pub(crate) fn hold_deletions(&self) -> Arc<Notify> {
        let hold = Arc::new(Notify::new());
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&hold));
        hold
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

    /// Queues a delivery to this target, whose wait began at this Unix millisecond.
    pub(crate) fn queue_to(&self, url: &str, instance: &str, text: &str, waiting_ms: i64) {
        let event = EngineEvent { name: EventName::MessagesUpsert, data: json!({ "text": text }) };
        self.push(&InstanceId::new(instance), event);
        if let Some((_, delivery)) = self.inner().deliveries.back_mut() {
            url.clone_into(&mut delivery.target.url);
            delivery.waiting_ms = waiting_ms;
        }
        self.appended.notify_one();
    }

    /// Gives everything that waits another target.
    pub(crate) fn move_to(&self, url: &str) {
        for (_, delivery) in &mut self.inner().deliveries {
            url.clone_into(&mut delivery.target.url);
        }
    }

    /// Makes what was queued last unreadable.
    pub(crate) fn spoil(&self) {
        let mut inner = self.inner();
        let seq = inner.seq;
        inner.unreadable.push(seq);
    }

    /// Why each dead letter was given up, with its text.
    pub(crate) fn dead(&self) -> Vec<String> {
        self.inner().dead.clone()
    }

    /// How many tries and attempts the deliveries have that wait.
    pub(crate) fn tries(&self) -> Vec<(u32, u32)> {
        self.inner().deliveries.iter().map(|(_, delivery)| (delivery.tries, delivery.attempts)).collect()
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
            waiting_ms: i64::MAX,
            tries: 0,
            attempts: 0,
            target: Target { url: "http://127.0.0.1:1/".to_owned(), headers: None, by_events: false },
        };
        inner.deliveries.push_back((0, delivery));
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: String) -> Result<(), StoreError> {
        let planned = self.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(planned.is_err(), "planned");
        self.answers()?;
        if self.fenced_off.load(Ordering::Relaxed) {
            return Err(StoreError::FencedOff(InstanceId::new("planned")));
        }
        self.inner().written.push(what);
        Ok(())
    }

    fn answers(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable { doing: "a planned failure", cause: "planned".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Instances for MemoryStore {
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError> {
        Ok(super::record(&new.id, false, Desired::Stopped))
    }

    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        self.answers()?;
        Ok(self.inner().rows.clone())
    }

    async fn get(&self, id: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        if self.reads_hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.answers()?;
        Ok(self.inner().rows.iter().find(|row| row.id == *id).cloned())
    }

    async fn patch(&self, id: &InstanceId, patch: InstancePatch) -> Result<(), StoreError> {
        self.can_queue(&patch.events)?;
        match patch.connection_status {
            Some(state) => self.note(format!("{id} is {}", state.as_str()))?,
            None => self.note(format!("{id} patched"))?,
        }
        self.append(id, patch.events).await.map(drop)
    }

    async fn set_desired(&self, id: &InstanceId, desired: Desired) -> Result<(), StoreError> {
        self.note(format!("{id} wanted {desired:?}"))?;
        self.change(id, |row| row.desired = desired);
        Ok(())
    }

    async fn delete(&self, id: &InstanceId) -> Result<(), StoreError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(held) = held {
            held.notified().await;
        }
        let failing = &self.failing_deletions;
        if failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            self.failed_deletions.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Unavailable { doing: "a planned failure", cause: "planned".into() });
        }
        self.note(format!("{id} deleted"))
    }

    async fn webhook(&self, _: &InstanceId) -> Result<Option<WebhookRow>, StoreError> {
        Ok(None)
    }

    async fn set_webhook(&self, id: &InstanceId, _: WebhookSpec) -> Result<WebhookRow, StoreError> {
        Err(StoreError::NoSuchInstance(id.clone()))
    }

    async fn settings(&self, _: &InstanceId) -> Result<Option<SettingRow>, StoreError> {
        Ok(None)
    }

    async fn set_settings(&self, id: &InstanceId, _: SettingsSpec) -> Result<SettingRow, StoreError> {
        Err(StoreError::NoSuchInstance(id.clone()))
    }

    async fn set_proxy(&self, id: &InstanceId, _: ProxySpec) -> Result<bool, StoreError> {
        Err(StoreError::NoSuchInstance(id.clone()))
    }
}

#[async_trait]
impl Sessions for MemoryStore {
    async fn claim(&self, _: &InstanceId) -> Result<Claim, StoreError> {
        Ok(Claim { epoch: Epoch(1), revision: Revision(0) })
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

    async fn last_key(&self, _: &InstanceId, _: &'static str) -> Result<Option<String>, StoreError> {
        Ok(None)
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

    async fn times_lost(&self, _: &InstanceId, _: &MessageKey) -> Result<u32, StoreError> {
        Ok(0)
    }

    async fn unrecovered(&self, _: Option<&InstanceId>, _: u32) -> Result<Vec<Unrecovered>, StoreError> {
        Ok(Vec::new())
    }

    async fn archive(&self, id: &InstanceId, _: &str) -> Result<(), StoreError> {
        self.note(format!("{id} archived"))?;
        self.unpair(id);
        Ok(())
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError> {
        self.can_queue(&events)?;
        for event in &events {
            let detail = event.data.get("state").and_then(|state| state.as_str()).unwrap_or_default();
            self.note(format!("{id} {} {detail}", event.name.dotted()).trim_end().to_owned())?;
        }
        Ok(events.len())
    }

    async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        self.note("looked".to_owned())?;
        let view = |(at, delivery): &(i64, Delivery)| Head {
            seq: delivery.seq,
            instance: delivery.instance.clone(),
            origin: address::origin(&delivery.target.url),
            due_ms: *at,
            tries: delivery.tries,
        };
        let heads = self.inner().heads().into_iter().map(view).collect();
        if self.slow_looks.load(Ordering::Relaxed) {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        Ok(heads)
    }

    async fn next(&self, id: &InstanceId, now_ms: i64) -> Result<Loaded, StoreError> {
        self.note(format!("{id} read"))?;
        let inner = self.inner();
        let head = inner.heads().into_iter().find(|(at, delivery)| delivery.instance == *id && *at <= now_ms);
        Ok(match head {
            Some((_, delivery)) if inner.unreadable.contains(&delivery.seq) => {
                Loaded::Unreadable { seq: delivery.seq, why: "planned".to_owned() }
            }
            Some((_, delivery)) => Loaded::Ready(Box::new(delivery.clone())),
            None => Loaded::Nothing,
        })
    }

    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        self.note("settled".to_owned())?;
        let mut inner = self.inner();
        for (seq, settlement) in settlements {
            let Some(place) = inner.deliveries.iter().position(|(_, delivery)| delivery.seq == seq) else { continue };
            let label = inner.deliveries[place].1.event.data["text"].as_str().unwrap_or_default().to_owned();
            match settlement {
                Settlement::Delivered => drop(inner.deliveries.remove(place)),
                Settlement::Dead { why, and_before_ms, .. } => {
                    let instance = inner.deliveries.remove(place).map(|(_, delivery)| delivery.instance);
                    inner.dead.push(format!("{label}: {why}"));
                    let before_ms = and_before_ms.unwrap_or(i64::MIN);
                    inner.deliveries.retain(|(_, delivery)| {
                        Some(&delivery.instance) != instance.as_ref() || delivery.waiting_ms >= before_ms
                    });
                }
                Settlement::Unreadable { why } => {
                    inner.deliveries.remove(place);
                    inner.dead.push(format!("{label}: {why}"));
                }
                Settlement::RetryAt { at_ms, counts, .. } => {
                    let (at, delivery) = &mut inner.deliveries[place];
                    *at = at_ms;
                    delivery.tries += 1;
                    delivery.attempts += u32::from(counts);
                }
            }
        }
        Ok(())
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        Ok(Lag::default())
    }

    async fn lags(&self) -> Result<Vec<InstanceLag>, StoreError> {
        Ok(Vec::new())
    }

    fn appended(&self) -> Arc<Notify> {
        Arc::clone(&self.appended)
    }
}

#[async_trait]
impl DeadLetters for MemoryStore {
    async fn dead_letters(&self, _: Page) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(Vec::new())
    }

    async fn redrive(&self, _: Selection) -> Result<Redriven, StoreError> {
        Ok(Redriven::default())
    }

    async fn discard(&self, _: Selection) -> Result<u64, StoreError> {
        Ok(0)
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
        self.answers()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.note("store closed".to_owned())
    }
}
