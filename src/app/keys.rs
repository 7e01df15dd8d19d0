//! The text form of the session key.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Reads 32 bytes in hex (64 digits) or base64.
///
/// # Errors
/// If the text is neither; the error does not quote it.
pub(super) fn parse(text: &str) -> Result<[u8; 32]> {
    let text = text.trim();
    let bytes = if text.len() == 64 { unhex(text) } else { STANDARD.decode(text).ok() };
    bytes.and_then(|bytes| bytes.try_into().ok()).context("the session key is not 32 bytes in hex or base64")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn hex_and_base64_give_the_same_key() {
        let hex = "00".repeat(31) + "ff";
        let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=";
        assert_eq!(parse(&hex).unwrap(), parse(base64).unwrap());
    }

    #[test]
    fn anything_else_is_refused_without_being_quoted() {
        for text in ["", "secret", &"zz".repeat(32), "AAAA"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
