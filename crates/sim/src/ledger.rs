//! Every message key that a device has ever used, so that using one twice is noticed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::encoding::hex;
use crate::signal::ChainPosition;

/// What the ledger says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// The key was never used before.
    Fresh,
    /// The very same ciphertext came before: nothing new was given away.
    Repeated,
    /// The key has sealed another message before.
    Reused,
}

type Chain = BTreeMap<u32, u64>;
/// By the chain's name.
type Chains = BTreeMap<String, Chain>;

/// The message keys used between pairs of devices, and by devices towards groups.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyLedger(BTreeMap<Address, BTreeMap<String, Chains>>);

impl KeyLedger {
    /// Enters a message and says whether its key was used before.
    pub fn enter(&mut self, from: &Address, to: &str, position: ChainPosition, ciphertext: &[u8]) -> KeyUse {
        let fingerprint = fingerprint(ciphertext);
        let chains = self.0.entry(from.clone()).or_default().entry(to.to_owned()).or_default();
        match chains.entry(hex(&position.ratchet)).or_default().insert(position.counter, fingerprint) {
            None => KeyUse::Fresh,
            Some(before) if before == fingerprint => KeyUse::Repeated,
            Some(_) => KeyUse::Reused,
        }
    }
}

fn fingerprint(ciphertext: &[u8]) -> u64 {
    Sha256::digest(ciphertext).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Phone;

    #[test]
    fn a_key_used_for_two_messages_is_noticed_and_a_repeated_message_is_told_apart() {
        let device = |number| Address::new(Phone::parse("5511999990001").unwrap(), number);
        let position = |counter| ChainPosition { ratchet: [7; 32], counter };
        let mut ledger = KeyLedger::default();
        assert_eq!(ledger.enter(&device(1), "phone", position(0), b"a"), KeyUse::Fresh);
        assert_eq!(ledger.enter(&device(1), "phone", position(1), b"b"), KeyUse::Fresh);
        assert_eq!(ledger.enter(&device(1), "phone", position(1), b"b"), KeyUse::Repeated);
        assert_eq!(ledger.enter(&device(1), "phone", position(1), b"c"), KeyUse::Reused);
        assert_eq!(
            ledger.enter(&device(1), "another", position(1), b"d"),
            KeyUse::Fresh,
            "another recipient is another chain"
        );

        let mut restored: KeyLedger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
        assert_eq!(restored.enter(&device(1), "phone", position(0), b"x"), KeyUse::Reused);
    }
}
