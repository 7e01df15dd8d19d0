//! Public keys that devices leave with the server, so that others can write to them.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha1::{Digest as _, Sha1};
use utoipa::ToSchema;
use wacore_libsignal::protocol::{DeviceId, IdentityKey, PreKeyBundle, PublicKey, SignalProtocolError};

use crate::encoding;

/// The type byte that goes before a Curve25519 key when it is signed.
pub const KEY_TYPE: u8 = 5;
const POOL_ENTRY_BYTES: usize = 36;

/// A signed prekey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedKey {
    /// Its number.
    pub id: u32,
    /// The public key.
    #[serde(with = "encoding::key")]
    #[schema(value_type = String, format = Byte)]
    pub value: [u8; 32],
    /// The identity's signature over it.
    #[serde(with = "encoding::bytes")]
    #[schema(value_type = String, format = Byte)]
    pub signature: Vec<u8>,
}

/// A one-time prekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OneTimeKey {
    /// Its number.
    pub id: u32,
    /// The public key.
    #[serde(with = "encoding::key")]
    #[schema(value_type = String, format = Byte)]
    pub value: [u8; 32],
}

/// The one-time prekeys of a device, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPool(VecDeque<OneTimeKey>);

impl KeyPool {
    /// Adds keys; a number that is already there gets the newer key.
    pub fn add(&mut self, keys: impl IntoIterator<Item = OneTimeKey>) {
        let keys: Vec<OneTimeKey> = keys.into_iter().collect();
        // Devices upload hundreds at once, and the spare room of thousands of devices would add up.
        self.0.reserve_exact(keys.len());
        let mut places: HashMap<u32, usize> = self.0.iter().enumerate().map(|(place, key)| (key.id, place)).collect();
        for key in keys {
            let place = *places.entry(key.id).or_insert(self.0.len());
            match self.0.get_mut(place) {
                Some(known) => *known = key,
                None => self.0.push_back(key),
            }
        }
    }

    /// Hands out the oldest key, once.
    pub fn take(&mut self) -> Option<OneTimeKey> {
        self.0.pop_front()
    }

    /// How many keys are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that are left, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &OneTimeKey> {
        self.0.iter()
    }
}

impl Serialize for KeyPool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|key| key.id.to_be_bytes().into_iter().chain(key.value)).collect();
        encoding::bytes::serialize(bytes, serializer)
    }
}

impl<'de> Deserialize<'de> for KeyPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = encoding::bytes::deserialize(deserializer)?;
        let entry = |bytes: &[u8]| -> Option<OneTimeKey> {
            let (id, value) = bytes.split_at_checked(4)?;
            Some(OneTimeKey { id: u32::from_be_bytes(id.try_into().ok()?), value: value.try_into().ok()? })
        };
        bytes
            .chunks(POOL_ENTRY_BYTES)
            .map(|bytes| entry(bytes).ok_or_else(|| D::Error::custom("a truncated prekey")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Everything that is needed to write to a device for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The device's registration number.
    pub registration_id: u32,
    /// The device's identity.
    pub identity: [u8; 32],
    /// Its signed prekey.
    pub signed: SignedKey,
    /// A one-time prekey, if there was one left.
    pub one_time: Option<OneTimeKey>,
}

impl Bundle {
    /// The same in the words of the Signal library.
    ///
    /// # Errors
    /// When a key is malformed.
    pub fn to_signal(&self, device: u16) -> Result<PreKeyBundle, SignalProtocolError> {
        let one_time = match &self.one_time {
            Some(key) => Some((key.id.into(), PublicKey::from_djb_public_key_bytes(&key.value)?)),
            None => None,
        };
        PreKeyBundle::new(
            self.registration_id,
            DeviceId::from(u32::from(device)),
            one_time,
            self.signed.id.into(),
            PublicKey::from_djb_public_key_bytes(&self.signed.value)?,
            self.signed.signature.clone(),
            IdentityKey::new(PublicKey::from_djb_public_key_bytes(&self.identity)?),
        )
    }
}

/// Whether an identity has signed a prekey.
#[must_use]
pub fn is_signed_by(identity: &[u8; 32], key: &SignedKey) -> bool {
    let signed = [&[KEY_TYPE][..], &key.value].concat();
    PublicKey::from_djb_public_key_bytes(identity)
        .is_ok_and(|identity| identity.verify_signature(&signed, &key.signature))
}

/// What the server answers to a `digest` request: a hash over a device's keys as the server has them.
#[must_use]
pub fn digest(identity: &[u8; 32], signed: &SignedKey, pool: &KeyPool) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(identity);
    hash.update(signed.value);
    hash.update(&signed.signature);
    for key in pool.iter() {
        hash.update(key.value);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> OneTimeKey {
        OneTimeKey { id, value: [u8::try_from(id).unwrap(); 32] }
    }

    #[test]
    fn a_one_time_key_is_handed_out_once_and_oldest_first() {
        let mut pool = KeyPool::default();
        pool.add([key(1), key(2), key(2)]);
        assert_eq!([pool.take(), pool.take(), pool.take()], [Some(key(1)), Some(key(2)), None]);
    }

    #[test]
    fn a_pool_survives_the_state_file() {
        let mut pool = KeyPool::default();
        pool.add((1..=3).map(key));
        let text = serde_json::to_string(&pool).unwrap();
        assert_eq!(serde_json::from_str::<KeyPool>(&text).unwrap(), pool);
        assert!(serde_json::from_str::<KeyPool>("\"AAAA\"").is_err());
    }
}
