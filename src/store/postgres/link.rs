//! One connection to the server, and noticing that it hangs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::address::Address;
use super::dialect::Conn;
use super::tls::Tls;
use crate::ports::store::StoreError;
use crate::store::failure::{driver, unavailable};

const DOING: &str = "connecting to the database";
/// How often it is looked whether anything moves, within the time in which nothing may.
const LOOKS: u32 = 4;
/// How long a server may take to hang up after it has said that it does.
const HANGING_UP: Duration = Duration::from_millis(50);
/// How long a statement waits for a row that somebody else holds. Others of the same lane wait behind it, so it is well below the grace after
/// which a link is sealed.
const LOCK: Duration = Duration::from_secs(2);

/// What is answered is on the server's disk, whatever its operators have set for others: a lost commit would bring a used message key back.
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the dial until the connection is ready.
    pub(super) connect: Duration,
    /// For the server to finish one statement.
    pub(super) statement: Duration,
}

impl Limits {
    /// How long nothing may come while something is asked: longer than the server takes to give a statement up.
    fn still(self) -> Duration {
        self.statement + self.connect
    }
}

/// A connection. Its traffic is moved by a task of its own, which can be cut from outside.
pub(super) struct Link {
    pub(super) conn: Conn,
    watch: Watch,
    /// Whether it is in the middle of something: then nobody else can go on with it.
    engaged: bool,
}

impl Link {
    /// Connects. All statements are bounded from then on, and find their tables by name.
    pub(super) async fn connect(address: &Address, tls: &Tls, limits: Limits) -> Result<Self, StoreError> {
        let connecting = Self::connect_at_leisure(address, tls, limits);
        let late = |_elapsed| unavailable(DOING, "it took too long");
        tokio::time::timeout(limits.connect, connecting).await.map_err(late)?
    }

    async fn connect_at_leisure(address: &Address, tls: &Tls, limits: Limits) -> Result<Self, StoreError> {
        let connected = address.config.connect(tls.clone()).await;
        let (client, mut connection) = connected.map_err(|error| unavailable(DOING, whole(&error)))?;
        let beats = Arc::new(AtomicU64::new(0));
        let beating = Arc::clone(&beats);
        let traffic = tokio::spawn(async move {
            let moved = poll_fn(|cx| {
                beating.fetch_add(1, Ordering::Relaxed);
                Pin::new(&mut connection).poll(cx)
            });
            if let Err(error) = moved.await {
                tracing::debug!(error = whole(&error), "A connection to the database has ended");
            }
        });
        let watch = Watch { beats, traffic: traffic.abort_handle(), still: limits.still(), cut: Arc::default() };
        let conn = AsyncPgConnection::try_from(client).await;
        let mut conn = conn.map_err(|error| unavailable(DOING, error))?;
        if !address.prepares {
            conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        }
        let statement = limits.statement.as_millis();
        let setup = format!(
            "SET search_path TO {}; {DURABLE}; SET statement_timeout = {statement}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}",
            address.quoted_schema(),
            limits.statement.min(LOCK).as_millis(),
            limits.still().as_millis(),
        );
        conn.batch_execute(&setup).await.map_err(|error| driver(DOING, &error))?;
        Ok(Self { conn: conn.into(), watch, engaged: false })
    }

    /// Tells whether the next one can use it.
    pub(super) fn is_usable(&self) -> bool {
        !self.engaged && !self.watch.traffic.is_finished()
    }

    /// Notes that it is in the middle of something, or no longer.
    pub(super) fn engage(&mut self, engaged: bool) {
        self.engaged = engaged;
    }

    /// Runs statements that answer nothing.
    pub(super) async fn execute(&mut self, statements: &str) -> QueryResult<()> {
        let watch = self.watch.clone();
        watch.wait_for(SimpleAsyncConnection::batch_execute(&mut *self.conn, statements)).await
    }

    /// Returns what watches it.
    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

/// Watches a connection, wherever it is.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// Grows with everything that is sent or comes.
    beats: Arc<AtomicU64>,
    traffic: AbortHandle,
    still: Duration,
    cut: Arc<AtomicBool>,
}

impl Watch {
    /// Tells whether it had to be cut.
    pub(super) fn has_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Tells whether the connection has ended, or does at once: a server says why before it hangs up.
    pub(super) async fn has_ended(&self) -> bool {
        for _ in 0..5 {
            if self.traffic.is_finished() {
                return true;
            }
            tokio::time::sleep(HANGING_UP / 5).await;
        }
        self.traffic.is_finished()
    }

    /// Waits for work on the connection. If nothing moves meanwhile for too long, it is cut: then the work errs.
    pub(super) async fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut looks = tokio::time::interval(self.still / LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut quiet) = (self.beats.load(Ordering::Relaxed), 0);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = looks.tick() => {}
            }
            let beats = self.beats.load(Ordering::Relaxed);
            quiet = if beats == seen { quiet + 1 } else { 0 };
            seen = beats;
            if quiet > LOOKS {
                self.cut.store(true, Ordering::Relaxed);
                self.traffic.abort();
            }
        }
    }
}

/// Returns an error of the driver with its causes: it tells them apart from itself.
pub(super) fn whole(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
