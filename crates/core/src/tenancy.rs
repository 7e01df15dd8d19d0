//! Which instances a node takes that nobody owns, which of its own it hands over, and until when it may act for them.
//!
//! [`plan()`] decides about instances from one look at the fleet; [`Keeper`] says when to renew, when to look, and what a lapse means.

mod keeper;
mod plan;

use std::time::Duration;

pub use keeper::{Effect, Env, Event, Keeper, Policy};
pub use plan::{Plan, Standing, plan};

use crate::time::Timestamp;

/// Who holds how much, at one moment of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The nodes whose leases hold.
    pub nodes: Vec<Share>,
    /// Instances that nobody owns.
    pub free: u32,
    /// Those of them that have waited for an owner longer than they should.
    pub overdue: u32,
    /// Instances whose node is dead.
    pub abandoned: u32,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub node: String,
    /// Whether it is the node that looks.
    pub own: bool,
    /// Whether it is stopping, and takes nothing more.
    pub draining: bool,
    /// How many instances it owns.
    pub instances: u32,
}

/// Returns the moment until which a node may act after a renewal that it asked for at `asked_at`.
///
/// The database counts from later than that, so its clock never says that the lease has ended before this one does. A tenth of the time
/// is given up to clocks that do not run alike and to what a socket still holds.
#[must_use]
pub fn deadline(asked_at: Timestamp, ttl: Duration) -> Timestamp {
    asked_at.after(ttl.saturating_sub(ttl / 10))
}
