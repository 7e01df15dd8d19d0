//! The node that a store acts for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ports::leases::Profile;

/// A node, and what it has said of itself.
#[derive(Debug)]
pub(super) struct Member {
    /// The installation: its nodes and its instances have this name in common.
    pub(super) client_name: String,
    /// The node's own name.
    pub(super) node: String,
    /// How long its leases hold without a renewal.
    pub(super) ttl: Duration,
    joined: Mutex<Option<Profile>>,
}

impl Member {
    pub(super) fn new(client_name: String, node: String, ttl: Duration) -> Self {
        Self { client_name, node, ttl, joined: Mutex::default() }
    }

    /// Returns what it joined as, while it is a part of the fleet.
    pub(super) fn joined(&self) -> Option<Profile> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that it has joined, or left.
    pub(super) fn join(&self, profile: Option<Profile>) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = profile;
    }
}
