//! Who writes to a layer after the database has: whoever commits says which instance has changed, and waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::id::InstanceId;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ports::clock::Clock;
use crate::ports::copies::Copies;
use crate::ports::layer::{Layer, LayerError};
use crate::ports::store::StoreError;

/// How a mirror goes about it.
#[derive(Debug, Clone, Copy)]
pub struct MirrorPolicy {
    /// The time between two rounds: what changes meanwhile is written once.
    pub every: Duration,
    /// The longest queue. What does not fit is left out, and comes with its next change.
    pub most: usize,
    /// How long the last round may take, at the end.
    pub last_round: Duration,
}

impl Default for MirrorPolicy {
    fn default() -> Self {
        Self { every: Duration::from_secs(2), most: 100_000, last_round: Duration::from_secs(3) }
    }
}

/// Sessions that are copied at once.
const BATCH: usize = 16;

/// Keeps the copies of a layer up to date. It is told what has changed, reads the newest state itself, and gives way to everything else.
pub struct Mirror {
    layer: Arc<dyn Layer>,
    copies: Arc<dyn Copies>,
    clock: Clock,
    policy: MirrorPolicy,
    backlog: Mutex<Backlog>,
    wake: Notify,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Mirror {
    /// Starts one on the shared runtime.
    pub fn start(
        layer: Arc<dyn Layer>,
        copies: Arc<dyn Copies>,
        clock: Clock,
        policy: MirrorPolicy,
        runtime: &Handle,
    ) -> Arc<Self> {
        let mirror = Arc::new(Self {
            layer,
            copies,
            clock,
            policy,
            backlog: Mutex::new(Backlog::new(policy.most)),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        mirror.tasks.spawn_on(Arc::clone(&mirror).run(), runtime);
        mirror.tasks.close();
        mirror
    }

    /// Notes that a session has changed. Never waits.
    pub fn changed(&self, id: &InstanceId) {
        self.lock().add(id, Wish::Written);
        self.wake.notify_one();
    }

    /// Notes that an instance, or its login, is gone. Never waits.
    pub fn gone(&self, id: &InstanceId) {
        self.lock().add(id, Wish::Removed);
        self.wake.notify_one();
    }

    /// Returns how many instances wait, and how many changes were left out because too many did.
    pub fn lag(&self) -> (usize, u64) {
        let backlog = self.lock();
        (backlog.waiting.len(), backlog.left_out)
    }

    /// Writes what waits, as far as its time allows, and ends.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.wait().await;
    }

    async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                () = self.wake.notified() => {}
            }
            self.round().await;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                () = tokio::time::sleep(self.policy.every) => {}
            }
            // What has failed waits, and nobody else would wake.
            if !self.lock().waiting.is_empty() {
                self.wake.notify_one();
            }
        }
        if timeout(self.policy.last_round, self.round()).await.is_err() || !self.lock().waiting.is_empty() {
            tracing::warn!(waiting = self.lock().waiting.len(), "Not all copies of sessions are up to date at the end");
        }
    }

    /// Goes once through what waits now.
    async fn round(&self) {
        let mut left = self.lock().waiting.len();
        while left > 0 {
            let batch = self.lock().take(BATCH.min(left));
            if batch.is_empty() {
                return;
            }
            left -= batch.len();
            let failed = self.write(&batch).await;
            let gave_up = failed.len() == batch.len();
            let mut backlog = self.lock();
            for (id, wish) in failed {
                backlog.put_back(id, wish);
            }
            if gave_up {
                return;
            }
        }
    }

    /// Does what a batch wants, and returns what failed and is worth another try.
    async fn write(&self, batch: &[(InstanceId, Wish)]) -> Vec<(InstanceId, Wish)> {
        let written: Vec<InstanceId> =
            batch.iter().filter(|(_, wish)| *wish == Wish::Written).map(|(id, _)| id.clone()).collect();
        let mut removed: BTreeSet<InstanceId> =
            batch.iter().filter(|(_, wish)| *wish == Wish::Removed).map(|(id, _)| id.clone()).collect();
        let mut failed = Vec::new();
        let copies = if written.is_empty() {
            Ok(Vec::new())
        } else {
            self.copies.export_many(&written, self.clock.wall()).await
        };
        match copies {
            Ok(copies) => {
                // Whoever is not among them is gone.
                let mut unknown: BTreeSet<InstanceId> = written.into_iter().collect();
                for (id, copy) in copies {
                    unknown.remove(&id);
                    match copy {
                        Ok(Some(copy)) => match self.layer.write(&copy).await {
                            Ok(()) => {}
                            Err(LayerError::Unfit { layer, why }) => {
                                tracing::error!(instance.id = %id, why, "{layer} cannot keep a copy of instance {id}");
                            }
                            Err(LayerError::Unavailable { .. } | LayerError::LeftAlone { .. }) => {
                                failed.push((id, Wish::Written));
                            }
                        },
                        Ok(None) => {
                            removed.insert(id);
                        }
                        // A copy elsewhere may be all that is left of it: it stays.
                        Err(StoreError::Corrupt { what, .. }) => {
                            tracing::error!(instance.id = %id, what, "Instance {id} is damaged in the database, and its copies are left as they are");
                        }
                        Err(error) => {
                            tracing::debug!(instance.id = %id, %error, "Instance {id} was not copied");
                            failed.push((id, Wish::Written));
                        }
                    }
                }
                removed.append(&mut unknown);
            }
            Err(error) => {
                tracing::debug!(%error, "Sessions were not copied");
                failed.extend(written.into_iter().map(|id| (id, Wish::Written)));
            }
        }
        for id in removed {
            if self.layer.remove(&id).await.is_err() {
                failed.push((id, Wish::Removed));
            }
        }
        failed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to become of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Written,
    Removed,
}

/// The instances that wait, each once, the longest waiting first.
struct Backlog {
    waiting: BTreeMap<InstanceId, (u64, Wish)>,
    order: BTreeMap<u64, InstanceId>,
    next: u64,
    most: usize,
    left_out: u64,
}

impl Backlog {
    fn new(most: usize) -> Self {
        Self { waiting: BTreeMap::new(), order: BTreeMap::new(), next: 0, most, left_out: 0 }
    }

    /// Adds a wish. The latest one of an instance counts, at the place of the first.
    fn add(&mut self, id: &InstanceId, wish: Wish) {
        if let Some((_, waiting)) = self.waiting.get_mut(id) {
            *waiting = wish;
            return;
        }
        if self.waiting.len() >= self.most {
            self.left_out += 1;
            return;
        }
        self.waiting.insert(id.clone(), (self.next, wish));
        self.order.insert(self.next, id.clone());
        self.next += 1;
    }

    /// Takes those that wait longest.
    fn take(&mut self, most: usize) -> Vec<(InstanceId, Wish)> {
        let mut taken = Vec::with_capacity(most);
        while taken.len() < most
            && let Some((_, id)) = self.order.pop_first()
        {
            if let Some((_, wish)) = self.waiting.remove(&id) {
                taken.push((id, wish));
            }
        }
        taken
    }

    /// Puts back what failed, unless something newer is wanted by now.
    fn put_back(&mut self, id: InstanceId, wish: Wish) {
        if !self.waiting.contains_key(&id) {
            self.add(&id, wish);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> InstanceId {
        InstanceId::new(name)
    }

    #[test]
    fn an_instance_waits_once_and_its_latest_wish_counts() {
        let mut backlog = Backlog::new(10);
        backlog.add(&id("shop"), Wish::Written);
        backlog.add(&id("cafe"), Wish::Written);
        backlog.add(&id("shop"), Wish::Written);
        backlog.add(&id("shop"), Wish::Removed);
        assert_eq!(backlog.take(1), [(id("shop"), Wish::Removed)]);
        // What failed gives way to what came meanwhile.
        backlog.add(&id("shop"), Wish::Written);
        backlog.put_back(id("shop"), Wish::Removed);
        assert_eq!(backlog.take(5), [(id("cafe"), Wish::Written), (id("shop"), Wish::Written)]);
        assert!(backlog.take(5).is_empty());
    }

    #[test]
    fn a_full_queue_leaves_out_and_counts() {
        let mut backlog = Backlog::new(1);
        backlog.add(&id("shop"), Wish::Written);
        backlog.add(&id("cafe"), Wish::Written);
        backlog.add(&id("shop"), Wish::Removed);
        assert_eq!((backlog.take(5), backlog.left_out), (vec![(id("shop"), Wish::Removed)], 1));
    }
}
