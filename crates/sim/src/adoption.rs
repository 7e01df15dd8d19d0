//! Linking devices without a connection: somebody brings a device's public keys and is told what the phone says about it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::encoding;
use crate::events::EventKind;
use crate::keys::{OneTimeKey, SignedKey, is_signed_by};
use crate::pairing::{Registration, sign_device};
use crate::person::Device;
use crate::world::World;

/// The most devices that one request may bring.
const MOST_DEVICES: usize = 10_000;
/// The most one-time keys that a device may bring: what clients upload at once.
const MOST_KEYS: usize = 1000;

/// `POST /adopt`: devices to be linked.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdoptRequest {
    /// The devices, in the order of the answer.
    pub devices: Vec<AdoptDevice>,
}

/// The public keys of a device, in base64.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdoptDevice {
    /// The phone that links it; a new one when absent.
    pub phone: Option<String>,
    /// The Noise static key.
    #[serde(with = "encoding::key")]
    #[schema(value_type = String, format = Byte)]
    pub noise_pub: [u8; 32],
    /// The Signal identity.
    #[serde(with = "encoding::key")]
    #[schema(value_type = String, format = Byte)]
    pub identity_pub: [u8; 32],
    /// The Signal registration number.
    pub registration_id: u32,
    /// The signed prekey.
    pub skey: SignedKey,
    /// One-time prekeys; without any, the device is asked for them when it logs in.
    #[serde(default)]
    pub pre_keys: Vec<OneTimeKey>,
}

/// What became of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// Its JID.
    pub jid: String,
    /// Its hidden JID.
    pub lid: String,
    /// The phone's statement about it (`ADVSignedDeviceIdentity`, base64), to which the device adds its own signature.
    pub account: String,
}

/// The devices that were linked, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptAnswer {
    /// The devices.
    pub devices: Vec<Adopted>,
}

impl AdoptRequest {
    /// Looks at every device before the first is linked.
    ///
    /// # Errors
    /// When there are too many, or one has a wrong number or a wrongly signed key; the sentence names its place.
    pub fn check(&self) -> Result<(), Problem> {
        if self.devices.len() > MOST_DEVICES {
            return Err(Problem::bad_request(format!("at most {MOST_DEVICES} devices can be adopted at once")));
        }
        for (place, device) in self.devices.iter().enumerate() {
            let wrong = |why: String| Err(Problem::bad_request(format!("devices[{place}]: {why}")));
            if let Some(phone) = device.phone.as_deref().filter(|phone| Phone::parse(phone).is_none()) {
                return wrong(format!("'{phone}' is no phone number"));
            }
            if !is_signed_by(&device.identity_pub, &device.skey) {
                return wrong("skey.signature is not that of identityPub over the byte 5 and skey.value".to_owned());
            }
            if device.pre_keys.len() > MOST_KEYS {
                return wrong(format!("at most {MOST_KEYS} preKeys"));
            }
        }
        Ok(())
    }
}

impl World {
    /// A phone links a device whose public keys it was brought.
    ///
    /// # Errors
    /// When the number is wrong, or no unused one was found.
    pub fn adopt(&mut self, device: AdoptDevice) -> Result<Adopted, Problem> {
        let phone = self.phone_or_new(device.phone.as_deref())?;
        let registration = Registration {
            noise_key: device.noise_pub,
            identity: device.identity_pub,
            registration_id: device.registration_id,
            signed_key: device.skey,
            require_full_sync: None,
        };
        let address = Address::new(phone.clone(), self.next_device(&phone)?);
        let now = self.now;
        let person = self.people.get(&phone).ok_or(crate::signal::SignalError::Pending)?;
        let signing = sign_device(person, &registration, address.clone(), now, &mut self.rng)?;
        let statement = signing.for_adoption();
        let has_keys = !device.pre_keys.is_empty();
        let mut linked = Device::new(registration, signing.key_index, statement.clone(), now);
        linked.one_time_keys.add(device.pre_keys);
        self.insert_device(&address, linked);
        self.log(EventKind::Pair, Some(address.clone()), None, serde_json::json!({ "adopted": true }));
        if has_keys {
            self.share_app_state_key(&address);
        }
        Ok(Adopted {
            jid: address.to_string(),
            lid: address.lid_jid().to_string(),
            account: STANDARD.encode(statement),
        })
    }
}
