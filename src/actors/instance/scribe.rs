//! Writes the rows and events of one instance in the background, in order, so that its actor never waits for the database.
//!
//! What was not written yet is merged rather than queued: only the newest state, owner and wish matter. Events wait in a bounded
//! queue, from which the oldest are dropped and counted; messages do not pass here, they are durable before they are acknowledged.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use holdfast_core::backoff::Backoff;
use holdfast_core::connection::Desired;
use holdfast_core::connection::state::PublicState;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::InstanceId;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::failpoint::reach;
use crate::ports::chance;
use crate::ports::store::{InstancePatch, Store, StoreError};

/// Events that may wait for the database.
const EVENTS: usize = 256;
const RETRY: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// The writing end, the same for every incarnation of an instance and for those who speak for it while its actor does not. Dropping the
/// last one lets the background task finish what it can and end.
#[derive(Clone)]
pub struct Scribe(Arc<Handle>);

struct Handle {
    desk: Arc<Desk>,
}

struct Desk {
    pages: Mutex<Pages>,
    changed: Notify,
    /// A call of the store has panicked.
    crashed: Notify,
    instance: InstanceId,
    store: Arc<dyn Store>,
    /// The state that was last told, written or not.
    told: Mutex<PublicState>,
    /// How much of what was submitted is written, or need not be.
    done: watch::Sender<u64>,
}

#[derive(Default)]
struct Pages {
    closed: bool,
    /// The rows are another node's: nothing is written any more.
    given_up: bool,
    submitted: u64,
    archive: Option<&'static str>,
    archive_submitted: u64,
    desired: Option<Desired>,
    patch: Option<InstancePatch>,
    events: VecDeque<EngineEvent>,
    dropped: u64,
}

impl Pages {
    /// Queues an event, in the place of the oldest if too many wait.
    fn queue(&mut self, event: EngineEvent) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }
}

impl fmt::Debug for Scribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scribe").field(&self.0.desk.instance).finish()
    }
}

impl Scribe {
    /// Starts to write; `told` is the state that the row holds.
    pub(in crate::actors) fn start(
        instance: InstanceId,
        told: PublicState,
        store: Arc<dyn Store>,
        runtime: &Runtime,
    ) -> Self {
        let desk = Arc::new(Desk {
            pages: Mutex::default(),
            changed: Notify::new(),
            crashed: Notify::new(),
            instance,
            store,
            told: Mutex::new(told),
            done: watch::Sender::new(0),
        });
        runtime.spawn(work(Arc::clone(&desk)));
        Self(Arc::new(Handle { desk }))
    }

    /// Waits until a call of the store panics; what was not written then is tried again all the same.
    pub(super) fn crashed(&self) -> impl Future<Output = ()> + 'static {
        let desk = Arc::clone(&self.0.desk);
        async move { desk.crashed.notified().await }
    }

    pub(super) fn archive(&self, why: &'static str) {
        self.submit(|pages| {
            pages.archive = Some(why);
            pages.archive_submitted = pages.submitted;
        });
    }

    pub(in crate::actors) fn desire(&self, desired: Desired) {
        self.submit(|pages| pages.desired = Some(desired));
    }

    /// Returns the state that was last told, by whomever.
    pub(in crate::actors) fn told(&self) -> PublicState {
        *self.0.desk.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the row; the events of the change are written with it.
    pub(in crate::actors) fn patch(&self, mut patch: InstancePatch) {
        if let Some(state) = patch.connection_status {
            *self.0.desk.told.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }
        let events = std::mem::take(&mut patch.events);
        self.submit(|pages| {
            for event in events {
                pages.queue(event);
            }
            merge(pages.patch.get_or_insert_default(), patch);
        });
    }

    pub(in crate::actors) fn publish(&self, event: EngineEvent) {
        self.submit(|pages| pages.queue(event));
    }

    /// Forgets what is not written yet, and whatever comes: the rows are another node's. Nobody waits for it any more.
    pub(in crate::actors) fn give_up(&self) {
        let mut pages = self.0.desk.pages();
        *pages = Pages { closed: true, given_up: true, submitted: pages.submitted, ..Pages::default() };
        drop(pages);
        self.0.desk.has_done(u64::MAX);
        self.0.desk.changed.notify_one();
    }

    /// Tells whether no archiving is under way.
    pub(super) fn is_archived(&self) -> bool {
        *self.0.desk.done.borrow() >= self.0.desk.pages().archive_submitted
    }

    /// Waits until credentials that were to be archived are.
    pub(in crate::actors) fn archived(&self, within: Duration) -> impl Future<Output = bool> + 'static {
        let upto = self.0.desk.pages().archive_submitted;
        reached(self.0.desk.done.subscribe(), upto, within)
    }

    /// Waits until everything that was submitted is written.
    pub(in crate::actors) fn written(&self, within: Duration) -> impl Future<Output = bool> + 'static {
        let upto = self.0.desk.pages().submitted;
        reached(self.0.desk.done.subscribe(), upto, within)
    }

    fn submit(&self, write: impl FnOnce(&mut Pages)) {
        let mut pages = self.0.desk.pages();
        if pages.given_up {
            return;
        }
        pages.submitted += 1;
        write(&mut pages);
        drop(pages);
        self.0.desk.changed.notify_one();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.desk.pages().closed = true;
        self.desk.changed.notify_one();
    }
}

impl Desk {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this much of what was submitted need not be waited for.
    fn has_done(&self, upto: u64) {
        // What was given up stays so, whatever was under way at that moment.
        self.done.send_if_modified(|done| upto > std::mem::replace(done, upto.max(*done)));
    }

    async fn write(&self, pages: &mut Pages) -> Result<(), StoreError> {
        if let Some(why) = pages.archive {
            reach!("scribe.archive.before");
            self.store.archive(&self.instance, why).await?;
            reach!("scribe.archive.after");
            pages.archive = None;
        }
        if let Some(desired) = pages.desired {
            reach!("scribe.desired.before");
            self.store.set_desired(&self.instance, desired).await?;
            reach!("scribe.desired.after");
            pages.desired = None;
        }
        let events: Vec<EngineEvent> = pages.events.iter().cloned().collect();
        if let Some(patch) = &pages.patch {
            // The state and what tells of it: a restart finds both or neither.
            let telling = InstancePatch { events, ..patch.clone() };
            reach!("scribe.patch.before");
            if let Err(error) = self.store.patch(&self.instance, telling).await {
                // Events that cannot be queued, as for a webhook whose row is damaged, are no reason to keep an old state in the row: they wait.
                if matches!(error, StoreError::Corrupt { .. }) {
                    self.store.patch(&self.instance, patch.clone()).await?;
                    pages.patch = None;
                }
                return Err(error);
            }
            reach!("scribe.patch.after");
        } else if !events.is_empty() {
            reach!("scribe.events.before");
            self.store.append(&self.instance, events).await?;
            reach!("scribe.events.after");
        }
        (pages.patch, pages.events) = (None, VecDeque::new());
        Ok(())
    }
}

async fn reached(mut done: watch::Receiver<u64>, upto: u64, within: Duration) -> bool {
    matches!(timeout(within, done.wait_for(|done| *done >= upto)).await, Ok(Ok(_)))
}

async fn work(desk: Arc<Desk>) {
    let (mut failures, mut fenced_off) = (0, false);
    loop {
        let mut taken = {
            let mut pages = desk.pages();
            if pages.given_up {
                return;
            }
            let next = Pages {
                closed: pages.closed,
                submitted: pages.submitted,
                archive_submitted: pages.archive_submitted,
                ..Pages::default()
            };
            std::mem::replace(&mut *pages, next)
        };
        if taken.dropped > 0 {
            warn!(instance.id = %desk.instance, dropped = taken.dropped, "Events were dropped because the database was slow");
        }
        let written = AssertUnwindSafe(desk.write(&mut taken)).catch_unwind().await.unwrap_or_else(|_panic| {
            // Only the present incarnation is to hear of it, none that comes after.
            desk.crashed.notify_waiters();
            Err(StoreError::Unavailable { doing: "writing the rows of an instance", cause: "the call panicked".into() })
        });
        let written = match written {
            // What a former owner knows of the instance is not true any more; its new owner writes what is.
            Err(StoreError::FencedOff(_)) => {
                if !std::mem::replace(&mut fenced_off, true) {
                    warn!(instance.id = %desk.instance, "Another node owns instance {}: what was to be written here is dropped", desk.instance);
                }
                Ok(())
            }
            written => written,
        };
        match written {
            Ok(()) => {
                failures = 0;
                desk.has_done(taken.submitted);
                let idle = desk.pages().submitted == taken.submitted;
                if idle && desk.pages().closed {
                    return;
                }
                if idle {
                    desk.changed.notified().await;
                }
            }
            Err(StoreError::NoSuchInstance(_)) => {
                // Deleted meanwhile: there is nothing left to write to.
                desk.has_done(u64::MAX);
                return;
            }
            Err(cause) => {
                failures += 1;
                if failures == 1 {
                    error!(instance.id = %desk.instance, error = &cause as &dyn std::error::Error, "Rows of instance {} could not be written; trying again", desk.instance);
                }
                put_back(&mut desk.pages(), taken);
                if desk.pages().closed && failures > 3 {
                    return;
                }
                sleep(RETRY.delay(failures, chance::unit())).await;
            }
        }
    }
}

/// Lays what was not written under what came meanwhile.
fn put_back(pages: &mut Pages, mut unwritten: Pages) {
    if pages.given_up {
        return;
    }
    pages.archive = pages.archive.or(unwritten.archive);
    pages.desired = pages.desired.or(unwritten.desired);
    if let Some(mut older) = unwritten.patch.take() {
        if let Some(newer) = pages.patch.take() {
            merge(&mut older, newer);
        }
        pages.patch = Some(older);
    }
    while let Some(event) = unwritten.events.pop_back() {
        if pages.events.len() < EVENTS {
            pages.events.push_front(event);
        } else {
            pages.dropped += 1;
        }
    }
}

fn merge(older: &mut InstancePatch, newer: InstancePatch) {
    older.connection_status = newer.connection_status.or(older.connection_status);
    older.owner_jid = newer.owner_jid.or(older.owner_jid.take());
    older.profile_name = newer.profile_name.or(older.profile_name.take());
    older.profile_picture = newer.profile_picture.or(older.profile_picture.take());
    if newer.online_now {
        // It has come back since: a restart must not take the older end for the present one.
        older.disconnection = None;
    }
    older.disconnection = newer.disconnection.or(older.disconnection.take());
    older.online_now |= newer.online_now;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use holdfast_core::event::EventName;

    use super::*;
    use crate::actors::testing::store::MemoryStore;

    #[tokio::test]
    async fn nobody_waits_for_what_was_given_up() {
        let (store, id) = (Arc::new(MemoryStore::default()), InstanceId::new("i"));
        let scribe = Scribe::start(id, PublicState::Close, Arc::clone(&store) as _, &Runtime::current());
        store.set_down(true);
        scribe.desire(Desired::Connected);
        let waiting = tokio::spawn(scribe.written(Duration::from_secs(60)));
        assert!(!scribe.written(Duration::from_millis(50)).await, "the database takes nothing");
        scribe.give_up();
        assert!(waiting.await.unwrap());
        scribe.archive("logged-out");
        assert!(scribe.is_archived() && scribe.written(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn what_a_former_owner_was_to_write_is_dropped_and_not_tried_again() {
        let (store, id) = (Arc::new(MemoryStore::default()), InstanceId::new("i"));
        let scribe = Scribe::start(id, PublicState::Close, Arc::clone(&store) as _, &Runtime::current());
        store.fence_off(true);
        scribe.archive("logged-out");
        scribe.patch(InstancePatch { connection_status: Some(PublicState::Open), ..InstancePatch::default() });
        assert!(scribe.written(Duration::from_secs(5)).await);
        store.fence_off(false);
        scribe.desire(Desired::Connected);
        assert!(scribe.written(Duration::from_secs(5)).await);
        assert_eq!(store.written(), ["i wanted Connected"]);
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_cannot_be_queued_keep_no_old_state_in_the_row() {
        let (store, id) = (Arc::new(MemoryStore::default()), InstanceId::new("i"));
        let scribe = Scribe::start(id, PublicState::Close, Arc::clone(&store) as _, &Runtime::current());
        store.webhook_is_damaged.store(true, Ordering::Relaxed);
        scribe.patch(InstancePatch {
            connection_status: Some(PublicState::Open),
            events: vec![EngineEvent::bare(EventName::LogoutInstance)],
            ..InstancePatch::default()
        });
        assert!(!scribe.written(Duration::from_secs(60)).await, "the event waits");
        assert_eq!(store.written(), ["i is open"], "once");
        store.webhook_is_damaged.store(false, Ordering::Relaxed);
        assert!(scribe.written(Duration::from_secs(60)).await);
        assert_eq!(store.written(), ["i logout.instance"]);
    }
}
