//! Who owns which instances, where several processes share a database.
//!
//! A process is a *node*. An instance belongs to the node that its row names, for as long as that node's own row has not expired by the
//! database's clock: one renewal holds all of a node's instances.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::Survey;

use super::store::StoreError;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name, one of its own in the fleet.
    pub node: String,
    /// The data directory whose lock it holds. A node of the same name and home is the process before it, which is gone.
    pub home: String,
    /// This process, and no other.
    pub incarnation: String,
    /// Where the other nodes reach it.
    pub url: Option<String>,
    /// The version of the program.
    pub version: String,
}

/// A node as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub url: Option<String>,
    /// The version of its program.
    pub version: String,
    /// When it joined.
    pub since: DateTime<Utc>,
    /// How long ago it was heard of last, by the database's clock.
    pub silent_for: Duration,
    /// Whether its leases hold.
    pub alive: bool,
    /// Whether it is stopping, and takes nothing more.
    pub draining: bool,
    /// How many instances it owns.
    pub instances: u32,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The instance.
    pub id: InstanceId,
    /// The node that owns it, if one does; it may be gone.
    pub owner: Option<Owner>,
}

/// The node that owns an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub node: String,
    /// Where it is reached.
    pub url: Option<String>,
    /// Whether its leases hold.
    pub alive: bool,
}

/// Ownership. Every call acts for the node that the store was opened for, and for the instances of its client name.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Returns how long leases hold without a renewal; `None` if no other process can exist (a locked data directory).
    fn lease_ttl(&self) -> Option<Duration>;

    /// Takes this node's place in the fleet. What a process of the same name and home held goes on to be held.
    ///
    /// # Errors
    /// [`StoreError::NodeInUse`] while a node of this name with another home is alive.
    async fn join(&self, profile: Profile) -> Result<(), StoreError>;

    /// Renews this node's leases, and returns the instances that it owns.
    ///
    /// # Errors
    /// [`StoreError::NodeInUse`] if another process has taken this node's place.
    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError>;

    /// Looks at who holds how much.
    async fn survey(&self) -> Result<Survey, StoreError>;

    /// Claims up to `most` instances that nobody owns, those that have waited longest first; with `abandoned` also those whose node is
    /// dead. Raises their epochs, and returns what it has claimed.
    async fn adopt(&self, most: u32, abandoned: bool) -> Result<Vec<InstanceId>, StoreError>;

    /// Gives up instances whose connections are closed, so that another node can claim them at once. Those of others are left alone.
    async fn let_go(&self, ids: Vec<InstanceId>) -> Result<(), StoreError>;

    /// Says that this node is stopping: it is not counted on any more.
    async fn retire(&self) -> Result<(), StoreError>;

    /// Leaves the fleet. What it still holds stays held until its lease ends: its connections may be open.
    async fn leave(&self) -> Result<(), StoreError>;

    /// Finds the owner of the instance with this name; `None` if there is no such instance.
    async fn whereabouts(&self, name: &str) -> Result<Option<Whereabouts>, StoreError>;

    /// Returns the node that owns each instance, by its name; it may be gone. Instances without an owner are left out.
    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError>;

    /// Lists the nodes of the fleet, by name. Those that are long gone are forgotten.
    async fn nodes(&self) -> Result<Vec<Node>, StoreError>;
}
