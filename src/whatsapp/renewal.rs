//! A device that came back from a backup: the same identity, with keys that no older state of it can have used.

use std::error::Error;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use holdfast_core::restored::{next_pre_key_id, next_signed_pre_key_id};
use wacore::libsignal::protocol::KeyPair;
use wacore::libsignal::store::record_helpers::new_signed_pre_key_record;
use wacore::store::Device;

use super::backend::signed_pre_key;
use crate::ports::clock::Clock;
use crate::ports::restore::{Renewal, Renewed};

/// One-time pre-keys of one upload, as WhatsApp Web has them.
const PRE_KEYS: usize = 812;
/// Those of a renewed device. A whole fleet may come back from copies at once, and 812 keys of each are most of that work; the server asks
/// for more when few are left.
const PRE_KEYS_OF_RENEWED: usize = 100;

/// Returns how many one-time pre-keys a device uploads when the server has none of it.
pub(super) fn pre_keys_wanted(device: &Device) -> usize {
    // A device that was just paired has not made any yet.
    let renewed = device.pn.is_some() && !device.server_has_prekeys && device.next_pre_key_id > 1;
    if renewed { PRE_KEYS_OF_RENEWED } else { PRE_KEYS }
}

/// Renews devices of the library.
#[derive(Debug, Clone, Copy)]
pub struct DeviceRenewal {
    clock: Clock,
}

impl DeviceRenewal {
    /// Makes one that dates what it makes by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl Renewal for DeviceRenewal {
    fn renew(&self, device: &[u8]) -> Result<Renewed, Box<dyn Error + Send + Sync>> {
        let mut device: Device = serde_json::from_slice(device)?;
        let now = self.clock.wall();
        let own = [&device.pn, &device.lid].into_iter().flatten().map(|jid| jid.user.to_string()).collect();

        // Others may still begin with the present signed pre-key. It stays, to decrypt, as after the library's own rotation.
        let outgoing = new_signed_pre_key_record(
            device.signed_pre_key_id,
            &device.signed_pre_key,
            device.signed_pre_key_signature,
            now,
        );
        let writes =
            vec![signed_pre_key(device.signed_pre_key_id, waproto::codec::signed_pre_key_record_to_vec(&outgoing))];
        let mut random = UnwrapErr(SysRng);
        device.signed_pre_key = KeyPair::generate(&mut random);
        device.signed_pre_key_id = next_signed_pre_key_id(device.signed_pre_key_id);
        let signature = device
            .identity_key
            .private_key
            .calculate_signature(&device.signed_pre_key.public_key.serialize(), &mut random)?;
        device.signed_pre_key_signature = signature.as_ref().try_into()?;
        device.last_signed_pre_key_rotation_ms = now.timestamp_millis();

        // A new window of one-time pre-keys, beyond any that was uploaded since; the login uploads it, with the signed pre-key.
        device.next_pre_key_id = next_pre_key_id(device.next_pre_key_id);
        device.first_unupload_pre_key_id = 0;
        device.server_has_prekeys = false;
        Ok(Renewed { device: serde_json::to_vec(&device)?, own, writes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_stays_and_no_id_of_a_key_comes_again() {
        let mut old = Device::new();
        old.pn = Some("5511999990001:7@s.whatsapp.net".parse().unwrap());
        old.lid = Some("900001:7@lid".parse().unwrap());
        (old.next_pre_key_id, old.first_unupload_pre_key_id, old.server_has_prekeys) = (1625, 1625, true);
        let renewed = DeviceRenewal::new(Clock::start()).renew(&serde_json::to_vec(&old).unwrap()).unwrap();
        let new: Device = serde_json::from_slice(&renewed.device).unwrap();

        assert_eq!((new.pn.clone(), new.registration_id), (old.pn.clone(), old.registration_id));
        let keys = |device: &Device| {
            [&device.noise_key, &device.identity_key].map(|pair| pair.public_key.public_key_bytes().to_vec())
        };
        assert_eq!(keys(&new), keys(&old));
        assert_eq!(new.adv_secret_key, old.adv_secret_key);

        assert!(new.next_pre_key_id > old.next_pre_key_id + 100 * 812 && !new.server_has_prekeys);
        assert!(new.signed_pre_key_id > old.signed_pre_key_id);
        let public = new.signed_pre_key.public_key.serialize();
        assert_ne!(public, old.signed_pre_key.public_key.serialize());
        let identity = &new.identity_key.public_key;
        assert!(identity.verify_signature(&public, &new.signed_pre_key_signature));

        assert_eq!((pre_keys_wanted(&old), pre_keys_wanted(&new)), (PRE_KEYS, PRE_KEYS_OF_RENEWED));
        let mut paired = Device::new();
        paired.pn.clone_from(&old.pn);
        assert_eq!(pre_keys_wanted(&paired), PRE_KEYS);

        assert_eq!(renewed.own, ["5511999990001", "900001"]);
        let [outgoing] = renewed.writes.as_slice() else { panic!("one value") };
        assert_eq!((outgoing.category, outgoing.key.as_str()), ("signed-pre-key", "0000000001"));
        let kept = waproto::codec::signed_pre_key_record_decode(outgoing.value.as_deref().unwrap()).unwrap();
        assert_eq!(kept.private_key.unwrap(), old.signed_pre_key.private_key.serialize().to_vec());
    }

    #[test]
    fn what_is_no_device_is_an_error() {
        assert!(DeviceRenewal::new(Clock::start()).renew(b"{}").is_err());
    }

    /// Reads the categories of stored values out of the sources that define them.
    #[test]
    fn every_category_of_values_has_a_fate() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/whatsapp/backend");
        let mut categories = Vec::new();
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        for file in files.filter(|path| path.is_file()) {
            let source = std::fs::read_to_string(file).unwrap();
            let constants = source.lines().filter(|line| line.starts_with("const ") || line.starts_with("pub"));
            let named = constants.filter(|line| line.contains(": &str = \"") && !line.contains("PROBE"));
            categories.extend(named.filter_map(|line| line.split('"').nth(1)).map(ToOwned::to_owned));
        }
        assert!(categories.len() > 20, "{categories:?}");
        for category in categories {
            let fate = holdfast_core::restored::fate(&category);
            assert!(fate.is_some(), "say in holdfast_core::restored what becomes of {category} after a restore");
        }
    }
}
