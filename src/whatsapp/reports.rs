//! What goes from a link to its actor, in order.
//!
//! The library calls its event handlers synchronously, the actor's channel is bounded. Between the two stands a queue whose depth
//! the socket watches: it reads on only while there is room, so a slow actor slows its own socket and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use holdfast_core::connection::Event;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::ports::link::Report;

/// How many reports may wait before the socket stops reading.
const ROOM: usize = 256;

/// Something to tell, or something that has to be done before more is told.
enum Item {
    Tell(Report),
    First(BoxFuture<'static, Option<Report>>),
}

#[derive(Debug, Default)]
struct Depth {
    waiting: AtomicUsize,
    shrunk: Notify,
}

/// The queue of one driver.
#[derive(Clone)]
pub(super) struct Reports {
    queue: mpsc::UnboundedSender<Item>,
    depth: Arc<Depth>,
    actor: mpsc::Sender<Report>,
}

impl Reports {
    /// Starts to carry reports to the actor, until every clone of the queue is gone.
    pub(super) fn start(actor: mpsc::Sender<Report>, handle: &Handle) -> Self {
        let (queue, mut waiting) = mpsc::unbounded_channel();
        let depth = Arc::new(Depth::default());
        let reports = Self { queue, depth: Arc::clone(&depth), actor: actor.clone() };
        handle.spawn(async move {
            while let Some(item) = waiting.recv().await {
                let report = match item {
                    Item::Tell(report) => Some(report),
                    Item::First(work) => work.await,
                };
                if let Some(report) = report {
                    // An actor that is gone hears nothing more; the driver seals the link for it.
                    let _ = actor.send(report).await;
                }
                depth.waiting.fetch_sub(1, Ordering::AcqRel);
                depth.shrunk.notify_waiters();
            }
        });
        reports
    }

    pub(super) fn tell(&self, report: Report) {
        self.push(Item::Tell(report));
    }

    pub(super) fn fact(&self, event: Event) {
        self.tell(Report::Fact(event));
    }

    /// Does `work` before anything that is told later, and then tells what it returns.
    pub(super) fn after(&self, work: BoxFuture<'static, Option<Report>>) {
        self.push(Item::First(work));
    }

    fn push(&self, item: Item) {
        self.depth.waiting.fetch_add(1, Ordering::AcqRel);
        if self.queue.send(item).is_err() {
            self.depth.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        loop {
            let shrunk = self.depth.shrunk.notified();
            if self.depth.waiting.load(Ordering::Acquire) < ROOM {
                return;
            }
            shrunk.await;
        }
    }

    /// Waits until nobody listens any more.
    pub(super) async fn actor_gone(&self) {
        self.actor.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_core::id::LinkId;
    use holdfast_core::time::Timestamp;

    use super::*;

    #[tokio::test]
    async fn reports_keep_their_order_and_a_slow_actor_leaves_no_room() {
        let (actor, mut heard) = mpsc::channel(1);
        let reports = Reports::start(actor, &Handle::current());
        reports.after(Box::pin(async {
            tokio::task::yield_now().await;
            Some(Report::Fact(Event::Paired { link: LinkId(1) }))
        }));
        for _ in 0..ROOM {
            reports.fact(Event::Proof { link: LinkId(1), at: Timestamp::from_millis(1) });
        }
        assert!(tokio::time::timeout(Duration::from_millis(20), reports.room()).await.is_err());
        assert!(matches!(heard.recv().await, Some(Report::Fact(Event::Paired { .. }))));
        for _ in 0..ROOM {
            heard.recv().await.unwrap();
        }
        reports.room().await;
    }
}
