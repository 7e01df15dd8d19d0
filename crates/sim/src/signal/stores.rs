//! The Signal library's stores, in memory and serialisable.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use wacore_libsignal::protocol::{
    Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore, PreKeyId,
    PreKeyRecord, PreKeyStore, ProtocolAddress, SenderKeyName, SenderKeyRecord, SenderKeyStore, SessionRecord,
    SessionStore, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore,
};

use crate::encoding;

type Result<T> = std::result::Result<T, SignalProtocolError>;

/// Bytes that read and write themselves as base64.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Blob(#[serde(with = "encoding::bytes")] Vec<u8>);

/// One's own identity, and what is known of the identities of others.
#[derive(Clone)]
pub(super) struct Identities {
    own: IdentityKeyPair,
    registration_id: u32,
    known: BTreeMap<String, [u8; 33]>,
}

impl Identities {
    pub(super) fn new(own: IdentityKeyPair, registration_id: u32) -> Self {
        Self { own, registration_id, known: BTreeMap::new() }
    }

    pub(super) fn own(&self) -> &IdentityKeyPair {
        &self.own
    }

    pub(super) fn registration_id(&self) -> u32 {
        self.registration_id
    }

    pub(super) fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.own.public_key().public_key_bytes());
        bytes
    }
}

#[async_trait]
impl IdentityKeyStore for Identities {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        Ok(self.own.clone())
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.registration_id)
    }

    async fn save_identity(&mut self, address: &ProtocolAddress, identity: &IdentityKey) -> Result<IdentityChange> {
        let before = self.known.insert(address.as_str().to_owned(), identity.serialize());
        Ok(if before.is_some_and(|key| key != identity.serialize()) {
            IdentityChange::ReplacedExisting
        } else {
            IdentityChange::NewOrUnchanged
        })
    }

    /// People get new phones: like WhatsApp's own clients, a simulated person accepts the new key.
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> Result<bool> {
        Ok(true)
    }

    async fn get_identity(&self, address: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        self.known.get(address.as_str()).map(|key| IdentityKey::decode(key)).transpose()
    }
}

/// Sessions with devices, by their address. Boxed, as a map has room for eleven where most people have one.
#[derive(Clone, Default)]
pub(super) struct Sessions(BTreeMap<String, Box<SessionRecord>>);

impl Sessions {
    pub(super) fn remove(&mut self, address: &ProtocolAddress) {
        self.0.remove(address.as_str());
    }
}

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        Ok(self.0.get(address.as_str()).map(|record| (**record).clone()))
    }

    async fn has_session(&self, address: &ProtocolAddress) -> Result<bool> {
        Ok(self.0.contains_key(address.as_str()))
    }

    async fn store_session(&mut self, address: &ProtocolAddress, record: SessionRecord) -> Result<()> {
        self.0.insert(address.as_str().to_owned(), Box::new(record));
        Ok(())
    }
}

/// Sender keys, the own ones and those of others, by group and sender.
#[derive(Clone, Default)]
pub(super) struct SenderKeys(BTreeMap<String, SenderKeyRecord>);

impl SenderKeys {
    pub(super) fn remove(&mut self, name: &SenderKeyName) {
        self.0.remove(name.cache_key());
    }

    pub(super) fn remove_sender(&mut self, sender: &str) {
        self.0.retain(|name, _| name.rsplit_once("@g.us:").is_none_or(|(_, known)| known != sender));
    }
}

#[async_trait]
impl SenderKeyStore for SenderKeys {
    async fn store_sender_key(&mut self, name: &SenderKeyName, record: SenderKeyRecord) -> Result<()> {
        self.0.insert(name.cache_key().to_owned(), record);
        Ok(())
    }

    async fn load_sender_key(&self, name: &SenderKeyName) -> Result<Option<SenderKeyRecord>> {
        Ok(self.0.get(name.cache_key()).cloned())
    }
}

/// One-time prekeys that were handed out and not used yet.
#[derive(Clone, Default)]
pub(super) struct OneTimeKeys(BTreeMap<u32, PreKeyRecord>);

impl OneTimeKeys {
    pub(super) fn insert(&mut self, record: PreKeyRecord) {
        if let Ok(id) = record.id() {
            self.0.insert(id.into(), record);
        }
    }

    pub(super) fn remove(&mut self, id: PreKeyId) {
        self.0.remove(&u32::from(id));
    }
}

#[async_trait]
impl PreKeyStore for OneTimeKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        self.0.get(&u32::from(id)).cloned().ok_or(SignalProtocolError::InvalidPreKeyId)
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> Result<()> {
        self.0.insert(id.into(), record.clone());
        Ok(())
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> Result<()> {
        self.remove(id);
        Ok(())
    }
}

/// The one signed prekey of a simulated person.
#[derive(Clone)]
pub(super) struct SignedKeys(SignedPreKeyRecord);

impl SignedKeys {
    pub(super) fn new(record: SignedPreKeyRecord) -> Self {
        Self(record)
    }

    pub(super) fn current(&self) -> &SignedPreKeyRecord {
        &self.0
    }
}

#[async_trait]
impl SignedPreKeyStore for SignedKeys {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        if self.0.id()? == id { Ok(self.0.clone()) } else { Err(SignalProtocolError::InvalidSignedPreKeyId) }
    }

    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, record: &SignedPreKeyRecord) -> Result<()> {
        self.0 = record.clone();
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedIdentities {
    own: Blob,
    registration_id: u32,
    known: BTreeMap<String, Blob>,
}

impl Serialize for Identities {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let known = self.known.iter().map(|(name, key)| (name.clone(), Blob(key.to_vec()))).collect();
        SavedIdentities { own: Blob(self.own.serialize().into_vec()), registration_id: self.registration_id, known }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Identities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let saved = SavedIdentities::deserialize(deserializer)?;
        let key =
            |blob: Blob| <[u8; 33]>::try_from(blob.0).ok().ok_or_else(|| D::Error::custom("an identity has 33 bytes"));
        Ok(Self {
            own: IdentityKeyPair::try_from(&saved.own.0[..]).map_err(D::Error::custom)?,
            registration_id: saved.registration_id,
            known: saved
                .known
                .into_iter()
                .map(|(name, blob)| Ok((name, key(blob)?)))
                .collect::<std::result::Result<_, D::Error>>()?,
        })
    }
}

impl Serialize for Sessions {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let saved = self.0.iter().map(|(name, record)| Ok((name, Blob(record.serialize().map_err(S::Error::custom)?))));
        saved.collect::<std::result::Result<BTreeMap<_, _>, S::Error>>()?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sessions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let saved = BTreeMap::<String, Blob>::deserialize(deserializer)?;
        let records = saved
            .into_iter()
            .map(|(name, blob)| Ok((name, Box::new(SessionRecord::deserialize(&blob.0).map_err(D::Error::custom)?))));
        records.collect::<std::result::Result<_, _>>().map(Self)
    }
}

impl Serialize for SenderKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let saved = self.0.iter().map(|(name, record)| Ok((name, Blob(record.serialize().map_err(S::Error::custom)?))));
        saved.collect::<std::result::Result<BTreeMap<_, _>, S::Error>>()?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SenderKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let saved = BTreeMap::<String, Blob>::deserialize(deserializer)?;
        let records = saved
            .into_iter()
            .map(|(name, blob)| Ok((name, SenderKeyRecord::deserialize(&blob.0).map_err(D::Error::custom)?)));
        records.collect::<std::result::Result<_, _>>().map(Self)
    }
}

impl Serialize for OneTimeKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let saved = self.0.iter().map(|(id, record)| Ok((id, Blob(record.serialize().map_err(S::Error::custom)?))));
        saved.collect::<std::result::Result<BTreeMap<_, _>, S::Error>>()?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OneTimeKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let saved = BTreeMap::<u32, Blob>::deserialize(deserializer)?;
        let records =
            saved.into_iter().map(|(id, blob)| Ok((id, PreKeyRecord::deserialize(&blob.0).map_err(D::Error::custom)?)));
        records.collect::<std::result::Result<_, _>>().map(Self)
    }
}

impl Serialize for SignedKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        Blob(self.0.serialize().map_err(S::Error::custom)?).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SignedKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let blob = Blob::deserialize(deserializer)?;
        SignedPreKeyRecord::deserialize(&blob.0).map(Self).map_err(D::Error::custom)
    }
}
