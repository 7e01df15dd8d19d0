//! The key by which the nodes of a fleet know each other.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What the key is derived for; nothing else is ever derived with this label.
const LABEL: &[u8] = b"holdfast: what one node asks of another, 1";

/// A key that every node of a fleet has, because all have the session key. It is never shown.
#[derive(Clone)]
pub struct NodeKey([u8; 32]);

impl NodeKey {
    /// Derives it from the session key, which it tells nothing about.
    pub fn derived_from(session_key: &[u8; 32]) -> Self {
        Self(hmac(session_key, &[LABEL]))
    }

    /// Signs the parts, each with its length, so that no other parts have the same signature.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let framed: Vec<&[u8]> =
            lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part]).collect();
        hmac(&self.0, &framed)
    }

    /// Tells whether this is the signature of the parts, in a time that depends on neither.
    pub fn has_signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        self.sign(parts).as_slice().ct_eq(signature).into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey([redacted])")
    }
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::NodeKey;

    #[test]
    fn a_signature_fits_its_parts_and_its_key_and_nothing_else() {
        let (key, other) = (NodeKey::derived_from(&[1; 32]), NodeKey::derived_from(&[2; 32]));
        let parts: [&[u8]; 2] = [b"GET", b"/a"];
        let signature = key.sign(&parts);
        assert!(key.has_signed(&parts, &signature));
        assert!(!other.has_signed(&parts, &signature), "another fleet's");
        assert_ne!(signature, [0; 32]);
        let moved: [&[u8]; 2] = [b"GET/", b"a"];
        assert!(!key.has_signed(&moved, &signature), "the same bytes, cut elsewhere");
        for wrong in [&signature[..31], &[], &[0; 32]] {
            assert!(!key.has_signed(&parts, wrong));
        }
        assert_eq!(format!("{key:?}"), "NodeKey([redacted])");
    }
}
