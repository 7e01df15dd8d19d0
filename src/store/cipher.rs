//! Encryption of what a thief of the database must not read.
//!
//! A sealed value is: version (1 byte), key id (8), nonce (24), XChaCha20-Poly1305 ciphertext with its tag. The associated data binds it to
//! its place, so that a value which was moved to another row does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use holdfast_core::id::InstanceId;
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const KEY_ID: usize = 8;
const NONCE: usize = 24;
const HEADER: usize = 1 + KEY_ID + NONCE;

/// The key under which everything secret is stored. It cannot be printed, and is wiped from memory when dropped.
pub struct EncryptionKey {
    current: SecretBox<[u8; 32]>,
    /// Keys that still open what was not rewritten yet.
    older: Vec<SecretBox<[u8; 32]>>,
}

impl EncryptionKey {
    /// Takes the key's 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { current: SecretBox::new(Box::new(bytes)), older: Vec::new() }
    }

    /// Lets an earlier key open what it has sealed; nothing is sealed with it any more.
    pub fn and_older(mut self, bytes: [u8; 32]) -> Self {
        self.older.push(SecretBox::new(Box::new(bytes)));
        self
    }

    /// Writes all keys in hexadecimal, the current one first, for a place where they are encrypted.
    pub(super) fn to_hex(&self) -> Vec<String> {
        std::iter::once(&self.current).chain(&self.older).map(|key| hex(key.expose_secret())).collect()
    }
}

/// Where a value belongs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// The device of an instance.
    Device { instance: &'a InstanceId },
    /// A row of the key-value table, or its copy in the archive.
    Value { instance: &'a InstanceId, category: &'a str, key: &'a str },
    /// What a copy of a session says of its instance.
    Copy { instance: &'a InstanceId },
    /// The constant by which a wrong key is recognised before it does harm.
    Check,
}

impl Place<'_> {
    fn associated_data(self) -> Vec<u8> {
        let parts: &[&str] = match self {
            Place::Device { instance } => &["device", instance.as_str()],
            Place::Value { instance, category, key } => &["value", instance.as_str(), category, key],
            Place::Copy { instance } => &["copy", instance.as_str()],
            Place::Check => &["check"],
        };
        // Each part is preceded by its length: ("ab", "c") must not look like ("a", "bc").
        let mut data = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }

    /// Names the place for an error. Keys contain phone numbers: they appear as a short hash.
    pub(super) fn describe(self) -> String {
        match self {
            Place::Device { instance } => format!("the device of instance {instance}"),
            Place::Value { instance, category, key } => {
                format!("value {category}/#{} of instance {instance}", hex(&Sha256::digest(key.as_bytes())[..4]))
            }
            Place::Copy { instance } => format!("the copy of instance {instance}"),
            Place::Check => "the check value of the encryption key [live-database-other-key]".to_owned(),
        }
    }
}

/// Why a sealed value does not open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CipherError {
    #[error("it is too short to be a sealed value")]
    TooShort,
    #[error("its format {0} is unknown")]
    UnknownVersion(u8),
    #[error("it was encrypted with the key {theirs}, and the key in use is {ours}")]
    OtherKey { theirs: String, ours: String },
    #[error("it does not decrypt: it is damaged, or it was moved here from another row")]
    Tampered,
    #[error("the system gives no random numbers, without which nothing can be encrypted")]
    NoRandomness,
}

/// A key that is ready for use.
struct Ready {
    aead: XChaCha20Poly1305,
    id: [u8; KEY_ID],
}

impl Ready {
    fn new(key: &SecretBox<[u8; 32]>) -> Self {
        let bytes = key.expose_secret();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&Sha256::digest(bytes)[..KEY_ID]);
        Self { aead: XChaCha20Poly1305::new(bytes.into()), id }
    }
}

/// Seals values with the current key, and opens them with the key that they name.
pub(super) struct Cipher {
    current: Ready,
    older: Vec<Ready>,
}

impl Cipher {
    pub(super) fn new(key: &EncryptionKey) -> Self {
        Self { current: Ready::new(&key.current), older: key.older.iter().map(Ready::new).collect() }
    }

    /// Returns the id of the current key, in hexadecimal.
    pub(super) fn key_id(&self) -> String {
        hex(&self.current.id)
    }

    /// Tells whether a value is sealed with the current key.
    pub(super) fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..=KEY_ID) == Some(self.current.id.as_slice())
    }

    /// Encrypts a value for its place.
    pub(super) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_no_source| CipherError::NoRandomness)?;
        let payload = Payload { msg: plain, aad: &place.associated_data() };
        // The only failure is a value of more than 256 GiB.
        let ciphertext =
            self.current.aead.encrypt(&XNonce::from(nonce), payload).map_err(|_too_long| CipherError::Tampered)?;
        let mut sealed = Vec::with_capacity(HEADER + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.current.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Decrypts a value that was sealed for this place.
    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (key, rest) = self.key_of(sealed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(CipherError::TooShort)?;
        let payload = Payload { msg: ciphertext, aad: &place.associated_data() };
        key.aead.decrypt(&XNonce::from(*nonce), payload).map_err(|_wrong_tag| CipherError::Tampered)
    }

    /// Says why a value would not open, as far as it can be told without opening it.
    pub(super) fn has_key_of(&self, sealed: &[u8]) -> Result<(), CipherError> {
        self.key_of(sealed).map(drop)
    }

    /// Returns the key that a sealed value names, and what follows the name.
    fn key_of<'s>(&self, sealed: &'s [u8]) -> Result<(&Ready, &'s [u8]), CipherError> {
        let (version, rest) = sealed.split_first().ok_or(CipherError::TooShort)?;
        if *version != VERSION {
            return Err(CipherError::UnknownVersion(*version));
        }
        let (id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or(CipherError::TooShort)?;
        let key = std::iter::once(&self.current).chain(&self.older).find(|key| key.id == *id);
        match key {
            Some(key) => Ok((key, rest)),
            None => Err(CipherError::OtherKey { theirs: hex(id), ours: self.key_id() }),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(fill: u8) -> Cipher {
        Cipher::new(&EncryptionKey::new([fill; 32]))
    }

    fn shop() -> InstanceId {
        InstanceId::new("shop")
    }

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let (cipher, shop, bar) = (cipher(1), shop(), InstanceId::new("bar"));
        let place = Place::Value { instance: &shop, category: "session", key: "ana" };
        let sealed = cipher.seal(place, b"secret").unwrap();
        assert_eq!(cipher.open(place, &sealed).unwrap(), b"secret");
        for elsewhere in [
            Place::Value { instance: &bar, category: "session", key: "ana" },
            Place::Value { instance: &shop, category: "sessio", key: "nana" },
            Place::Value { instance: &shop, category: "identity", key: "ana" },
            Place::Value { instance: &shop, category: "session", key: "bob" },
            Place::Device { instance: &shop },
            Place::Check,
        ] {
            assert_eq!(cipher.open(elsewhere, &sealed), Err(CipherError::Tampered), "{elsewhere:?}");
        }
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let cipher = cipher(1);
        let sealed = cipher.seal(Place::Check, b"constant").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(cipher.open(Place::Check, &changed).is_err(), "byte {at} changed");
            assert!(cipher.open(Place::Check, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_key_is_named_as_such() {
        let sealed = cipher(1).seal(Place::Check, b"constant").unwrap();
        let other = cipher(2);
        let error = other.open(Place::Check, &sealed).unwrap_err();
        assert_eq!(error, CipherError::OtherKey { theirs: cipher(1).key_id(), ours: other.key_id() });
        assert_eq!(other.has_key_of(&sealed), Err(error), "also without opening it");
        assert_eq!(cipher(1).has_key_of(&sealed), Ok(()));
    }

    #[test]
    fn an_older_key_opens_what_it_has_sealed_and_seals_nothing_more() {
        let old = cipher(1).seal(Place::Check, b"constant").unwrap();
        let both = Cipher::new(&EncryptionKey::new([2; 32]).and_older([1; 32]));
        assert_eq!(both.open(Place::Check, &old).unwrap(), b"constant");
        let new = both.seal(Place::Check, b"constant").unwrap();
        assert!(!both.is_current(&old) && both.is_current(&new));
        assert_eq!(cipher(2).open(Place::Check, &new).unwrap(), b"constant");
        assert!(cipher(1).open(Place::Check, &new).is_err());
    }

    #[test]
    fn equal_values_are_not_sealed_equally() {
        let cipher = cipher(1);
        assert_ne!(cipher.seal(Place::Check, b"same").unwrap(), cipher.seal(Place::Check, b"same").unwrap());
        assert!(!cipher.seal(Place::Check, b"same").unwrap().windows(4).any(|window| window == b"same"));
    }

    #[test]
    fn an_error_shows_no_phone_number() {
        let text = Place::Value { instance: &shop(), category: "session", key: "5511999999999.0" }.describe();
        assert!(text.starts_with("value session/#") && !text.contains("5511"), "{text}");
    }
}
