//! Sender keys: in a group everybody seals with a key of their own, which they hand to each device once.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use wacore_libsignal::protocol::{
    SenderKeyDistributionMessage, SenderKeyMessage, SenderKeyName, create_sender_key_distribution_message,
    group_decrypt, group_encrypt, process_sender_key_distribution_message,
};

use super::stores::SenderKeys;
use super::{ChainPosition, SignalError, SignalIdentity, now, pad, unpad};
use crate::address::Address;
use crate::groups::GroupId;

/// The type of a message that is sealed with a sender key.
pub const GROUP_KIND: &str = "skmsg";

/// What a person keeps for their groups.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GroupKeys {
    keys: SenderKeys,
    /// The devices that have this person's key of a group.
    told: BTreeMap<GroupId, BTreeSet<Address>>,
}

impl GroupKeys {
    /// A device whose session was begun anew may have lost what it was told in the old one.
    pub(super) fn forget_told(&mut self, device: &Address) {
        self.told.values_mut().for_each(|devices| {
            devices.remove(device);
        });
    }

    pub(super) fn forget(&mut self, device: &Address) {
        self.forget_told(device);
        self.keys.remove_sender(&device.signal().to_string());
    }
}

/// The place of a message in the chain of a sender key.
pub(super) fn sender_chain_position(bytes: &[u8]) -> Result<ChainPosition, SignalError> {
    let message = SenderKeyMessage::try_from(bytes)?;
    // A sender key is named by a number of four bytes.
    let mut ratchet = [0; 32];
    ratchet[28..].copy_from_slice(&message.chain_id().to_be_bytes());
    Ok(ChainPosition { ratchet, counter: message.iteration() })
}

fn name(group: &GroupId, sender: &Address) -> SenderKeyName {
    SenderKeyName::new(group.to_string(), sender.signal().to_string())
}

impl SignalIdentity {
    /// The own key of a group as it is handed to others, made if there is none.
    ///
    /// # Errors
    /// When a stored key is unusable.
    pub fn group_key(&mut self, group: &GroupId, own: &Address, rng: &mut StdRng) -> Result<Vec<u8>, SignalError> {
        let name = name(group, own);
        let made = create_sender_key_distribution_message(&name, &mut self.groups.keys, rng);
        Ok(now(made).ok_or(SignalError::Pending)??.serialized().to_vec())
    }

    /// Pads and seals a message for everybody who has the own key of the group.
    ///
    /// # Errors
    /// When there is no such key yet.
    pub fn seal_for_group(
        &mut self,
        group: &GroupId,
        own: &Address,
        plaintext: &[u8],
        rng: &mut StdRng,
    ) -> Result<Vec<u8>, SignalError> {
        let padded = pad(plaintext, rng);
        let name = name(group, own);
        let sealed = group_encrypt(&mut self.groups.keys, &name, &padded, rng);
        Ok(now(sealed).ok_or(SignalError::Pending)??.serialized().to_vec())
    }

    /// Takes a key that somebody handed over.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn learn_group_key(&mut self, group: &GroupId, sender: &Address, key: &[u8]) -> Result<(), SignalError> {
        let key = SenderKeyDistributionMessage::try_from(key)?;
        now(process_sender_key_distribution_message(&name(group, sender), &key, &mut self.groups.keys))
            .ok_or(SignalError::Pending)??;
        Ok(())
    }

    /// Opens what somebody sealed with their key of the group.
    ///
    /// # Errors
    /// When that key was never handed over, or the message was opened before.
    pub fn open_from_group(&mut self, group: &GroupId, sender: &Address, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
        let name = name(group, sender);
        let opened = group_decrypt(bytes, &mut self.groups.keys, &name);
        unpad(now(opened).ok_or(SignalError::Pending)??)
    }

    /// Whether a device was not handed the own key of the group yet, or may have lost it with its session.
    #[must_use]
    pub fn lacks_group_key(&self, group: &GroupId, device: &Address) -> bool {
        !self.has_session(device) || !self.groups.told.get(group).is_some_and(|devices| devices.contains(device))
    }

    /// Remembers that a device was handed the own key of the group.
    pub fn handed_group_key(&mut self, group: &GroupId, device: &Address) {
        self.groups.told.entry(group.clone()).or_default().insert(device.clone());
    }

    /// Gives up the own key of a group, as everybody does when somebody has left.
    pub fn forget_group_key(&mut self, group: &GroupId, own: &Address) {
        self.groups.told.remove(group);
        self.groups.keys.remove(&name(group, own));
    }
}
