//! A store that fails as planned, wrapped round a real one.

mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast::ports::changes::Changes;
use holdfast::ports::copies::{Adopted, Adoption, Copies, Export};
use holdfast::ports::dead_letters::{DeadLetter, DeadLetters, Page, Redriven, Selection};
use holdfast::ports::layer::SessionCopy;
use holdfast::ports::leases::{Leases, Node, Profile, Whereabouts};
use holdfast::ports::outbox::{InstanceLag, Lag, Loaded, Outbox, Settlement};
use holdfast::ports::restore::Renewal;
use holdfast::ports::sends::{KeptAnswer, KeptSend, NewSend, Sends};
use holdfast::ports::session::{Claim, Clear, MessageKey, SessionBatch, Sessions, Unrecovered};
use holdfast::ports::store::{
    InstancePatch, InstanceRecord, Instances, NewInstance, ProxySpec, SettingRow, SettingsSpec, Store, StoreError,
    WebhookRow, WebhookSpec,
};
use holdfast_core::connection::Desired;
use holdfast_core::delivery::lanes::Head;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::{DatabaseId, Epoch, InstanceId, Revision};
use holdfast_core::restoration::{Database, Member};
use holdfast_core::sending::key::Key;
use holdfast_core::tenancy::Survey;
use tokio::sync::{Notify, watch};

use self::plan::Call;
pub(crate) use self::plan::{Failing, Faults, Op, Scope};

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
    /// Calls that failed since the faults were planned.
    struck: u32,
    /// The kinds of value that commits have written, in their order.
    written: Vec<&'static str>,
}

impl FaultyStore {
    /// Wraps a store.
    pub(crate) fn new(inner: Arc<dyn Store>, faults: Faults) -> Arc<Self> {
        let state = Mutex::new(State { faults, ..State::default() });
        Arc::new(Self { inner, state, healed: watch::Sender::new(0) })
    }

    /// Plans other faults, and counts calls from the beginning again. What hangs goes on hanging.
    pub(crate) fn plan(&self, faults: Faults) {
        let mut state = self.lock();
        state.faults = faults;
        state.calls.clear();
        state.struck = 0;
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

    /// Returns how many calls failed since the faults were planned.
    pub(crate) fn struck(&self) -> u32 {
        self.lock().struck
    }

    /// Returns the kinds of value that commits have written, in their order.
    pub(crate) fn written(&self) -> Vec<&'static str> {
        self.lock().written.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned(&self, call: &Call) -> Option<Failing> {
        let mut state = self.lock();
        *state.calls.entry(call.op).or_default() += 1;
        let failing = state.faults.strike(call);
        state.struck += u32::from(failing.is_some());
        failing
    }

    async fn pass<T>(
        &self,
        call: impl Into<Call>,
        id: Option<&InstanceId>,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let call = call.into();
        let mut healed = self.healed.subscribe();
        match self.planned(&call) {
            None => work.await,
            Some(Failing::Unavailable) => Err(unavailable()),
            Some(Failing::AnswerLost) => work.await.and_then(|_lost| Err(unavailable())),
            Some(Failing::Corrupt) => {
                Err(StoreError::Corrupt { what: format!("the answer of {:?}", call.op), cause: "planned".into() })
            }
            Some(Failing::FencedOff) => {
                Err(StoreError::FencedOff(id.cloned().unwrap_or_else(|| InstanceId::new("unknown"))))
            }
            Some(Failing::Hang) => {
                let _gone = healed.changed().await;
                work.await
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

    async fn settings(&self, id: &InstanceId) -> Result<Option<SettingRow>, StoreError> {
        self.pass(Op::Settings, Some(id), self.inner.settings(id)).await
    }

    async fn set_settings(&self, id: &InstanceId, spec: SettingsSpec) -> Result<SettingRow, StoreError> {
        self.pass(Op::SetSettings, Some(id), self.inner.set_settings(id, spec)).await
    }

    async fn set_proxy(&self, id: &InstanceId, spec: ProxySpec) -> Result<bool, StoreError> {
        self.pass(Op::SetProxy, Some(id), self.inner.set_proxy(id, spec)).await
    }
}

#[async_trait]
impl Sessions for FaultyStore {
    async fn claim(&self, id: &InstanceId) -> Result<Claim, StoreError> {
        self.pass(Op::Claim, Some(id), self.inner.claim(id)).await
    }

    async fn release(&self, id: &InstanceId, epoch: Epoch) -> Result<(), StoreError> {
        self.pass(Op::Release, Some(id), self.inner.release(id, epoch)).await
    }

    async fn device(&self, id: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass(Call::reading(Op::Device, "device"), Some(id), self.inner.device(id)).await
    }

    async fn read(&self, id: &InstanceId, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass(Call::reading(Op::Read, category), Some(id), self.inner.read(id, category, key)).await
    }

    async fn read_many(
        &self,
        id: &InstanceId,
        category: &'static str,
        keys: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.pass(Call::reading(Op::ReadMany, category), Some(id), self.inner.read_many(id, category, keys)).await
    }

    async fn scan(
        &self,
        id: &InstanceId,
        category: &'static str,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.pass(Call::reading(Op::Scan, category), Some(id), self.inner.scan(id, category, prefix)).await
    }

    async fn last_key(&self, id: &InstanceId, category: &'static str) -> Result<Option<String>, StoreError> {
        self.pass(Call::reading(Op::LastKey, category), Some(id), self.inner.last_key(id, category)).await
    }

    async fn count(&self, id: &InstanceId, clear: &Clear) -> Result<u64, StoreError> {
        self.pass(Call::reading(Op::Count, clear.category), Some(id), self.inner.count(id, clear)).await
    }

    async fn commit(&self, id: &InstanceId, epoch: Epoch, batch: SessionBatch) -> Result<Revision, StoreError> {
        let call = Call::committing(&batch);
        let work = async {
            let revision = self.inner.commit(id, epoch, batch).await?;
            self.lock().written.extend(&call.categories);
            Ok(revision)
        };
        self.pass(call.clone(), Some(id), work).await
    }

    async fn is_accepted(&self, id: &InstanceId, message: &MessageKey) -> Result<bool, StoreError> {
        self.pass(Op::IsAccepted, Some(id), self.inner.is_accepted(id, message)).await
    }

    async fn times_lost(&self, id: &InstanceId, message: &MessageKey) -> Result<u32, StoreError> {
        self.pass(Op::TimesLost, Some(id), self.inner.times_lost(id, message)).await
    }

    async fn unrecovered(&self, id: Option<&InstanceId>, limit: u32) -> Result<Vec<Unrecovered>, StoreError> {
        self.pass(Op::Unrecovered, id, self.inner.unrecovered(id, limit)).await
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

    async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        self.pass(Op::Heads, None, self.inner.heads()).await
    }

    async fn next(&self, id: &InstanceId, now_ms: i64) -> Result<Loaded, StoreError> {
        self.pass(Op::Next, Some(id), self.inner.next(id, now_ms)).await
    }

    async fn settle(&self, settlements: Vec<(i64, Settlement)>) -> Result<(), StoreError> {
        self.pass(Op::Settle, None, self.inner.settle(settlements)).await
    }

    async fn lag(&self) -> Result<Lag, StoreError> {
        self.pass(Op::Lag, None, self.inner.lag()).await
    }

    async fn lags(&self) -> Result<Vec<InstanceLag>, StoreError> {
        self.pass(Op::Lags, None, self.inner.lags()).await
    }

    fn appended(&self) -> Arc<Notify> {
        self.inner.appended()
    }
}

#[async_trait]
impl DeadLetters for FaultyStore {
    async fn dead_letters(&self, page: Page) -> Result<Vec<DeadLetter>, StoreError> {
        self.pass(Op::DeadLetters, None, self.inner.dead_letters(page)).await
    }

    async fn redrive(&self, selection: Selection) -> Result<Redriven, StoreError> {
        self.pass(Op::Redrive, None, self.inner.redrive(selection)).await
    }

    async fn discard(&self, selection: Selection) -> Result<u64, StoreError> {
        self.pass(Op::Discard, None, self.inner.discard(selection)).await
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
impl Copies for FaultyStore {
    fn changes(&self) -> &Changes {
        self.inner.changes()
    }

    fn database(&self) -> DatabaseId {
        self.inner.database()
    }

    async fn neighbours(&self, now: DateTime<Utc>) -> Result<Vec<DatabaseId>, StoreError> {
        self.pass(Op::States, None, self.inner.neighbours(now)).await
    }

    async fn note_neighbour(&self, other: &DatabaseId) -> Result<bool, StoreError> {
        self.pass(Op::States, None, self.inner.note_neighbour(other)).await
    }

    async fn states(&self) -> Result<Vec<(InstanceId, Member<Database>)>, StoreError> {
        self.pass(Op::States, None, self.inner.states()).await
    }

    async fn export(&self, id: &InstanceId, taken_at: DateTime<Utc>) -> Result<Option<SessionCopy>, StoreError> {
        self.pass(Op::Export, Some(id), self.inner.export(id, taken_at)).await
    }

    async fn export_many(
        &self,
        ids: &[InstanceId],
        taken_at: DateTime<Utc>,
    ) -> Result<Vec<(InstanceId, Result<Export, StoreError>)>, StoreError> {
        self.pass(Op::Export, None, self.inner.export_many(ids, taken_at)).await
    }

    async fn adopt_copy(
        &self,
        copy: SessionCopy,
        adoption: Adoption,
        renewal: Arc<dyn Renewal>,
    ) -> Result<Adopted, StoreError> {
        let id = copy.header.id.clone();
        self.pass(Op::AdoptCopy, Some(&id), self.inner.adopt_copy(copy, adoption, renewal)).await
    }
}

#[async_trait]
impl Leases for FaultyStore {
    fn lease_ttl(&self) -> Option<Duration> {
        self.inner.lease_ttl()
    }

    async fn join(&self, profile: Profile) -> Result<(), StoreError> {
        self.pass(Op::Join, None, self.inner.join(profile)).await
    }

    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.pass(Op::Renew, None, self.inner.renew()).await
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        self.pass(Op::Survey, None, self.inner.survey()).await
    }

    async fn adopt(&self, most: u32, abandoned: bool) -> Result<Vec<InstanceId>, StoreError> {
        self.pass(Op::Adopt, None, self.inner.adopt(most, abandoned)).await
    }

    async fn let_go(&self, ids: Vec<InstanceId>) -> Result<(), StoreError> {
        self.pass(Op::LetGo, None, self.inner.let_go(ids)).await
    }

    async fn retire(&self) -> Result<(), StoreError> {
        self.pass(Op::Retire, None, self.inner.retire()).await
    }

    async fn leave(&self) -> Result<(), StoreError> {
        self.pass(Op::Leave, None, self.inner.leave()).await
    }

    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError> {
        self.pass(Op::Owners, None, self.inner.owners()).await
    }

    async fn whereabouts(&self, name: &str) -> Result<Option<Whereabouts>, StoreError> {
        self.pass(Op::Whereabouts, None, self.inner.whereabouts(name)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.pass(Op::Nodes, None, self.inner.nodes()).await
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
