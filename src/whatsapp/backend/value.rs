//! How values and keys are written that are more than bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Backend, Result, Unusable};

impl Backend {
    pub(super) fn decode<T: DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Result<T, Unusable> {
        serde_json::from_slice(bytes).map_err(|_undecodable| self.corrupt(what))
    }

    pub(super) fn encode<T: Serialize>(&self, what: &str, value: &T) -> Result<Vec<u8>, Unusable> {
        serde_json::to_vec(value).map_err(|_unwritable| self.corrupt(what))
    }
}

/// Writes bytes as a key.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes a number as a key that sorts like it.
pub(super) fn number(id: u32) -> String {
    format!("{id:010}")
}

/// Joins the parts of a key. None but the last, which is an id of somebody else's making, can hold the separator.
pub(super) fn joined(parts: &[&str]) -> String {
    parts.join("|")
}
