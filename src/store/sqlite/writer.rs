//! The one writer: takes whatever jobs wait, runs them in one transaction, and answers all of them once it is on disk.
//!
//! A commit costs a wait for the disk, whatever is in it. Jobs that arrive during one share the next, so throughput grows with the load
//! while a lonely job waits for nobody. Each job has a savepoint of its own: one that fails takes nothing of the others with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Role, connect, disconnect};
use super::housekeeping;
use crate::failpoint::{fails, reach};
use crate::ports::clock::Clock;
use crate::ports::store::StoreError;
use crate::store::Retention;
use crate::store::failure::{Failure, driver, told, unavailable};

/// Jobs that may wait; a caller beyond that waits at the door.
const QUEUE: usize = 1024;
const CLOSED: &str = "the store is closed";
/// Jobs in one transaction.
const MOST: usize = 256;

/// What a job works with.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c mut SqliteConnection,
    /// The time of everything that the job writes.
    pub(super) now: DateTime<Utc>,
    /// Rows added to the outbox so far.
    pub(super) queued: usize,
}

impl Tx<'_> {
    /// Returns the time in Unix milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        self.now.timestamp_millis()
    }
}

/// The way to the writer.
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    pub(super) fn new() -> (Self, mpsc::Receiver<Box<dyn Job>>) {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        (Self { jobs }, receiver)
    }

    /// Submits a job and waits until it is on disk. Once submitted it is done, whether or not anybody still waits.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Typed { doing, work: Some(work), outcome: None, reply });
        // Handed over at the first poll if there is room, even to a caller that has used its share of the thread up.
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => self.jobs.send(job).await.map_err(|_closed| unavailable(doing, CLOSED))?,
            Err(TrySendError::Closed(_)) => return Err(unavailable(doing, CLOSED)),
        }
        answer.await.unwrap_or_else(|_gone| Err(unavailable(doing, "the writer stopped before it answered")))
    }
}

/// A piece of work with an answer, its type hidden.
pub(super) trait Job: Send {
    /// Does the work. If it errs, it is to be undone; the error tells people why.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), String>;
    /// Answers, once it is known whether the transaction is on disk.
    fn answer(self: Box<Self>, committed: Result<(), &DieselError>);
}

struct Typed<T, W> {
    doing: &'static str,
    work: Option<W>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, W: FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send> Job for Typed<T, W> {
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

/// How much was written, for tests and metrics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) transactions: AtomicU64,
    pub(super) jobs: AtomicU64,
}

/// What the writer's task needs.
pub(super) struct WriterTask {
    pub(super) path: String,
    pub(super) clock: Clock,
    pub(super) retention: Retention,
    pub(super) appended: Arc<Notify>,
    pub(super) counters: Arc<Counters>,
    pub(super) closing: CancellationToken,
}

impl WriterTask {
    /// Serves jobs until the store is closed or nobody can submit any.
    pub(super) async fn run(self, connection: Connection, mut receiver: mpsc::Receiver<Box<dyn Job>>) {
        let mut connection = Some(connection);
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
                _ = cleaning.tick() => jobs.push(self.housekeeping()),
                taken = receiver.recv_many(&mut jobs, MOST) => if taken == 0 { break },
            }
            connection = self.serve(connection.take(), std::mem::take(&mut jobs)).await;
        }
        if let Some(mut connection) = connection {
            let folded = connection.spawn_blocking(|conn| conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")).await;
            reach!("store.folded");
            if let Err(error) = folded {
                tracing::warn!(%error, "Folding the write-ahead log back failed; the next start does it");
            }
            disconnect(connection).await;
        }
    }

    /// Runs one group, and returns the connection unless it has to be replaced.
    async fn serve(&self, connection: Option<Connection>, jobs: Vec<Box<dyn Job>>) -> Option<Connection> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => match connect(&self.path, Role::Writer).await {
                Ok(connection) => connection,
                Err(error) => {
                    let error = DieselError::QueryBuilderError(told(&error).into());
                    for job in jobs {
                        job.answer(Err(&error));
                    }
                    return None;
                }
            },
        };
        let (clock, appended, counters) = (self.clock, Arc::clone(&self.appended), Arc::clone(&self.counters));
        let group = move |conn: &mut SqliteConnection| {
            let mut jobs = jobs;
            let result = run_group(conn, clock, &mut jobs);
            counters.transactions.fetch_add(1, Ordering::Relaxed);
            counters.jobs.fetch_add(jobs.len() as u64, Ordering::Relaxed);
            let committed = result.as_ref().map(|_queued| ());
            reach!("store.answers.before");
            for job in jobs {
                job.answer(committed);
            }
            reach!("store.answers.after");
            if result.as_ref().is_ok_and(|queued| *queued > 0) {
                appended.notify_one();
            }
            result
        };
        match connection.spawn_blocking(group).await {
            Ok(_queued) => Some(connection),
            Err(error) => {
                tracing::error!(%error, "A transaction failed; its callers were told, and the connection is replaced");
                disconnect(connection).await;
                None
            }
        }
    }

    fn housekeeping(&self) -> Box<dyn Job> {
        let retention = self.retention;
        let (reply, _nobody_waits) = oneshot::channel();
        let work = move |tx: &mut Tx<'_>| {
            housekeeping::prune(tx, &retention).inspect_err(|error| tracing::warn!(?error, "Pruning failed"))
        };
        Box::new(Typed { doing: "pruning", work: Some(work), outcome: None, reply })
    }
}

/// Runs the jobs in one transaction, and returns how many rows they added to the outbox. If this errs, nothing of any of them is kept.
fn run_group(conn: &mut SqliteConnection, clock: Clock, jobs: &mut [Box<dyn Job>]) -> QueryResult<usize> {
    reach!("store.begin.before");
    planned(fails("store.begin"))?;
    conn.batch_execute("BEGIN IMMEDIATE")?;
    reach!("store.begin.after");
    let result = run_jobs(conn, clock, jobs).and_then(|queued| commit(conn).map(|()| queued));
    if result.is_err() {
        // After a full disk or a failed write SQLite may have rolled back by itself; then this errs, and that is fine.
        let _already_rolled_back = conn.batch_execute("ROLLBACK");
    }
    result
}

fn commit(conn: &mut SqliteConnection) -> QueryResult<()> {
    reach!("store.commit.before");
    planned(fails("store.commit"))?;
    conn.batch_execute("COMMIT")?;
    reach!("store.commit.after");
    planned(fails("store.committed"))
}

/// The error of an operation that a test lets fail.
pub(super) fn planned(fails: bool) -> QueryResult<()> {
    if fails { Err(DieselError::QueryBuilderError("a test wants it so".into())) } else { Ok(()) }
}

fn run_jobs(conn: &mut SqliteConnection, clock: Clock, jobs: &mut [Box<dyn Job>]) -> QueryResult<usize> {
    let mut queued = 0;
    for job in jobs {
        conn.batch_execute("SAVEPOINT job")?;
        let mut tx = Tx { conn, now: clock.wall(), queued: 0 };
        match job.run(&mut tx) {
            Ok(()) => {
                queued += tx.queued;
                reach!("store.job.done");
                conn.batch_execute("RELEASE job")?;
            }
            Err(why) => conn.batch_execute("ROLLBACK TO job; RELEASE job").map_err(|_no_savepoint| {
                // SQLite has given the whole transaction up, as on a full disk. The group ends here: what followed would commit by itself.
                DieselError::QueryBuilderError(why.into())
            })?,
        }
    }
    Ok(queued)
}
