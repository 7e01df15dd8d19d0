//! One try: read, sent, forgotten. What it was is small; what it carried may be large and ends here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use holdfast_core::delivery::Outcome;
use holdfast_core::delivery::origin::Origin;
use holdfast_core::id::InstanceId;
use tokio::time::sleep;
use tracing::error;

use super::STORE_RETRY;
use crate::failpoint::reach;
use crate::ports::address;
use crate::ports::chance;
use crate::ports::outbox::{Loaded, Settlement};
use crate::ports::sink::Sink;
use crate::ports::store::{Store, StoreError};

/// What came of a turn.
pub(super) enum Tried {
    /// Nothing waited, or not yet.
    Nothing,
    /// The delivery goes somewhere else than when it was chosen: another target, another turn.
    Moved,
    /// The store did not say what waits.
    Unread(StoreError),
    /// The row cannot be understood.
    Unreadable { seq: i64, why: String },
    /// It was tried.
    Made(Made),
}

/// A try that was made.
pub(super) struct Made {
    pub(super) seq: i64,
    pub(super) event: &'static str,
    /// Which try it was, counted from 1.
    pub(super) number: u32,
    /// Attempts that were used up before.
    pub(super) attempts: u32,
    /// Since when it waits, in Unix milliseconds.
    pub(super) waiting_ms: i64,
    pub(super) outcome: Outcome,
}

/// Tries the oldest delivery of an instance, if it is due and goes to this target.
pub(super) async fn attempt(
    store: Arc<dyn Store>,
    sink: Arc<dyn Sink>,
    instance: InstanceId,
    origin: Origin,
    now_ms: i64,
) -> Tried {
    let delivery = match store.next(&instance, now_ms).await {
        Ok(Loaded::Ready(delivery)) => delivery,
        Ok(Loaded::Nothing) => return Tried::Nothing,
        Ok(Loaded::Unreadable { seq, why }) => return Tried::Unreadable { seq, why },
        Err(cause) => return Tried::Unread(cause),
    };
    if address::origin(&delivery.target.url) != origin {
        return Tried::Moved;
    }
    reach!("deliver.before");
    let outcome = AssertUnwindSafe(sink.deliver(&delivery)).catch_unwind().await.unwrap_or_else(|_panic| {
        error!(instance.id = %instance, seq = delivery.seq, "A delivery ended in a crash");
        Outcome::Unsendable("an internal error, which the log tells of".to_owned())
    });
    reach!("deliver.after");
    Tried::Made(Made {
        seq: delivery.seq,
        event: delivery.event.name.dotted(),
        number: delivery.tries.saturating_add(1),
        attempts: delivery.attempts,
        waiting_ms: delivery.waiting_ms,
        outcome,
    })
}

/// Records how a delivery went. Until that is durable nothing else of the instance goes out, since it would be sent again.
pub(super) async fn settle(store: Arc<dyn Store>, seq: i64, settlement: Settlement) {
    let mut failures = 0;
    while let Err(cause) = store.settle(vec![(seq, settlement.clone())]).await {
        failures += 1;
        if failures == 1 {
            error!(error = &cause as &dyn std::error::Error, "A delivery could not be recorded; trying again");
        }
        sleep(STORE_RETRY.delay(failures, chance::unit())).await;
    }
    reach!("deliver.settled");
}
