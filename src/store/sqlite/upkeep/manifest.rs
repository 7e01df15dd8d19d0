//! What a backup says about itself, encrypted with everything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The first thing in a backup; the database follows.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// The session keys in hexadecimal, the current one first. Without them the backup would open nowhere else.
    pub(super) keys: Vec<String>,
    /// The API key that the data directory keeps.
    pub(super) api_key: Option<String>,
    /// Whose instances they are.
    pub(super) client_name: String,
    /// What is in the database, counted when it was copied.
    pub(super) summary: Summary,
    /// The length of the database that follows.
    pub(super) bytes: u64,
}

/// What is in a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Instances with a login.
    pub paired: u64,
    /// The lowest and the highest revision of a session.
    pub revisions: (i64, i64),
    /// Encrypted values that do not open. They were damaged before.
    pub unreadable: u64,
}

impl Summary {
    /// Returns the number of rows of a table.
    pub fn rows(&self, table: &str) -> u64 {
        self.rows.get(table).copied().unwrap_or_default()
    }
}
