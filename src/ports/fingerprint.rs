//! By what installations are told apart that share something, such as a Redis.

use std::fmt;

use super::node_key::hmac;

/// What the fingerprint is derived for; nothing else is ever derived with this label.
const LABEL: &[u8] = b"holdfast: which installation it is, 1";
/// Bytes of it. They need not be hard to guess, only different.
const LENGTH: usize = 16;

/// Tells an installation from every other. No secret: it says nothing about the key that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Returns that of the installation with this session key and client name, the same at each of its nodes.
    pub fn of(session_key: &[u8; 32], client_name: &str) -> Self {
        use fmt::Write as _;
        let bytes = hmac(session_key, &[LABEL, client_name.as_bytes()]);
        let digits = bytes.iter().take(LENGTH).fold(String::new(), |mut digits, byte| {
            let _infallible = write!(digits, "{byte:02x}");
            digits
        });
        Self(digits)
    }

    /// Returns it as hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn key_and_name_make_an_installation() {
        let one = Fingerprint::of(&[1; 32], "a");
        assert_eq!(one, Fingerprint::of(&[1; 32], "a"), "of each node");
        assert_ne!(one, Fingerprint::of(&[2; 32], "a"));
        assert_ne!(one, Fingerprint::of(&[1; 32], "b"));
        assert_eq!(one.as_str().len(), 32);
    }
}
