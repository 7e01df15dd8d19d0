//! A few connections that read, beside the writer.

use std::sync::Arc;

use diesel::prelude::*;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Role, connect, disconnect};
use super::sql::group::{CLOSED, QUEUE, planned};
use crate::failpoint::fails;
use crate::ports::store::StoreError;
use crate::store::failure::{Failure, unavailable};

/// Connections that read. More would only wait for the same cores.
pub(super) const COUNT: usize = 3;

/// Reads, answers, and tells whether the connection can go on; without a connection it answers that there is none.
pub(super) type ReadJob = Box<dyn FnOnce(Result<&mut SqliteConnection, StoreError>) -> bool + Send>;
pub(super) type ReadJobs = Arc<Mutex<mpsc::Receiver<ReadJob>>>;

/// The way to the readers.
pub(super) struct Readers {
    jobs: mpsc::Sender<ReadJob>,
}

impl Readers {
    pub(super) fn new() -> (Self, ReadJobs) {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        (Self { jobs }, Arc::new(Mutex::new(receiver)))
    }

    /// Reads.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |conn| {
            let result = match conn {
                Ok(conn) => planned(fails("store.read")).map_err(Failure::from).and_then(|()| read(conn)),
                Err(error) => Err(Failure::Store(error)),
            };
            let usable = !matches!(result, Err(Failure::Driver(_)));
            let _nobody_waits = reply.send(result.map_err(|failure| failure.doing(doing)));
            usable
        });
        self.jobs.send(job).await.map_err(|_closed| unavailable(doing, CLOSED))?;
        answer.await.unwrap_or_else(|_gone| Err(unavailable(doing, "the reader stopped before it answered")))
    }
}

/// Serves reads until the store is closed or nobody can submit any.
pub(super) async fn serve(path: String, connection: Connection, jobs: ReadJobs, closing: CancellationToken) {
    let mut connection = Some(connection);
    while let Some(job) = next(&jobs, &closing).await {
        connection = match connection {
            Some(connection) => Some(connection),
            None => match connect(&path, Role::Reader).await {
                Ok(connection) => Some(connection),
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            },
        };
        if let Some(conn) = connection.as_mut() {
            // A job that panics has dropped its reply, so its caller knows; the connection may be in the middle of anything.
            let usable = conn.spawn_blocking(move |conn| Ok(job(Ok(conn)))).await.unwrap_or(false);
            if !usable && let Some(broken) = connection.take() {
                disconnect(broken).await;
            }
        }
    }
    if let Some(connection) = connection {
        disconnect(connection).await;
    }
}

/// Takes a job. The readers wait for the lock in turn, and its holder waits for the job.
async fn next(jobs: &ReadJobs, closing: &CancellationToken) -> Option<ReadJob> {
    let mut jobs = jobs.lock().await;
    if !jobs.is_closed() {
        tokio::select! {
            biased;
            () = closing.cancelled() => jobs.close(),
            job = jobs.recv() => return job,
        }
    }
    jobs.recv().await
}
