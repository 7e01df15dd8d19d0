//! The readers: each read has a connection to itself. It is done whether or not anybody still waits, and a caller on another runtime waits
//! for a message alone.

use std::sync::Arc;

use diesel::result::Error as DieselError;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dialect::Conn;
use super::pool::{Pool, Taken};
use super::sql::group::{CLOSED, QUEUE, planned};
use crate::failpoint::fails;
use crate::ports::store::StoreError;
use crate::store::failure::{Failure, unavailable};

/// One snapshot for all that a read looks at.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What a read sees of what others write meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// One moment, in all its statements: they are in a transaction.
    Moment,
    /// Each statement sees its own moment: a read of one statement needs no transaction, and each is a way over the network.
    Moments,
}

/// The way to the readers.
pub(super) struct Readers {
    pool: Pool,
    /// Whether a connection of ours is one of the server's for longer than a transaction.
    direct: bool,
    /// Places for reads that wait.
    places: Arc<Semaphore>,
    runtime: Handle,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Readers {
    pub(super) fn new(
        pool: Pool,
        direct: bool,
        runtime: Handle,
        closing: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { pool, direct, places: Arc::new(Semaphore::new(QUEUE)), runtime, closing, tasks }
    }

    /// Reads. It is done anew where the connection turns out to have ended.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        view: View,
        doing: &'static str,
        read: impl Fn(&mut Conn) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        if self.closing.is_cancelled() {
            return Err(unavailable(doing, CLOSED));
        }
        let (reply, answer) = oneshot::channel();
        let view = if self.direct { view } else { View::Moment };
        let (pool, read) = (self.pool.clone(), Arc::new(read));
        let reading = async move {
            let _place = place;
            let mut question = Question { doing, read, reply };
            let mut tries = pool.size();
            loop {
                let link = match view {
                    View::Moment => pool.begin(doing, SNAPSHOT).await,
                    View::Moments => pool.engage(doing).await,
                };
                match link {
                    Ok(link) => match ask(&pool, link, view, question, tries > 0).await {
                        Some(unanswered) => question = unanswered,
                        None => return,
                    },
                    Err(error) => {
                        question.answer(Err(error.into()));
                        return;
                    }
                }
                tries -= 1;
            }
        };
        self.tasks.spawn_on(reading, &self.runtime);
        answer.await.unwrap_or_else(|_gone| Err(unavailable(doing, "the reader stopped before it answered")))
    }
}

struct Question<T, R> {
    doing: &'static str,
    read: Arc<R>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, R> Question<T, R> {
    fn answer(self, result: Result<T, Failure>) {
        let _nobody_waits = self.reply.send(result.map_err(|failure| failure.doing(self.doing)));
    }
}

/// Asks a connection; returns the question if the connection had ended, and there may be a better one.
async fn ask<T, R>(
    pool: &Pool,
    mut link: Taken,
    view: View,
    question: Question<T, R>,
    again: bool,
) -> Option<Question<T, R>>
where
    T: Send + 'static,
    R: Fn(&mut Conn) -> Result<T, Failure> + Send + Sync + 'static,
{
    let watch = link.watch();
    // A read that panics drops its reply and the link, which is engaged still and thus never used again.
    let work = tokio::task::spawn_blocking(move || {
        match planned(fails("store.read")).map_err(Failure::from).and_then(|()| (question.read)(&mut link.conn)) {
            Err(Failure::Driver(error @ DieselError::DatabaseError(..))) => (link, Some((question, error))),
            result => {
                link.engage(view == View::Moment);
                question.answer(result);
                (link, None)
            }
        }
    });
    let done = watch.wait_for(work).await;
    if watch.has_cut() {
        pool.forget_idle();
    }
    match done.ok()? {
        (_, Some((question, _ended))) if again && !watch.has_cut() && watch.has_ended().await => Some(question),
        (_, Some((question, error))) => {
            question.answer(Err(error.into()));
            None
        }
        (mut link, None) => {
            if view == View::Moment {
                let ended = link.execute("ROLLBACK").await;
                link.engage(ended.is_err());
            }
            None
        }
    }
}
