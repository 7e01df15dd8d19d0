//! Simulated people: a phone with its own Signal identity, and the devices that are linked to it.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::address::{Address, Phone};
use crate::ban::Ban;
use crate::dirty::Dirty;
use crate::encoding;
use crate::groups::GroupId;
use crate::keys::{Bundle, KeyPool, SignedKey};
use crate::pairing::Registration;
use crate::queue::Queue;
use crate::signal::{SignalError, SignalIdentity};

/// How many of the messages sent to a device are remembered, to be encrypted again if the device asks.
const REMEMBERED: usize = 256;

/// A person with a phone; everybody with a phone number is one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The phone number.
    pub phone: Phone,
    /// The phone's Signal identity and sessions.
    pub signal: SignalIdentity,
    /// Names this installation of WhatsApp in what the phone signs.
    pub raw_id: u32,
    /// The number of the next device to be linked.
    pub next_device: u16,
    /// The key that encrypts this account's app state.
    #[serde(with = "encoding::key")]
    pub app_state_key: [u8; 32],
    /// A ban that may be in force.
    #[serde(default)]
    pub banned: Option<Ban>,
    /// The linked devices. Boxed, as a map has room for eleven where most people have one.
    pub devices: BTreeMap<u16, Box<Device>>,
}

impl Person {
    /// Makes somebody new.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn generate(phone: Phone, now_ms: u64, rng: &mut StdRng) -> Result<Self, SignalError> {
        let mut app_state_key = [0; 32];
        rng.fill_bytes(&mut app_state_key);
        Ok(Self {
            phone,
            signal: SignalIdentity::generate(now_ms, rng)?,
            raw_id: rng.random_range(1..=u32::MAX >> 1),
            next_device: 1,
            app_state_key,
            banned: None,
            devices: BTreeMap::new(),
        })
    }

    /// The phone itself as a device.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::new(self.phone.clone(), 0)
    }

    /// The addresses of the linked devices.
    pub fn linked(&self) -> impl Iterator<Item = Address> {
        self.devices.keys().map(|device| Address::new(self.phone.clone(), *device))
    }

    /// Whether this person ever linked a device.
    #[must_use]
    pub fn ever_linked(&self) -> bool {
        self.next_device > 1
    }
}

/// A linked device, as the server and the phone know it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The Noise static key it was paired with.
    #[serde(with = "encoding::key")]
    pub noise_key: [u8; 32],
    /// Its Signal identity.
    #[serde(with = "encoding::key")]
    pub identity: [u8; 32],
    /// Its Signal registration number.
    pub registration_id: u32,
    /// Its signed prekey.
    pub signed_key: SignedKey,
    /// Its one-time prekeys.
    pub one_time_keys: KeyPool,
    /// The number under which the phone vouches for it.
    pub key_index: u32,
    /// The phone's statement about this device, signed by both.
    #[serde(with = "encoding::bytes")]
    pub account_identity: Vec<u8>,
    /// When it was linked, in milliseconds since 1970.
    pub linked_at: u64,
    /// Whether the phone has shared the key of the app state.
    pub key_shared: bool,
    /// What waits for it.
    pub queue: Queue,
    /// What was sent to it lately.
    pub remembered: VecDeque<Remembered>,
    /// How its next logins are to be refused.
    #[serde(default)]
    pub next_failures: Option<Refused>,
    /// What it has to look at again.
    #[serde(default)]
    pub dirty: Dirty,
}

/// Logins that are to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// With which code.
    pub reason: u16,
    /// How many.
    pub times: u16,
}

impl Device {
    /// The code with which this login is to be refused, if it is.
    pub fn refuses(&mut self) -> Option<u16> {
        let Refused { reason, times } = self.next_failures.take()?;
        self.next_failures = times.checked_sub(2).map(|left| Refused { reason, times: left + 1 });
        Some(reason)
    }

    /// A device that was just linked.
    #[must_use]
    pub fn new(registration: Registration, key_index: u32, account_identity: Vec<u8>, linked_at: u64) -> Self {
        Self {
            noise_key: registration.noise_key,
            identity: registration.identity,
            registration_id: registration.registration_id,
            signed_key: registration.signed_key,
            one_time_keys: KeyPool::default(),
            key_index,
            account_identity,
            linked_at,
            key_shared: false,
            queue: Queue::default(),
            remembered: VecDeque::new(),
            next_failures: None,
            dirty: Dirty::new(),
        }
    }

    /// Keys for somebody who wants to write to this device; uses up a one-time prekey.
    pub fn bundle(&mut self) -> Bundle {
        Bundle {
            registration_id: self.registration_id,
            identity: self.identity,
            signed: self.signed_key.clone(),
            one_time: self.one_time_keys.take(),
        }
    }

    /// Remembers a message, to be encrypted again if the device asks.
    pub fn remember(&mut self, message: Remembered) {
        self.remembered.retain(|known| known.id != message.id);
        if self.remembered.len() >= REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(message);
    }
}

/// A message that was sent to a device, before encryption.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// The message's id.
    pub id: String,
    /// Who sent it.
    pub from: Phone,
    /// The encoded message.
    #[serde(with = "encoding::bytes")]
    pub plaintext: Vec<u8>,
    /// Whether it is a message between devices of one account, which no person reads.
    pub peer: bool,
    /// The group in which it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
}
