//! How binary values are written in JSON: base64 in the state file, hexadecimal for people.

use std::fmt::Write;

/// Writes bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Serde helpers for byte strings of any length.
pub mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes bytes as a base64 string.
    ///
    /// # Errors
    /// Whatever the serializer reports.
    pub fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes.as_ref()))
    }

    /// Reads bytes from a base64 string.
    ///
    /// # Errors
    /// When the text is no base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// Serde helpers for keys of 32 bytes.
pub mod key {
    use serde::{Deserializer, Serializer, de::Error};

    /// Writes a key as a base64 string.
    ///
    /// # Errors
    /// Whatever the serializer reports.
    pub fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        super::bytes::serialize(key, serializer)
    }

    /// Reads a key from a base64 string.
    ///
    /// # Errors
    /// When the text is no base64 of exactly 32 bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let bytes = super::bytes::deserialize(deserializer)?;
        bytes.try_into().map_err(|bytes: Vec<u8>| D::Error::custom(format!("a key has 32 bytes, not {}", bytes.len())))
    }
}
