//! The key of an account's app state, which the phone shares with each device that it links.

use serde_json::json;
use waproto::buffa::MessageField;
use waproto::whatsapp::Message;
use waproto::whatsapp::message::{
    AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId, AppStateSyncKeyShare,
    ProtocolMessage, protocol_message,
};

use crate::address::Address;
use crate::delivery::Outgoing;
use crate::events::EventKind;
use crate::world::World;

impl World {
    /// The phone shares the key of the account's app state with a device that it linked.
    pub(crate) fn share_app_state_key(&mut self, address: &Address) {
        if !self.rules.key_share {
            return;
        }
        let Some(device) = self.device(address).filter(|device| !device.key_shared) else {
            return;
        };
        device.key_shared = true;
        let Some(person) = self.people.get(&address.phone) else {
            return;
        };
        let plaintext =
            waproto::codec::message_to_vec(&app_state_key_share(person.raw_id, person.app_state_key, self.now));
        let outgoing =
            Outgoing { id: self.new_message_id(), from: address.phone.clone(), plaintext, peer: true, retry: None };
        if let Err(error) = self.message_to_device(address, outgoing) {
            self.log(EventKind::Undecryptable, Some(address.clone()), None, json!({ "why": error.to_string() }));
        }
    }
}

fn app_state_key_share(raw_id: u32, key: [u8; 32], now_ms: u64) -> Message {
    let fingerprint =
        AppStateSyncKeyFingerprint { raw_id: Some(raw_id), current_index: Some(0), device_indexes: vec![0] };
    let data = AppStateSyncKeyData {
        key_data: Some(key.to_vec()),
        fingerprint: MessageField::some(fingerprint),
        timestamp: i64::try_from(now_ms).ok(),
    };
    let id = AppStateSyncKeyId { key_id: Some([&[0, 0][..], &raw_id.to_be_bytes()].concat()) };
    let key = AppStateSyncKey { key_id: MessageField::some(id), key_data: MessageField::some(data) };
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare { keys: vec![key] }),
        ..ProtocolMessage::default()
    };
    Message { protocol_message: MessageField::some(protocol), ..Message::default() }
}
