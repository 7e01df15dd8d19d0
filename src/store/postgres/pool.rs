//! The connections: a bounded number, made when they are needed, thrown away when they are of no use any more.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool as Managed, PoolError, RecycleError, RecycleResult, TimeoutType,
};
use diesel::result::Error as DieselError;

use super::address::Address;
use super::link::{Limits, Link};
use super::tls::Tls;
use crate::ports::store::StoreError;
use crate::store::failure::{driver, unavailable};

/// A connection in use. It goes back by being dropped.
pub(super) type Taken = Object<Connector>;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) address: Address,
    pub(super) tls: Tls,
    pub(super) limits: Limits,
}

impl Connector {
    /// Makes one.
    pub(super) async fn connect(&self) -> Result<Link, StoreError> {
        Link::connect(&self.address, &self.tls, self.limits).await
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = StoreError;

    async fn create(&self) -> Result<Link, StoreError> {
        self.connect().await
    }

    async fn recycle(&self, link: &mut Link, _metrics: &Metrics) -> RecycleResult<StoreError> {
        if link.is_usable() { Ok(()) } else { Err(RecycleError::message("it has ended")) }
    }
}

/// All connections of a store.
#[derive(Clone)]
pub(super) struct Pool {
    links: Managed<Connector>,
    size: usize,
}

impl Pool {
    pub(super) fn new(connector: Connector, size: usize, patience: Duration) -> Result<Self, StoreError> {
        let links = Managed::builder(connector)
            .max_size(size)
            .wait_timeout(Some(patience))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| unavailable("preparing connections to the database", error))?;
        Ok(Self { links, size })
    }

    /// Takes a connection, in turn.
    pub(super) async fn take(&self, doing: &'static str) -> Result<Taken, StoreError> {
        self.links.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => {
                unavailable(doing, "all connections have been in use for too long")
            }
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => unavailable(doing, error),
        })
    }

    /// Takes a connection, which nobody else uses again unless it is said to be free.
    pub(super) async fn engage(&self, doing: &'static str) -> Result<Taken, StoreError> {
        let mut link = self.take(doing).await?;
        link.engage(true);
        Ok(link)
    }

    /// Takes a connection and begins a transaction on it. One that has ended unnoticed is no reason to fail: nothing was asked of it yet.
    pub(super) async fn begin(&self, doing: &'static str, begin: &str) -> Result<Taken, StoreError> {
        let mut tries = 0;
        loop {
            let mut link = self.engage(doing).await?;
            match link.execute(begin).await {
                Ok(()) => return Ok(link),
                Err(error) if link.watch().has_cut() => {
                    self.forget_idle();
                    return Err(driver(doing, &error));
                }
                Err(error) if tries < self.size && has_ended(&error) => tries += 1,
                Err(error) => return Err(driver(doing, &error)),
            }
        }
    }

    /// Returns how many connections there are at most.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Throws away what nobody uses: where one connection stood still, the others do.
    pub(super) fn forget_idle(&self) {
        let _forgotten = self.links.retain(|_link, _metrics| false);
    }

    /// Closes them all.
    pub(super) fn close(&self) {
        self.links.close();
    }
}

/// Tells whether a statement failed because its connection is of no use any more.
fn has_ended(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, _))
}
