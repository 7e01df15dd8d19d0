//! What a copy of a session holds under the key: the instance's own secrets, and the fingerprint of the rest of the copy.

use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cipher::{Cipher, EncryptionKey, Place};
use super::envelope::{self, Creds};
use super::failure::{corrupt, unavailable, unreadable};
use crate::ports::copies::Particulars;
use crate::ports::layer::{SealedValue, SessionCopy};
use crate::ports::store::{ProxySpec, Settings, StoreError, WebhookSpec};

/// Reads a copy without a database.
///
/// # Errors
/// [`StoreError::Corrupt`] if any part of it does not open with the key, or does not belong to the rest.
pub fn open_copy(key: &EncryptionKey, copy: &SessionCopy) -> Result<Particulars, StoreError> {
    open(&Cipher::new(key), copy).map(|opened| opened.particulars)
}

/// What a copy holds under the key, but for its values.
pub(super) struct Opened {
    pub(super) particulars: Particulars,
    pub(super) device: Vec<u8>,
}

/// Opens a copy. Its values are not opened one by one: the fingerprint says that they are those that were [checked](check) before the copy was
/// made, so that it is enough to have their keys.
pub(super) fn open(cipher: &Cipher, copy: &SessionCopy) -> Result<Opened, StoreError> {
    let id = &copy.header.id;
    let place = Place::Copy { instance: id };
    let plain = cipher.open(place, &copy.particulars).map_err(|error| corrupt(place, error))?;
    let sealed: Sealed = serde_json::from_slice(&plain).map_err(|error| unreadable(place.describe(), error))?;
    let fingerprint = copy.fingerprint().map_err(|error| unreadable(place.describe(), error))?;
    if sealed.fingerprint != fingerprint {
        return Err(unreadable(place.describe(), "its parts are not of one copy"));
    }
    let device = open_device(cipher, copy)?;
    for value in &copy.values {
        cipher.has_key_of(&value.sealed).map_err(|error| corrupt(value.place(id), error))?;
    }
    Ok(Opened { device, particulars: sealed.into() })
}

/// Opens the device and all values of a copy that is being made: what does not open would take the place of a copy that does.
pub(super) fn check(cipher: &Cipher, copy: &SessionCopy) -> Result<(), StoreError> {
    let id = &copy.header.id;
    open_device(cipher, copy)?;
    for value in &copy.values {
        cipher.open(value.place(id), &value.sealed).map_err(|error| corrupt(value.place(id), error))?;
    }
    Ok(())
}

fn open_device(cipher: &Cipher, copy: &SessionCopy) -> Result<Vec<u8>, StoreError> {
    let id = &copy.header.id;
    match envelope::unwrap(cipher, id, &copy.device)? {
        Creds::Device(device) => Ok(device),
        Creds::Foreign => Err(unreadable(Place::Device { instance: id }.describe(), "it is another program's")),
    }
}

impl SealedValue {
    /// Returns where it belongs.
    pub(super) fn place<'a>(&'a self, instance: &'a InstanceId) -> Place<'a> {
        Place::Value { instance, category: &self.category, key: &self.key }
    }
}

/// Puts the particulars into a copy that has everything else.
pub(super) fn seal(cipher: &Cipher, copy: &mut SessionCopy, particulars: Particulars) -> Result<(), StoreError> {
    const DOING: &str = "copying a session";
    let fingerprint = copy.fingerprint().map_err(|error| unavailable(DOING, error))?;
    let plain =
        serde_json::to_vec(&Sealed::new(fingerprint, particulars)).map_err(|error| unavailable(DOING, error))?;
    let place = Place::Copy { instance: &copy.header.id };
    copy.particulars = cipher.seal(place, &plain).map_err(|error| unavailable(DOING, error))?;
    Ok(())
}

/// The particulars as they are written.
#[derive(Serialize, Deserialize)]
struct Sealed {
    fingerprint: [u8; 32],
    token: String,
    integration: Option<String>,
    number: Option<String>,
    business_id: Option<String>,
    owner_jid: Option<String>,
    profile_name: Option<String>,
    profile_picture: Option<String>,
    settings: Option<Settings>,
    proxy: Option<Proxy>,
    webhook: Option<Webhook>,
}

#[derive(Serialize, Deserialize)]
struct Proxy {
    enabled: bool,
    host: String,
    port: String,
    protocol: String,
    username: String,
    password: String,
}

#[derive(Serialize, Deserialize)]
struct Webhook {
    enabled: bool,
    url: String,
    headers: Option<Value>,
    by_events: bool,
    base64: bool,
    events: Vec<String>,
}

impl Sealed {
    fn new(fingerprint: [u8; 32], particulars: Particulars) -> Self {
        let Particulars {
            token,
            integration,
            number,
            business_id,
            owner_jid,
            profile_name,
            profile_picture,
            settings,
            proxy,
            webhook,
        } = particulars;
        let proxy = proxy.map(|spec| {
            let ProxySpec { enabled, host, port, protocol, username, password } = spec;
            Proxy { enabled, host, port, protocol, username, password }
        });
        let webhook = webhook.map(|spec| {
            let WebhookSpec { enabled, url, headers, by_events, base64, events } = spec;
            let events = events.iter().map(|name| name.key().to_owned()).collect();
            Webhook { enabled, url, headers, by_events, base64, events }
        });
        Self {
            fingerprint,
            token,
            integration,
            number,
            business_id,
            owner_jid,
            profile_name,
            profile_picture,
            settings,
            proxy,
            webhook,
        }
    }
}

impl From<Sealed> for Particulars {
    fn from(sealed: Sealed) -> Self {
        let Sealed {
            fingerprint: _,
            token,
            integration,
            number,
            business_id,
            owner_jid,
            profile_name,
            profile_picture,
            settings,
            proxy,
            webhook,
        } = sealed;
        let proxy = proxy.map(|proxy| {
            let Proxy { enabled, host, port, protocol, username, password } = proxy;
            ProxySpec { enabled, host, port, protocol, username, password }
        });
        let webhook = webhook.map(|webhook| {
            let Webhook { enabled, url, headers, by_events, base64, events } = webhook;
            // A name that this version does not know is one that it never tells.
            let events = events.iter().filter_map(|key| EventName::from_key(key)).collect();
            WebhookSpec { enabled, url, headers, by_events, base64, events }
        });
        Self {
            token,
            integration,
            number,
            business_id,
            owner_jid,
            profile_name,
            profile_picture,
            settings,
            proxy,
            webhook,
        }
    }
}
