//! Jobs, and the group of them that shares one transaction.
//!
//! A commit costs a wait for the disk, whatever is in it. Jobs that arrive during one share the next, so throughput grows with the load
//! while a lonely job waits for nobody. Each of several jobs has a savepoint of its own: one that fails takes nothing of the others with it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use holdfast_core::id::InstanceId;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::Conn;
use crate::failpoint::{fails, reach};
use crate::ports::changes::Change;
use crate::ports::clock::Clock;
use crate::ports::store::StoreError;
use crate::store::failure::{Failure, driver, told, unavailable};
use crate::store::{Retention, Stats};

/// Jobs that may wait; a caller beyond that waits at the door.
pub(in crate::store) const QUEUE: usize = 1024;
/// Jobs in one transaction.
pub(in crate::store) const MOST: usize = 256;
/// What a job is answered that came too late.
pub(in crate::store) const CLOSED: &str = "the store is closed";

/// What a job works with.
pub(in crate::store) struct Tx<'c> {
    pub(in crate::store) conn: &'c mut Conn,
    /// The time of everything that the job writes.
    pub(super) now: DateTime<Utc>,
    /// Rows added to the outbox so far.
    pub(super) queued: usize,
    /// Instances of which a copy would be another one now.
    pub(super) changed: Vec<(InstanceId, Change)>,
}

/// What the jobs of a group have done.
#[derive(Debug, Default)]
pub(in crate::store) struct Written {
    /// Rows added to the outbox.
    pub(in crate::store) queued: usize,
    /// Instances that have changed.
    pub(in crate::store) changed: Vec<(InstanceId, Change)>,
}

impl Tx<'_> {
    /// Returns the time in Unix milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        self.now.timestamp_millis()
    }

    /// The same; 0 before 1970.
    pub(super) fn unix_ms(&self) -> u64 {
        u64::try_from(self.now_ms()).unwrap_or_default()
    }
}

/// Which jobs run one after the other, in the order in which they were submitted: those of one instance always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Lane(u64);

impl Lane {
    /// For work that belongs to no instance alone.
    pub(in crate::store) const ANY: Self = Self(0);

    /// Returns the lane of an instance.
    pub(in crate::store) fn of(id: &InstanceId) -> Self {
        let mut hasher = DefaultHasher::new();
        id.as_str().hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Chooses one of so many.
    fn choose<T>(self, lanes: &[T]) -> Option<&T> {
        lanes.get((self.0 % lanes.len().max(1) as u64) as usize)
    }
}

/// Submits a job and waits until it is on disk. Once submitted it is done, whether or not anybody still waits.
pub(in crate::store) async fn submit<T: Send + 'static>(
    lanes: &[mpsc::Sender<Box<dyn Job>>],
    lane: Lane,
    doing: &'static str,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    let Some(jobs) = lane.choose(lanes) else { return Err(unavailable(doing, CLOSED)) };
    let (job, answer) = job(lane, doing, work);
    // Handed over at the first poll if there is room, even to a caller that has used its share of the thread up.
    match jobs.try_send(job) {
        Ok(()) => {}
        Err(TrySendError::Full(job)) => jobs.send(job).await.map_err(|_closed| unavailable(doing, CLOSED))?,
        Err(TrySendError::Closed(_)) => return Err(unavailable(doing, CLOSED)),
    }
    answer.await.unwrap_or_else(|_gone| Err(unavailable(doing, "the writer stopped before it answered")))
}

type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

fn job<T: Send + 'static>(
    lane: Lane,
    doing: &'static str,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> (Box<dyn Job>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Typed { lane, doing, work: Some(work), outcome: None, reply }), answer)
}

/// The job that forgets what is kept only for a look back.
pub(in crate::store) fn housekeeping(retention: Retention) -> Box<dyn Job> {
    let work = move |tx: &mut Tx<'_>| {
        super::housekeeping::prune(tx, &retention).inspect_err(|error| tracing::warn!(?error, "Pruning failed"))
    };
    let (job, _nobody_waits) = job(Lane::ANY, "pruning", work);
    job
}

/// A piece of work with an answer, its type hidden.
pub(in crate::store) trait Job: Send {
    /// Returns its lane.
    fn lane(&self) -> Lane;
    /// Does the work. If it errs, it is to be undone; the error tells people why.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), String>;
    /// Answers, once it is known whether the transaction is on disk.
    fn answer(self: Box<Self>, committed: Result<(), &DieselError>);
}

struct Typed<T, W> {
    lane: Lane,
    doing: &'static str,
    work: Option<W>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, W: FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send> Job for Typed<T, W> {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), String> {
        let Some(work) = self.work.take() else { return Err("it has run already".to_owned()) };
        let outcome = match catch_unwind(AssertUnwindSafe(|| work(tx))) {
            Ok(outcome) => outcome.map_err(|failure| failure.doing(self.doing)),
            Err(_panic) => Err(unavailable(self.doing, "the work panicked")),
        };
        self.outcome.insert(outcome).as_ref().map(drop).map_err(told)
    }

    fn answer(self: Box<Self>, committed: Result<(), &DieselError>) {
        let answer = match (committed, self.outcome) {
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(error), _) => Err(driver(self.doing, error)),
            (Ok(()), None) => Err(unavailable(self.doing, "the writer left it out")),
        };
        // Whoever asked may have stopped waiting; the work is done all the same.
        let _nobody_waits = self.reply.send(answer);
    }
}

/// Answers all of them.
pub(in crate::store) fn answer(jobs: Vec<Box<dyn Job>>, committed: Result<(), &DieselError>) {
    reach!("store.answers.before");
    for job in jobs {
        job.answer(committed);
    }
    reach!("store.answers.after");
}

/// Counts what was written, for tests and metrics.
#[derive(Debug, Default)]
pub(in crate::store) struct Counters {
    transactions: AtomicU64,
    jobs: AtomicU64,
}

impl Counters {
    /// Notes one transaction.
    pub(in crate::store) fn count(&self, jobs: usize) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
    }

    /// Returns the counts.
    pub(in crate::store) fn stats(&self) -> Stats {
        Stats { transactions: self.transactions.load(Ordering::Relaxed), jobs: self.jobs.load(Ordering::Relaxed) }
    }
}

/// Runs the jobs in the transaction that was begun, and returns what they have done. If this errs, nothing of any of them is kept.
pub(in crate::store) fn run(conn: &mut Conn, clock: Clock, jobs: &mut [Box<dyn Job>]) -> QueryResult<Written> {
    let result = match jobs {
        [job] => run_alone(conn, clock, job.as_mut()),
        several => {
            // Everywhere in the same order, because each keeps its rows until all have ended: nodes that write the same instances at the same
            // time, as when they take the same copies in, do not wait in a circle.
            several.sort_by_key(|job| job.lane());
            run_jobs(conn, clock, several).and_then(|written| commit(conn).map(|()| written))
        }
    };
    if result.is_err() {
        // After a full disk or a failed write SQLite may have rolled back by itself; then this errs, and that is fine.
        let _already_rolled_back = conn.batch_execute("ROLLBACK");
    }
    result
}

fn commit(conn: &mut Conn) -> QueryResult<()> {
    reach!("store.commit.before");
    planned(fails("store.commit"))?;
    conn.batch_execute("COMMIT")?;
    reach!("store.commit.after");
    planned(fails("store.committed"))
}

/// The error of an operation that a test lets fail.
pub(in crate::store) fn planned(fails: bool) -> QueryResult<()> {
    if fails { Err(DieselError::QueryBuilderError("a test wants it so".into())) } else { Ok(()) }
}

/// Runs the only job: the transaction is its savepoint, because each statement may be a way over the network.
fn run_alone(conn: &mut Conn, clock: Clock, job: &mut dyn Job) -> QueryResult<Written> {
    let mut tx = Tx { conn, now: clock.wall(), queued: 0, changed: Vec::new() };
    match job.run(&mut tx) {
        Ok(()) => {
            let written = Written { queued: tx.queued, changed: tx.changed };
            reach!("store.job.done");
            commit(conn).map(|()| written)
        }
        Err(why) => {
            conn.batch_execute("ROLLBACK").map_err(|_no_transaction| DieselError::QueryBuilderError(why.into()))?;
            Ok(Written::default())
        }
    }
}

fn run_jobs(conn: &mut Conn, clock: Clock, jobs: &mut [Box<dyn Job>]) -> QueryResult<Written> {
    let mut written = Written::default();
    // The savepoint of the last job ends with the transaction, or where the next one begins, to save the way over the network.
    let mut savepoint = "SAVEPOINT job";
    for job in jobs {
        conn.batch_execute(savepoint)?;
        savepoint = "RELEASE job; SAVEPOINT job";
        let mut tx = Tx { conn, now: clock.wall(), queued: 0, changed: Vec::new() };
        match job.run(&mut tx) {
            Ok(()) => {
                written.queued += tx.queued;
                written.changed.append(&mut tx.changed);
                reach!("store.job.done");
            }
            Err(why) => conn.batch_execute("ROLLBACK TO job").map_err(|_no_savepoint| {
                // SQLite has given the whole transaction up, as on a full disk, or the connection has ended. The group ends here: what
                // followed would commit by itself.
                DieselError::QueryBuilderError(why.into())
            })?,
        }
    }
    Ok(written)
}
