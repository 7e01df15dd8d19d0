//! A store that fails as planned, wrapped round a real one.

use std::collections::HashMap;
use std::ops::RangeInclusive;
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
use tokio::sync::{Notify, watch};

/// A method of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Insert,
    List,
    Get,
    Patch,
    SetDesired,
    Delete,
    Webhook,
    SetWebhook,
    Claim,
    Release,
    Device,
    Read,
    ReadMany,
    Scan,
    Count,
    Commit,
    IsAccepted,
    Archive,
    Append,
    Due,
    NextDueAt,
    Settle,
    Lag,
    BeginSend,
    FinishSend,
    Unsent,
    Ping,
    Close,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// It does nothing and says that the database does not answer.
    Unavailable,
    /// It does its work, and the answer is lost.
    AnswerLost,
    /// It says that the value cannot be read.
    Corrupt,
    /// It says that another owner has written.
    FencedOff,
    /// It says nothing until the store is healed, then works.
    Hang,
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Vec<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    /// `None` for every method.
    op: Option<Op>,
    calls: RangeInclusive<u32>,
    failing: Failing,
}

impl Faults {
    /// Nothing fails.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The `nth` call of a method fails, counted from 1 since the faults were planned.
    #[must_use]
    pub(crate) fn nth(self, op: Op, nth: u32, failing: Failing) -> Self {
        self.plan(Some(op), nth..=nth, failing)
    }

    /// The `nth` call of a method fails and every one after it.
    #[must_use]
    pub(crate) fn from(self, op: Op, nth: u32, failing: Failing) -> Self {
        self.plan(Some(op), nth..=u32::MAX, failing)
    }

    /// Every call fails.
    #[must_use]
    pub(crate) fn outage(self, failing: Failing) -> Self {
        self.plan(None, 1..=u32::MAX, failing)
    }

    fn plan(mut self, op: Option<Op>, calls: RangeInclusive<u32>, failing: Failing) -> Self {
        self.0.push(Fault { op, calls, failing });
        self
    }
}

/// A store that fails as planned.
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
    healed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    calls: HashMap<Op, u32>,
}

impl FaultyStore {
    /// Wraps a store.
    pub(crate) fn new(inner: Arc<dyn Store>, faults: Faults) -> Arc<Self> {
        let state = Mutex::new(State { faults, calls: HashMap::new() });
        Arc::new(Self { inner, state, healed: watch::Sender::new(0) })
    }

    /// Plans other faults, and counts calls from the beginning again. What hangs goes on hanging.
    pub(crate) fn plan(&self, faults: Faults) {
        *self.lock() = State { faults, calls: HashMap::new() };
    }

    /// Makes everything work, and wakes what hangs.
    pub(crate) fn heal(&self) {
        self.lock().faults = Faults::none();
        self.healed.send_modify(|times| *times += 1);
    }

    /// Returns how often a method was called since the faults were planned.
    pub(crate) fn calls(&self, op: Op) -> u32 {
        self.lock().calls.get(&op).copied().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned(&self, op: Op) -> Option<Failing> {
        let mut state = self.lock();
        let call = state.calls.entry(op).or_default();
        *call += 1;
        let call = *call;
        let hit = |fault: &&Fault| fault.op.is_none_or(|planned| planned == op) && fault.calls.contains(&call);
        state.faults.0.iter().find(hit).map(|fault| fault.failing)
    }

    async fn pass<T>(
        &self,
        op: Op,
        id: Option<&InstanceId>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mut healed = self.healed.subscribe();
        match self.planned(op) {
            None => call.await,
            Some(Failing::Unavailable) => Err(unavailable()),
            Some(Failing::AnswerLost) => call.await.and_then(|_lost| Err(unavailable())),
            Some(Failing::Corrupt) => {
                Err(StoreError::Corrupt { what: format!("the answer of {op:?}"), cause: "planned".into() })
            }
            Some(Failing::FencedOff) => {
                Err(StoreError::FencedOff(id.cloned().unwrap_or_else(|| InstanceId::new("unknown"))))
            }
            Some(Failing::Hang) => {
                let _gone = healed.changed().await;
                call.await
            }
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { doing: "what a test made fail", cause: "planned".into() }
}

#[async_trait]
impl Instances for FaultyStore {
    async fn insert(&self, new: NewInstance) -> Result<InstanceRecord, StoreError> {
        self.pass(Op::Insert, None, self.inner.insert(new)).await
    }

    async fn list(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        self.pass(Op::List, None, self.inner.list()).await
    }

    async fn get(&self, id: &InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        self.pass(Op::Get, Some(id), self.inner.get(id)).await
    }

    async fn patch(&self, id: &InstanceId, patch: InstancePatch) -> Result<(), StoreError> {
        self.pass(Op::Patch, Some(id), self.inner.patch(id, patch)).await
    }

    async fn set_desired(&self, id: &InstanceId, desired: Desired) -> Result<(), StoreError> {
        self.pass(Op::SetDesired, Some(id), self.inner.set_desired(id, desired)).await
    }

    async fn delete(&self, id: &InstanceId) -> Result<(), StoreError> {
        self.pass(Op::Delete, Some(id), self.inner.delete(id)).await
    }

    async fn webhook(&self, id: &InstanceId) -> Result<Option<WebhookRow>, StoreError> {
        self.pass(Op::Webhook, Some(id), self.inner.webhook(id)).await
    }

    async fn set_webhook(&self, id: &InstanceId, spec: WebhookSpec) -> Result<WebhookRow, StoreError> {
        self.pass(Op::SetWebhook, Some(id), self.inner.set_webhook(id, spec)).await
    }
}

#[async_trait]
impl Sessions for FaultyStore {
    async fn claim(&self, id: &InstanceId, node: &str) -> Result<Claim, StoreError> {
        self.pass(Op::Claim, Some(id), self.inner.claim(id, node)).await
    }

    async fn release(&self, id: &InstanceId, epoch: Epoch) -> Result<(), StoreError> {
        self.pass(Op::Release, Some(id), self.inner.release(id, epoch)).await
    }

    async fn device(&self, id: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass(Op::Device, Some(id), self.inner.device(id)).await
    }

    async fn read(&self, id: &InstanceId, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass(Op::Read, Some(id), self.inner.read(id, category, key)).await
    }

    async fn read_many(
        &self,
        id: &InstanceId,
        category: &'static str,
        keys: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.pass(Op::ReadMany, Some(id), self.inner.read_many(id, category, keys)).await
    }

    async fn scan(
        &self,
        id: &InstanceId,
        category: &'static str,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.pass(Op::Scan, Some(id), self.inner.scan(id, category, prefix)).await
    }

    async fn count(&self, id: &InstanceId, clear: &Clear) -> Result<u64, StoreError> {
        self.pass(Op::Count, Some(id), self.inner.count(id, clear)).await
    }

    async fn commit(&self, id: &InstanceId, epoch: Epoch, batch: SessionBatch) -> Result<Revision, StoreError> {
        self.pass(Op::Commit, Some(id), self.inner.commit(id, epoch, batch)).await
    }

    async fn is_accepted(&self, id: &InstanceId, message: &MessageKey) -> Result<bool, StoreError> {
        self.pass(Op::IsAccepted, Some(id), self.inner.is_accepted(id, message)).await
    }

    async fn archive(&self, id: &InstanceId, reason: &str) -> Result<(), StoreError> {
        self.pass(Op::Archive, Some(id), self.inner.archive(id, reason)).await
    }
}

#[async_trait]
impl Outbox for FaultyStore {
    async fn append(&self, id: &InstanceId, events: Vec<EngineEvent>) -> Result<usize, StoreError> {
        self.pass(Op::Append, Some(id), self.inner.append(id, events)).await
    }

    async fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.pass(Op::Due, None, self.inner.due(now_ms, limit)).await
    }

    async fn next_due_at(&self) -> Result<Option<i64>, StoreError> {
        self.pass(Op::NextDueAt, None, self.inner.next_due_at()).await
    }

    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        self.pass(Op::Settle, None, self.inner.settle(settlements)).await
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        self.pass(Op::Lag, None, self.inner.lag()).await
    }

    fn appended(&self) -> Arc<Notify> {
        self.inner.appended()
    }
}

#[async_trait]
impl Sends for FaultyStore {
    async fn begin_send(&self, id: &InstanceId, key: &Key, new: NewSend) -> Result<KeptSend, StoreError> {
        self.pass(Op::BeginSend, Some(id), self.inner.begin_send(id, key, new)).await
    }

    async fn finish_send(&self, id: &InstanceId, key: &Key, answer: KeptAnswer) -> Result<(), StoreError> {
        self.pass(Op::FinishSend, Some(id), self.inner.finish_send(id, key, answer)).await
    }

    async fn unsent(&self, id: &InstanceId, key: &Key) -> Result<(), StoreError> {
        self.pass(Op::Unsent, Some(id), self.inner.unsent(id, key)).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.pass(Op::Ping, None, self.inner.ping()).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.pass(Op::Close, None, self.inner.close()).await
    }
}
