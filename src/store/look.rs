//! A look at a database from outside, for whoever checks a setup: nothing in it is changed.

use super::{PoolOptions, is_postgres, postgres, sqlite};
use crate::ports::store::StoreError;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// A migration that this build does not know: a newer one has shaped the database.
    pub newer: Option<String>,
    /// How many migrations the next start has to run.
    pub pending: usize,
    /// What a server says about itself.
    pub server: Option<Server>,
}

/// What a server says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// How many connections it takes.
    pub most: u64,
    /// How many of them others have.
    pub taken: u64,
    /// The Unix millisecond on its clock.
    pub clock_ms: i64,
}

impl Look {
    /// Compares the migrations that were run with those that are known.
    pub(super) fn compare(known: &[String], applied: &[String]) -> Self {
        let newer = applied.iter().filter(|version| !known.contains(version)).max().cloned();
        let pending = known.iter().filter(|version| !applied.contains(version)).count();
        Self { newer, pending, server: None }
    }
}

/// Looks at the database of this address.
///
/// # Errors
/// If it cannot be reached or read.
pub async fn look(url: &str, pool: PoolOptions) -> Result<Look, StoreError> {
    if is_postgres(url) { postgres::look::look(url, pool).await } else { sqlite::look::look(url).await }
}
