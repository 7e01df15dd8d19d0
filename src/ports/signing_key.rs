//! The key with which deliveries are signed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A key for HMAC, as a webhook or a setting names it. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads a key: `whsec_` and base64, as the libraries for receivers write it, or any other text as its own bytes.
    ///
    /// # Errors
    /// A sentence without the key, if it is empty or its base64 is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_secret| "what follows whsec_ is no base64")?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.is_empty() { Err("a key is not empty") } else { Ok(Self(bytes)) }
    }

    /// Returns its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::SigningKey;

    #[test]
    fn a_key_is_base64_behind_its_mark_and_text_otherwise() {
        assert_eq!(SigningKey::parse("whsec_AAEC").unwrap().bytes(), [0, 1, 2]);
        assert_eq!(SigningKey::parse("plain text").unwrap().bytes(), b"plain text");
        for wrong in ["", "whsec_", "whsec_***", "whsec_AAE"] {
            let why = SigningKey::parse(wrong).unwrap_err();
            assert!(!why.contains("***"), "{why}");
        }
        assert_eq!(format!("{:?}", SigningKey::parse("s3cret").unwrap()), "SigningKey([redacted])");
    }
}
