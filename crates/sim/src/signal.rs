//! The Signal side of a simulated person: their own keys, and their sessions with everybody else's devices.

mod group;
mod stores;

use std::future::Future;

use futures_util::FutureExt as _;
use rand::rngs::StdRng;
use rand::{CryptoRng, Rng, RngExt as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use wacore_libsignal::protocol::{
    CiphertextMessage, CurveError, GenericSignedPreKey as _, IdentityKeyPair, KeyPair, PreKeyRecord,
    PreKeySignalMessage, PublicKey, SessionStore as _, SignalMessage, SignalProtocolError, SignedPreKeyRecord,
    Timestamp, UsePQRatchet, message_decrypt, message_encrypt, process_prekey_bundle,
};

use crate::address::Address;
use crate::keys::{Bundle, OneTimeKey, SignedKey};
use group::{GroupKeys, sender_chain_position};
use stores::{Identities, OneTimeKeys, Sessions, SignedKeys};

pub use group::GROUP_KIND;

const SIGNED_KEY_ID: u32 = 1;
/// WhatsApp numbers keys with three bytes.
const LAST_KEY_ID: u32 = 0x00FF_FFFF;

/// Why a message could not be sealed or opened.
#[derive(Debug, Error)]
pub enum SignalError {
    /// The library refused.
    #[error(transparent)]
    Protocol(#[from] SignalProtocolError),
    /// A key is unusable.
    #[error(transparent)]
    Key(#[from] CurveError),
    /// A type of message that is not one of Signal's one-to-one messages.
    #[error("cannot open a message of type '{0}'")]
    Kind(String),
    /// The plaintext has no valid padding.
    #[error("the plaintext is not padded")]
    Padding,
    /// A store that lives in memory made the library wait.
    #[error("a store in memory was not ready")]
    Pending,
}

/// A sealed message.
pub struct Sealed {
    /// `pkmsg` for the first messages of a session, `msg` later.
    pub kind: &'static str,
    /// The ciphertext.
    pub bytes: Vec<u8>,
}

/// The place of a message in its sender's chain; using one twice gives its key away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPosition {
    /// The sender's ratchet key or the number of their sender key, which names the chain.
    pub ratchet: [u8; 32],
    /// The number within the chain.
    pub counter: u32,
}

/// Reads the place of a message in its sender's chain, which is not encrypted.
///
/// # Errors
/// When the bytes are no Signal message of that kind.
pub fn chain_position(kind: &str, bytes: &[u8]) -> Result<ChainPosition, SignalError> {
    let position = |message: &SignalMessage| {
        let mut ratchet = [0; 32];
        ratchet.copy_from_slice(message.sender_ratchet_key().public_key_bytes());
        ChainPosition { ratchet, counter: message.counter() }
    };
    if kind == GROUP_KIND {
        return sender_chain_position(bytes);
    }
    match parse(kind, bytes)? {
        CiphertextMessage::SignalMessage(message) => Ok(position(&message)),
        CiphertextMessage::PreKeySignalMessage(message) => Ok(position(message.message())),
        CiphertextMessage::SenderKeyMessage(_) | CiphertextMessage::PlaintextContent(_) => {
            Err(SignalError::Kind(kind.to_owned()))
        }
    }
}

/// A person's keys and sessions.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalIdentity {
    identities: Identities,
    signed_keys: SignedKeys,
    one_time_keys: OneTimeKeys,
    sessions: Sessions,
    #[serde(default)]
    groups: GroupKeys,
    next_key: u32,
}

impl SignalIdentity {
    /// Makes the keys of somebody new.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn generate<R: Rng + CryptoRng>(now_ms: u64, rng: &mut R) -> Result<Self, SignalError> {
        let identity = IdentityKeyPair::generate(rng);
        let signed = KeyPair::generate(rng);
        let signature = identity.private_key().calculate_signature(&signed.public_key.serialize(), rng)?;
        let record =
            SignedPreKeyRecord::new(SIGNED_KEY_ID.into(), Timestamp::from_epoch_millis(now_ms), &signed, &signature);
        Ok(Self {
            identities: Identities::new(identity, rng.random_range(1..=0x3FFF)),
            signed_keys: SignedKeys::new(record),
            one_time_keys: OneTimeKeys::default(),
            sessions: Sessions::default(),
            groups: GroupKeys::default(),
            next_key: 1,
        })
    }

    /// The public identity key.
    #[must_use]
    pub fn identity(&self) -> [u8; 32] {
        self.identities.public()
    }

    /// Signs with the identity key.
    ///
    /// # Errors
    /// When the key is unusable.
    pub fn sign(&self, message: &[u8], rng: &mut StdRng) -> Result<Vec<u8>, SignalError> {
        Ok(self.identities.own().private_key().calculate_signature(message, rng)?.to_vec())
    }

    /// The secret shared between the identity key and somebody else's key.
    ///
    /// # Errors
    /// When a key is unusable.
    pub fn agree(&self, with: &[u8; 32]) -> Result<[u8; 32], SignalError> {
        let with = PublicKey::from_djb_public_key_bytes(with)?;
        Ok(self.identities.own().private_key().calculate_agreement(&with)?)
    }

    /// Keys for somebody who wants to write to this person, with a one-time prekey made for them alone.
    ///
    /// # Errors
    /// When a stored key is unusable.
    pub fn bundle(&mut self, rng: &mut StdRng) -> Result<Bundle, SignalError> {
        let pair = KeyPair::generate(rng);
        let id = self.next_key;
        self.next_key = if id >= LAST_KEY_ID { 1 } else { id + 1 };
        self.one_time_keys.insert(PreKeyRecord::new(id.into(), &pair));
        let mut value = [0; 32];
        value.copy_from_slice(pair.public_key.public_key_bytes());
        let signed = self.signed_keys.current();
        let mut signed_value = [0; 32];
        signed_value.copy_from_slice(signed.public_key()?.public_key_bytes());
        Ok(Bundle {
            registration_id: self.identities.registration_id(),
            identity: self.identity(),
            signed: SignedKey { id: SIGNED_KEY_ID, value: signed_value, signature: signed.signature()? },
            one_time: Some(OneTimeKey { id, value }),
        })
    }

    /// Whether there is a session with this device.
    #[must_use]
    pub fn has_session(&self, with: &Address) -> bool {
        now(self.sessions.has_session(&with.signal())).and_then(Result::ok).unwrap_or(false)
    }

    /// Begins a new session with a device, in place of the one that may be there.
    ///
    /// # Errors
    /// When the keys are malformed or wrongly signed.
    pub fn begin_session(&mut self, with: &Address, bundle: &Bundle, rng: &mut StdRng) -> Result<(), SignalError> {
        let bundle = bundle.to_signal(with.device)?;
        let address = with.signal();
        now(process_prekey_bundle(&address, &mut self.sessions, &mut self.identities, &bundle, rng, UsePQRatchet::No))
            .ok_or(SignalError::Pending)??;
        self.groups.forget_told(with);
        Ok(())
    }

    /// Pads and seals a message for a device with which there is a session.
    ///
    /// # Errors
    /// When there is no session.
    pub fn seal(&mut self, to: &Address, plaintext: &[u8], rng: &mut StdRng) -> Result<Sealed, SignalError> {
        let address = to.signal();
        let padded = pad(plaintext, rng);
        let message = now(message_encrypt(&padded, &address, &mut self.sessions, &mut self.identities))
            .ok_or(SignalError::Pending)??;
        let kind = if matches!(message, CiphertextMessage::PreKeySignalMessage(_)) { "pkmsg" } else { "msg" };
        Ok(Sealed { kind, bytes: message.serialize().to_vec() })
    }

    /// Opens a message from a device.
    ///
    /// # Errors
    /// When it was not sealed for this person, or was opened before.
    pub fn open(&mut self, from: &Address, kind: &str, bytes: &[u8], rng: &mut StdRng) -> Result<Vec<u8>, SignalError> {
        let message = parse(kind, bytes)?;
        let address = from.signal();
        let opened = now(message_decrypt(
            &message,
            &address,
            &mut self.sessions,
            &mut self.identities,
            &mut self.one_time_keys,
            &self.signed_keys,
            rng,
            UsePQRatchet::No,
        ))
        .ok_or(SignalError::Pending)??;
        if let Some(used) = opened.consumed_prekey_id {
            self.one_time_keys.remove(used);
        }
        unpad(opened.plaintext)
    }

    /// Forgets everything about a device, as after it was unlinked.
    pub fn forget(&mut self, device: &Address) {
        self.sessions.remove(&device.signal());
        self.groups.forget(device);
    }
}

/// The stores live in memory, so no call ever has to wait.
fn now<F: Future>(future: F) -> Option<F::Output> {
    future.now_or_never()
}

fn parse(kind: &str, bytes: &[u8]) -> Result<CiphertextMessage, SignalError> {
    match kind {
        "msg" => Ok(CiphertextMessage::SignalMessage(SignalMessage::try_from(bytes)?)),
        "pkmsg" => Ok(CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(bytes)?)),
        other => Err(SignalError::Kind(other.to_owned())),
    }
}

/// WhatsApp pads with 1 to 16 bytes that each say how many they are.
fn pad(plaintext: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let count: u8 = rng.random_range(1..=16);
    let mut padded = plaintext.to_vec();
    padded.extend(std::iter::repeat_n(count, usize::from(count)));
    padded
}

fn unpad(mut padded: Vec<u8>) -> Result<Vec<u8>, SignalError> {
    let count =
        padded.last().copied().map(usize::from).filter(|count| (1..=16).contains(count)).ok_or(SignalError::Padding)?;
    let length = padded.len().checked_sub(count).ok_or(SignalError::Padding)?;
    padded.truncate(length);
    Ok(padded)
}

#[cfg(test)]
mod tests;
