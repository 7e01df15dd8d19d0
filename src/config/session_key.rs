//! The key under which sessions are stored.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// 32 bytes that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(pub [u8; 32]);

impl SessionKey {
    /// Reads 32 bytes in hex (64 digits) or base64; `None` if the text is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 64 { unhex(text) } else { STANDARD.decode(text).ok() };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let digits = |pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    text.as_bytes().chunks(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::SessionKey;

    #[test]
    fn hex_and_base64_give_the_same_key_and_neither_is_printed() {
        let hex = SessionKey::parse(&("00".repeat(31) + "ff"));
        assert_eq!(hex, SessionKey::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8="));
        assert_eq!(format!("{hex:?}"), "Some([redacted])");
    }

    #[test]
    fn anything_else_is_no_key() {
        for text in ["", "secret", &"zz".repeat(32), &"+f".repeat(32), "AAAA"] {
            assert!(SessionKey::parse(text).is_none(), "{text}");
        }
    }
}
