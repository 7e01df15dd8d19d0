//! Linking a device by a code: eight characters that the client shows and a person types on the phone.
//!
//! Client and phone each send an ephemeral key that is wrapped with the code, so they agree on a secret only if it is the same code on
//! both sides. With that secret the client seals its keys for the phone, and both derive the secret that a QR code would have carried.

use aes::Aes256;
use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use ctr::Ctr128BE;
use hkdf::Hkdf;
use pbkdf2::pbkdf2_hmac;
use rand::Rng as _;
use rand::rngs::StdRng;
use sha2::Sha256;
use thiserror::Error;
use wacore_libsignal::protocol::{KeyPair, PublicKey};

use crate::signal::{SignalError, SignalIdentity};

/// The characters of a code; zero and the letters that are mistaken for others are left out.
const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTVWXYZ";
const CODE_LENGTH: usize = 8;
/// Makes trying all codes expensive.
const ROUNDS: u32 = 1 << 17;
const SALT: usize = 32;
const BLOCK: usize = 16;
const KEY: usize = 32;
const NONCE: usize = 12;

/// Reads a code as it was typed: small letters, spaces and the dash that some clients show do not matter.
#[must_use]
pub fn parse(typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    (code.len() == CODE_LENGTH && code.chars().all(|c| ALPHABET.contains(c))).then_some(code)
}

/// A public key under a code: salt, initial counter block, ciphertext. Nothing tells a wrong code from the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey([u8; WrappedKey::LENGTH]);

impl WrappedKey {
    const LENGTH: usize = SALT + BLOCK + KEY;

    /// Takes the bytes off the wire.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Wraps a key. Takes long, on purpose.
    #[must_use]
    pub fn wrap(key: [u8; KEY], code: &str, rng: &mut StdRng) -> Self {
        let mut bytes = [0; Self::LENGTH];
        rng.fill_bytes(&mut bytes);
        bytes[SALT + BLOCK..].copy_from_slice(&key);
        Self(apply(bytes, code))
    }

    /// Gives the key, if the code is right; another key if it is not. Takes long, on purpose.
    #[must_use]
    pub fn unwrap(&self, code: &str) -> [u8; KEY] {
        let mut key = [0; KEY];
        key.copy_from_slice(&apply(self.0, code)[SALT + BLOCK..]);
        key
    }

    /// The bytes for the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Encrypts or decrypts the key at the end, which is the same.
fn apply(mut bytes: [u8; WrappedKey::LENGTH], code: &str) -> [u8; WrappedKey::LENGTH] {
    let (salt, rest) = bytes.split_at_mut(SALT);
    let (block, text) = rest.split_at_mut(BLOCK);
    let (mut key, mut counter) = ([0; KEY], [0; BLOCK]);
    pbkdf2_hmac::<Sha256>(code.as_bytes(), salt, ROUNDS, &mut key);
    counter.copy_from_slice(block);
    Ctr128BE::<Aes256>::new(&key.into(), &counter.into()).apply_keystream(text);
    bytes
}

/// Why a phone cannot link a client that has answered.
#[derive(Debug, Error)]
pub enum BundleError {
    /// It does not open with the phone's secret.
    #[error("the phone cannot open what the client sent; it shows another code than the one that was typed")]
    Sealed,
    /// It opens, but what is inside is about other keys.
    #[error("the keys in the client's bundle are not its own and the phone's")]
    Keys,
    /// A key is unusable.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

/// What the phone keeps of a typed code until the client answers.
#[derive(Clone)]
pub struct TypedCode {
    ephemeral: KeyPair,
    companion: [u8; KEY],
}

impl std::fmt::Debug for TypedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TypedCode")
    }
}

impl TypedCode {
    /// Reads the client's key with the code that was typed, and makes the phone's own. Takes long, on purpose.
    #[must_use]
    pub fn new(code: &str, companion: &WrappedKey, rng: &mut StdRng) -> (Self, WrappedKey) {
        let ephemeral = KeyPair::generate(rng);
        let mut public = [0; KEY];
        public.copy_from_slice(ephemeral.public_key.public_key_bytes());
        let wrapped = WrappedKey::wrap(public, code, rng);
        (Self { ephemeral, companion: companion.unwrap(code) }, wrapped)
    }

    /// Opens the bundle of the client with this identity; gives the secret that seals the phone's statement about it.
    ///
    /// # Errors
    /// When the client used another code, or other keys.
    pub fn open(&self, bundle: &[u8], identity: &[u8; KEY], phone: &SignalIdentity) -> Result<[u8; KEY], BundleError> {
        let shared = self.agree().map_err(BundleError::Signal)?;
        let (salt, sealed) = bundle.split_at_checked(SALT).ok_or(BundleError::Sealed)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(BundleError::Sealed)?;
        let key = derive(&shared, Some(salt), b"link_code_pairing_key_bundle_encryption_key");
        let opened = Aes256Gcm::new(&key.into()).decrypt(&Nonce::from(*nonce), sealed);
        // The cipher says no more than that it failed.
        let opened = opened.ok().ok_or(BundleError::Sealed)?;
        let random = opened.strip_prefix(identity).and_then(|rest| rest.strip_prefix(&phone.identity()));
        let random = random.filter(|random| random.len() == KEY).ok_or(BundleError::Keys)?;
        let secret = [&shared[..], &phone.agree(identity)?, random].concat();
        Ok(derive(&secret, None, b"adv_secret"))
    }

    fn agree(&self) -> Result<[u8; KEY], SignalError> {
        let companion = PublicKey::from_djb_public_key_bytes(&self.companion)?;
        Ok(self.ephemeral.calculate_agreement(&companion)?)
    }
}

fn derive(secret: &[u8], salt: Option<&[u8]>, info: &[u8]) -> [u8; KEY] {
    let mut key = [0; KEY];
    // Only a key longer than 255 hashes can fail; and a key of zeros would open nothing.
    let _ = Hkdf::<Sha256>::new(salt, secret).expand(info, &mut key);
    key
}

#[cfg(test)]
mod tests;
