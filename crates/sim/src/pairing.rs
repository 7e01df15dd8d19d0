//! Linking a device: what the phone signs, and what the device has to sign in turn.

pub mod code;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::rngs::StdRng;
use sha2::Sha256;
use thiserror::Error;
use wacore_libsignal::protocol::PublicKey;
use waproto::buffa::Message as _;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;
use waproto::whatsapp::{
    ADVDeviceIdentity, ADVEncryptionType, ADVKeyIndexList, ADVSignedDeviceIdentity, ADVSignedDeviceIdentityHMAC,
    ADVSignedKeyIndexList, DeviceProps,
};

use crate::address::Address;
use crate::codec::stanza::number;
use crate::keys::SignedKey;
use crate::person::Person;
use crate::signal::SignalError;

const ACCOUNT_PREFIX: [u8; 2] = [6, 0];
const DEVICE_PREFIX: [u8; 2] = [6, 1];
const KEY_INDEX_PREFIX: [u8; 2] = [6, 2];

/// How an unpaired client introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The client's Noise static key.
    pub noise_key: [u8; 32],
    /// Its Signal identity.
    pub identity: [u8; 32],
    /// Its Signal registration number.
    pub registration_id: u32,
    /// Its signed prekey.
    pub signed_key: SignedKey,
    /// Whether it asks its phone for the whole history, if it says so.
    pub require_full_sync: Option<bool>,
}

impl Registration {
    /// Reads the registration of a ClientPayload.
    #[must_use]
    pub fn parse(noise_key: [u8; 32], data: &DevicePairingRegistrationData) -> Option<Self> {
        let key = |bytes: &Option<Vec<u8>>| <[u8; 32]>::try_from(bytes.as_deref()?).ok();
        let props = data.device_props.as_deref().and_then(|bytes| DeviceProps::decode_from_slice(bytes).ok());
        Some(Self {
            noise_key,
            identity: key(&data.e_ident)?,
            registration_id: number(data.e_regid.as_deref()?)?,
            signed_key: SignedKey {
                id: number(data.e_skey_id.as_deref()?)?,
                value: key(&data.e_skey_val)?,
                signature: data.e_skey_sig.clone()?,
            },
            require_full_sync: props.and_then(|props| props.require_full_sync),
        })
    }
}

/// A device that was scanned and has not signed yet.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The keys it introduced itself with.
    pub registration: Registration,
    /// The name it gets.
    pub address: Address,
    /// The number under which the phone vouches for it.
    pub key_index: u32,
    /// What the phone signed.
    pub details: Vec<u8>,
    /// The phone's identity.
    pub account_key: [u8; 32],
    /// The phone's signature.
    pub account_signature: Vec<u8>,
}

/// What a QR code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    /// The reference that names the connection.
    pub reference: String,
    /// The client's Noise static key.
    pub noise_key: [u8; 32],
    /// The client's identity.
    pub identity: [u8; 32],
    /// The secret that never goes over the wire.
    pub adv_secret: Vec<u8>,
}

/// Why a QR code is no use.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QrError {
    /// It has too few parts.
    #[error("a QR code has at least four parts separated by commas: reference, Noise key, identity key, secret")]
    Parts,
    /// A part is no base64 of the right length.
    #[error("the {0} of the QR code is no base64 of 32 bytes")]
    Key(&'static str),
}

impl QrCode {
    /// Reads a QR code, with or without the link that Baileys puts before it.
    ///
    /// # Errors
    /// When the text is no QR code of WhatsApp's.
    pub fn parse(text: &str) -> Result<Self, QrError> {
        let text = text.trim();
        let bare = text.rsplit_once('#').map_or(text, |(_, bare)| bare);
        let mut parts = bare.split(',');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(QrError::Parts);
        let (reference, noise, identity, secret) = (part()?, part()?, part()?, part()?);
        let key = |text: &str, name| {
            STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or(QrError::Key(name))
        };
        Ok(Self {
            reference: reference.to_owned(),
            noise_key: key(noise, "Noise key")?,
            identity: key(identity, "identity key")?,
            adv_secret: key(secret, "secret")?.to_vec(),
        })
    }
}

/// What the phone says about a device that it links.
///
/// # Errors
/// When the phone's key is unusable.
pub fn sign_device(
    person: &Person,
    registration: &Registration,
    address: Address,
    now_ms: u64,
    rng: &mut StdRng,
) -> Result<Signing, SignalError> {
    let key_index = u32::from(address.device);
    let details = ADVDeviceIdentity {
        raw_id: Some(person.raw_id),
        timestamp: Some(now_ms / 1000),
        key_index: Some(key_index),
        account_type: Some(ADVEncryptionType::E2EE),
        device_type: Some(ADVEncryptionType::E2EE),
    }
    .encode_to_vec();
    let account_signature =
        person.signal.sign(&[&ACCOUNT_PREFIX[..], &details, &registration.identity].concat(), rng)?;
    Ok(Signing {
        registration: registration.clone(),
        address,
        key_index,
        details,
        account_key: person.signal.identity(),
        account_signature,
    })
}

impl Signing {
    /// The content of `device-identity` in `pair-success`, sealed with the secret of the QR code, or the one that a typed code led to.
    #[must_use]
    pub fn for_device(&self, adv_secret: &[u8]) -> Vec<u8> {
        let details = self.statement(None).encode_to_vec();
        let hmac = mac(adv_secret, &details);
        ADVSignedDeviceIdentityHMAC {
            details: Some(details),
            hmac: Some(hmac),
            ..ADVSignedDeviceIdentityHMAC::default()
        }
        .encode_to_vec()
    }

    /// The statement for a device that is linked without being asked to sign.
    #[must_use]
    pub fn for_adoption(&self) -> Vec<u8> {
        self.statement(None).encode_to_vec()
    }

    /// Checks the device's answer; gives the statement that both have signed.
    #[must_use]
    pub fn verify(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let answer = ADVSignedDeviceIdentity::decode_from_slice(answer).ok()?;
        // Baileys leaves the account key out of its answer, other clients repeat it.
        let same_account =
            answer.account_signature_key.as_deref().is_none_or(|key| key.is_empty() || key == self.account_key);
        let signature =
            answer.device_signature.filter(|_| same_account && answer.details.as_deref() == Some(&self.details))?;
        let signed = [&DEVICE_PREFIX[..], &self.details, &self.registration.identity, &self.account_key].concat();
        let device = PublicKey::from_djb_public_key_bytes(&self.registration.identity).ok()?;
        device.verify_signature(&signed, &signature).then(|| self.statement(Some(signature)).encode_to_vec())
    }

    fn statement(&self, device_signature: Option<Vec<u8>>) -> ADVSignedDeviceIdentity {
        ADVSignedDeviceIdentity {
            details: Some(self.details.clone()),
            account_signature_key: Some(self.account_key.to_vec()),
            account_signature: Some(self.account_signature.clone()),
            device_signature,
        }
    }
}

/// The signed list of a person's devices, without which clients ignore all devices but the phone.
///
/// # Errors
/// When the phone's key is unusable.
pub fn key_index_list(person: &Person, now_ms: u64, rng: &mut StdRng) -> Result<Vec<u8>, SignalError> {
    let indexes: Vec<u32> = person.devices.values().map(|device| device.key_index).collect();
    let details = ADVKeyIndexList {
        raw_id: Some(person.raw_id),
        timestamp: Some(now_ms / 1000),
        current_index: Some(indexes.iter().copied().max().unwrap_or(0)),
        valid_indexes: indexes,
        account_type: Some(ADVEncryptionType::E2EE),
    }
    .encode_to_vec();
    let signature = person.signal.sign(&[&KEY_INDEX_PREFIX[..], &details].concat(), rng)?;
    Ok(ADVSignedKeyIndexList {
        details: Some(details),
        account_signature: Some(signature),
        ..ADVSignedKeyIndexList::default()
    }
    .encode_to_vec())
}

fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of every length, so this cannot fail; an empty tag would be refused by every client.
    Hmac::<Sha256>::new_from_slice(secret).map_or_else(
        |_| Vec::new(),
        |mut hmac| {
            hmac.update(message);
            hmac.finalize().into_bytes().to_vec()
        },
    )
}

#[cfg(test)]
mod tests;
