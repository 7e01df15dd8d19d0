//! Who writes to a layer after the database has: it is told what has changed, waits for nothing, and nobody waits for it.

mod backlog;
mod pulse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use holdfast_core::restoration::Source;
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backlog::Backlog;
use crate::failpoint::reach;
use crate::ports::board::Board;
use crate::ports::changes::{Change, Observer};
use crate::ports::clock::Clock;
use crate::ports::copies::{Copies, Export};
use crate::ports::copying::{CopyFigures, Copying};
use crate::ports::layer::{Kept, Layer, LayerError};
use crate::ports::neighbours::Neighbours;
use crate::ports::store::StoreError;

/// How a mirror goes about it.
#[derive(Debug, Clone, Copy)]
pub struct MirrorPolicy {
    /// The time between two rounds: what changes meanwhile is written once.
    pub every: Duration,
    /// How long after a copy the next one of the same instance is made: one that talks all the time changes all the time.
    pub rest: Duration,
    /// The longest queue. What does not fit is left out, and comes with its next change.
    pub most: usize,
    /// How often the layer is told which instances live, and asked whether it has lost a copy of one.
    pub refresh_every: Duration,
}

impl Default for MirrorPolicy {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(2),
            rest: Duration::from_secs(30),
            most: 100_000,
            refresh_every: Duration::from_secs(5 * 60),
        }
    }
}

/// Sessions that are copied at once.
const BATCH: usize = 16;

/// What a mirror works with.
pub struct MirrorParts {
    pub layer: Arc<dyn Layer>,
    pub copies: Arc<dyn Copies>,
    /// Shows which instances live here.
    pub board: Arc<Board>,
    /// The engines of other databases that are seen there.
    pub neighbours: Arc<Neighbours>,
    /// Whether no other process can work with this database.
    pub alone: bool,
    pub clock: Clock,
    pub policy: MirrorPolicy,
}

/// Keeps the copies of a layer up to date. It reads the newest state itself, and gives way to everything else.
pub struct Mirror {
    parts: MirrorParts,
    backlog: Mutex<Backlog>,
    wake: Notify,
    closing: CancellationToken,
    /// How long the last round may take.
    within: Mutex<Duration>,
    tasks: TaskTracker,
    /// Instances whose copies are being made.
    under_way: AtomicUsize,
    written: AtomicU64,
    failed: AtomicU64,
    /// Whether it was told that the layer takes no copies.
    told: AtomicBool,
    /// Instances whose login or row this process has ended, and whose copies have not been looked at since.
    ended: Mutex<BTreeSet<InstanceId>>,
    /// How often in a row the newest state of an instance was older than its copy.
    outdated: Mutex<BTreeMap<InstanceId, u8>>,
}

/// What came of a batch.
struct Outcome {
    /// Those that are worth another try.
    failed: Vec<InstanceId>,
    /// Those of which no copy was made: there is no login.
    without: BTreeSet<InstanceId>,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mirror").field(&self.parts.layer.source()).finish()
    }
}

impl Mirror {
    /// Starts one on the shared runtime. From then on it is told of every change.
    pub fn start(parts: MirrorParts, runtime: &Handle) -> Arc<Self> {
        let mirror = Arc::new(Self {
            backlog: Mutex::new(Backlog::new(parts.policy.most, parts.policy.rest)),
            parts,
            wake: Notify::new(),
            closing: CancellationToken::new(),
            within: Mutex::default(),
            tasks: TaskTracker::new(),
            under_way: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            told: AtomicBool::new(false),
            ended: Mutex::default(),
            outdated: Mutex::default(),
        });
        mirror.parts.copies.changes().tell(Arc::clone(&mirror) as _);
        mirror.tasks.spawn_on(Arc::clone(&mirror).run(), runtime);
        mirror.tasks.spawn_on(Arc::clone(&mirror).refresh(), runtime);
        mirror.tasks.close();
        mirror
    }

    async fn run(self: Arc<Self>) {
        tokio::join!(self.rounds(), self.show_life());
        self.last_round().await;
        self.end_life().await;
    }

    async fn rounds(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                () = self.something_is_due() => {}
            }
            self.round(Some(self.parts.clock.now())).await;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                () = tokio::time::sleep(self.parts.policy.every) => {}
            }
        }
    }

    /// Writes what waits, and what rests as well: nobody comes after this.
    async fn last_round(&self) {
        let within = *self.within.lock().unwrap_or_else(PoisonError::into_inner);
        let over = timeout(within, self.round(None)).await;
        let waiting = self.waiting();
        if over.is_err() || waiting > 0 {
            let layer = self.parts.layer.source().word();
            tracing::warn!(waiting, "{waiting} copies of sessions in {layer} are not up to date at the end");
        }
    }

    /// Waits until a copy is to be made.
    async fn something_is_due(&self) {
        loop {
            let woken = self.wake.notified();
            let due = self.lock().next_due();
            let now = self.parts.clock.now();
            match due {
                Some(due) if due <= now => return,
                Some(due) => {
                    // Whoever wakes may be due before.
                    let _early = timeout(now.until(due), woken).await;
                }
                None => woken.await,
            }
        }
    }

    /// Goes once through what waits now, as far as it is due `by` then.
    async fn round(&self, by: Option<Timestamp>) {
        let mut left = self.lock().waiting();
        while left > 0 {
            let batch = self.lock().take(BATCH.min(left), by);
            if batch.is_empty() {
                return;
            }
            left -= batch.len();
            self.under_way.store(batch.len(), Ordering::Relaxed);
            reach!("copies.writing");
            let Outcome { failed, without } = self.write(&batch).await;
            reach!("copies.written");
            self.under_way.store(0, Ordering::Relaxed);
            let now = self.parts.clock.now();
            let mut backlog = self.lock();
            for id in batch.iter().filter(|id| !failed.contains(id) && !without.contains(id)) {
                backlog.written(id, now);
            }
            let gave_up = failed.len() == batch.len();
            for id in failed {
                backlog.put_back(id, now.after(self.parts.policy.every));
            }
            if gave_up {
                return;
            }
        }
    }

    /// Writes the newest states of these instances.
    async fn write(&self, batch: &[InstanceId]) -> Outcome {
        let copies = match self.parts.copies.export_many(batch, self.parts.clock.wall()).await {
            Ok(copies) => copies,
            Err(error) => {
                tracing::debug!(%error, "Sessions were not copied");
                return Outcome { failed: batch.to_vec(), without: BTreeSet::new() };
            }
        };
        let ended: BTreeSet<InstanceId> = {
            let mut ended = self.lock_ended();
            batch.iter().filter_map(|id| ended.take(id)).collect()
        };
        let known: BTreeSet<&InstanceId> = copies.iter().map(|(id, _)| id).collect();
        let mut without: BTreeSet<InstanceId> = batch.iter().filter(|id| !known.contains(id)).cloned().collect();
        let mut failed = Vec::new();
        // If nobody has deleted one that the database does not know, its copy may be all that is left of it.
        for id in without.iter().filter(|id| ended.contains(*id)) {
            if self.parts.layer.remove(id).await.is_err() {
                failed.push(id.clone());
            }
        }
        for (id, copy) in copies {
            match copy {
                Ok(Export::Login(copy)) => match self.parts.layer.write(&copy).await {
                    Ok(Kept::Written) => {
                        self.written.fetch_add(1, Ordering::Relaxed);
                        self.lock_outdated().remove(&id);
                        self.tell(None);
                    }
                    Ok(Kept::Outdated) => {
                        if self.is_outdated(&id) {
                            failed.push(id);
                        }
                    }
                    Err(LayerError::Unfit { layer, why }) => {
                        tracing::error!(instance.id = %id, why, "{layer} cannot keep a copy of instance {id}");
                    }
                    Err(error @ (LayerError::Unavailable { .. } | LayerError::LeftAlone { .. })) => {
                        self.tell(Some(&error));
                        failed.push(id);
                    }
                },
                Ok(Export::NoLogin(held)) => {
                    match self.parts.layer.remove_ended(&id, held).await {
                        Ok(true) => {}
                        Ok(false) => {
                            let place = self.parts.layer.source().word();
                            tracing::warn!(instance.id = %id, "Instance {id} has no login in the database, which was set back, and a copy of one in {place}, which stays");
                        }
                        Err(_away) => failed.push(id.clone()),
                    }
                    without.insert(id);
                }
                Ok(Export::Deleted) => {
                    if self.parts.layer.remove(&id).await.is_err() {
                        failed.push(id.clone());
                    }
                    without.insert(id);
                }
                // A copy elsewhere may be all that is left of it: it stays.
                Err(StoreError::Corrupt { what, .. }) => {
                    tracing::error!(instance.id = %id, what, "Instance {id} is damaged in the database, and its copies are left as they are");
                }
                Err(error) => {
                    tracing::debug!(instance.id = %id, %error, "Instance {id} was not copied");
                    failed.push(id);
                }
            }
        }
        self.lock_ended().extend(ended.into_iter().filter(|id| without.contains(id) && failed.contains(id)));
        self.failed.fetch_add(failed.len() as u64, Ordering::Relaxed);
        Outcome { failed, without }
    }

    /// The newest state of an instance is older than its copy: another process may have been faster with the state after it. Tells whether
    /// to try again; nobody can have been faster twice.
    fn is_outdated(&self, id: &InstanceId) -> bool {
        let times = {
            let mut outdated = self.lock_outdated();
            let times = outdated.entry(id.clone()).or_insert(0_u8);
            *times = times.saturating_add(1);
            *times
        };
        if times == 2 {
            let place = self.parts.layer.source().word();
            tracing::error!(
                instance.id = %id,
                code = "live-copy-newer",
                "Instance {id} has a newer copy in {place} than the database: that was set back while {place} said nothing. Start the engine again, and it goes on from the copy, with new keys"
            );
        }
        times == 1
    }

    fn lock_ended(&self) -> MutexGuard<'_, BTreeSet<InstanceId>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_outdated(&self) -> MutexGuard<'_, BTreeMap<InstanceId, u8>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once that files take no copies, and once that they do again. Redis tells of itself.
    fn tell(&self, error: Option<&LayerError>) {
        let source = self.parts.layer.source();
        if source == Source::Redis || self.told.swap(error.is_some(), Ordering::Relaxed) == error.is_some() {
            return;
        }
        if let Some(error) = error {
            tracing::warn!(%error, "Copies of sessions cannot be written to {}; trying again", source.word());
        } else {
            tracing::info!("Copies of sessions can be written to {} again", source.word());
        }
    }

    /// Says every now and then which instances live, so that their copies do not grow old, and makes those that were lost: by a Redis that was
    /// flushed or started anew, or with a file that somebody has removed.
    async fn refresh(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(self.parts.policy.refresh_every) => {}
            }
            let all = self.parts.board.all().into_iter();
            let living: Vec<InstanceId> = all.filter(|(_, entry)| entry.status.paired).map(|(id, _)| id).collect();
            match self.parts.layer.refresh(&living).await {
                Ok(lost) => lost.iter().for_each(|id| self.changed(id, Change::Content)),
                Err(error) => tracing::debug!(%error, "Copies were not kept from growing old"),
            }
        }
    }

    fn waiting(&self) -> usize {
        self.lock().waiting() + self.under_way.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Mirror {
    fn changed(&self, id: &InstanceId, change: Change) {
        let now = self.parts.clock.now();
        match change {
            Change::Content => self.lock().add(id, now),
            Change::End => {
                self.lock_ended().insert(id.clone());
                self.lock().add_at_once(id, now);
            }
        }
        self.wake.notify_one();
    }
}

#[async_trait]
impl Copying for Mirror {
    fn figures(&self) -> CopyFigures {
        let backlog = self.lock();
        CopyFigures {
            source: self.parts.layer.source(),
            written: self.written.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            waiting: backlog.waiting() + self.under_way.load(Ordering::Relaxed),
            left_out: backlog.left_out(),
        }
    }

    async fn close(&self, within: Duration) -> usize {
        *self.within.lock().unwrap_or_else(PoisonError::into_inner) = within;
        self.closing.cancel();
        // A refresh may hang in a layer that does not answer.
        let _in_time = timeout(within, self.tasks.wait()).await;
        self.waiting()
    }
}
