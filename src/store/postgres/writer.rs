//! The writers: as many lanes as share the pool with the readers. All jobs of an instance take the same lane, so they run in the order
//! in which they were submitted; jobs that wait in a lane share one transaction.

use std::sync::Arc;

use diesel::result::Error as DieselError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use super::sql::group::{self, Counters, Job};
use super::sql::housekeeping;
use crate::ports::changes::Changes;
use crate::ports::clock::Clock;
use crate::store::Retention;
use crate::store::failure::told;

const DOING: &str = "beginning a transaction";

/// How many lanes there are in a pool of this size: two thirds of it, and the rest is for readers alone.
pub(super) fn lanes(pool: usize) -> usize {
    (pool * 2 / 3).max(1)
}

/// What the task of a lane needs.
#[derive(Clone)]
pub(super) struct LaneTask {
    pub(super) pool: Pool,
    /// Jobs in one transaction.
    pub(super) most: usize,
    pub(super) clock: Clock,
    /// For the lane that also cleans up.
    pub(super) retention: Option<Retention>,
    pub(super) appended: Arc<Notify>,
    pub(super) changes: Arc<Changes>,
    pub(super) counters: Arc<Counters>,
    pub(super) closing: CancellationToken,
}

impl LaneTask {
    /// Serves jobs until the store is closed or nobody can submit any.
    pub(super) async fn run(self, mut receiver: mpsc::Receiver<Box<dyn Job>>) {
        let mut cleaning = tokio::time::interval(housekeeping::EVERY);
        cleaning.reset();
        let mut jobs: Vec<Box<dyn Job>> = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled(), if !receiver.is_closed() => {
                    receiver.close();
                    continue;
                }
                _ = cleaning.tick() => match self.retention {
                    Some(retention) => jobs.push(group::housekeeping(retention)),
                    None => continue,
                },
                taken = receiver.recv_many(&mut jobs, self.most) => if taken == 0 { break },
            }
            self.serve(std::mem::take(&mut jobs)).await;
        }
    }

    /// Runs one group.
    async fn serve(&self, mut jobs: Vec<Box<dyn Job>>) {
        let mut link = match self.pool.begin(DOING, super::dialect::BEGIN).await {
            Ok(link) => link,
            Err(error) => {
                group::answer(jobs, Err(&DieselError::QueryBuilderError(told(&error).into())));
                return;
            }
        };
        let (clock, counters) = (self.clock, Arc::clone(&self.counters));
        let (appended, changes) = (Arc::clone(&self.appended), Arc::clone(&self.changes));
        let watch = link.watch();
        let group = tokio::task::spawn_blocking(move || {
            let result = group::run(&mut link.conn, clock, &mut jobs);
            // A group that failed may have left anything behind.
            link.engage(result.is_err());
            drop(link);
            counters.count(jobs.len());
            // Before its callers know: whoever was told does not see it reported anew.
            if let Ok(written) = &result {
                changes.note(&written.changed);
                if written.queued > 0 {
                    appended.notify_one();
                }
            }
            group::answer(jobs, result.as_ref().map(|_written| ()));
            if let Err(error) = result {
                tracing::warn!(%error, "A transaction failed; its callers were told, and the connection is replaced");
            }
        });
        if let Err(error) = watch.wait_for(group).await {
            tracing::error!(%error, "A transaction was not finished");
        }
        if watch.has_cut() {
            self.pool.forget_idle();
        }
    }
}
