//! The one writer: takes whatever jobs wait, runs them in one transaction, and answers all of them once it is on disk.

use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Role, connect, disconnect};
use super::dialect::BEGIN;
use super::sql::group::{self, Counters, Job, MOST};
use super::sql::housekeeping;
use crate::failpoint::{fails, reach};
use crate::ports::changes::Changes;
use crate::ports::clock::Clock;
use crate::store::Retention;
use crate::store::failure::told;

/// What the writer's task needs.
pub(super) struct WriterTask {
    pub(super) path: String,
    pub(super) clock: Clock,
    pub(super) retention: Retention,
    pub(super) appended: Arc<Notify>,
    pub(super) changes: Arc<Changes>,
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
                _ = cleaning.tick() => jobs.push(group::housekeeping(self.retention)),
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
                    group::answer(jobs, Err(&DieselError::QueryBuilderError(told(&error).into())));
                    return None;
                }
            },
        };
        let (clock, counters) = (self.clock, Arc::clone(&self.counters));
        let (appended, changes) = (Arc::clone(&self.appended), Arc::clone(&self.changes));
        let group = move |conn: &mut SqliteConnection| {
            let mut jobs = jobs;
            let result = begin(conn).and_then(|()| group::run(conn, clock, &mut jobs));
            counters.count(jobs.len());
            // Before its callers know: whoever was told does not see it reported anew.
            if let Ok(written) = &result {
                changes.note(&written.changed);
                if written.queued > 0 {
                    appended.notify_one();
                }
            }
            group::answer(jobs, result.as_ref().map(|_written| ()));
            result
        };
        match connection.spawn_blocking(group).await {
            Ok(_written) => Some(connection),
            Err(error) => {
                tracing::error!(%error, "A transaction failed; its callers were told, and the connection is replaced");
                disconnect(connection).await;
                None
            }
        }
    }
}

fn begin(conn: &mut SqliteConnection) -> QueryResult<()> {
    reach!("store.begin.before");
    group::planned(fails("store.begin"))?;
    conn.batch_execute(BEGIN)?;
    reach!("store.begin.after");
    Ok(())
}
