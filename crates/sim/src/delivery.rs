//! What goes to devices: messages of people, the queue, and what devices say about what they got.

use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Node, NodeValue};
use waproto::whatsapp::Message;

use crate::address::{Address, Phone};
use crate::codec::stanza::{
    attr, child_content, child_number, decode, encode, jid_attr, number, server_jid,
};
use crate::events::EventKind;
use crate::keys::{Bundle, OneTimeKey, SignedKey};
use crate::link::{LinkId, Stage};
use crate::person::Remembered;
use crate::queue::{Class, Confirmation};
use crate::signal::SignalError;
use crate::world::World;

/// After this many attempts a sender gives a message up, as WhatsApp's clients do.
const MOST_RETRIES: u32 = 5;
/// Below this many one-time keys the server asks a device for more.
const FEW_KEYS: usize = 10;

/// What goes into a message besides its text.
pub(crate) struct Outgoing {
    pub(crate) id: String,
    pub(crate) from: Phone,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) peer: bool,
    /// The keys to begin a new session with, and which attempt this is.
    pub(crate) retry: Option<(Bundle, u32)>,
}

impl World {
    /// A person encrypts a message for one linked device and puts it into the device's queue.
    pub(crate) fn message_to_device(
        &mut self,
        to: &Address,
        outgoing: Outgoing,
    ) -> Result<(), SignalError> {
        let Outgoing {
            id,
            from,
            plaintext,
            peer,
            retry,
        } = outgoing;
        let has_session = self.person(&from)?.signal.has_session(to);
        let attempt = retry.as_ref().map(|(_, attempt)| *attempt);
        let bundle = match retry {
            Some((bundle, _)) => Some(bundle),
            None if has_session => None,
            None => self.device_bundle(to),
        };
        let Some(sender) = self.people.get_mut(&from) else {
            return Err(SignalError::Pending);
        };
        if let Some(bundle) = bundle {
            sender.signal.begin_session(to, &bundle, &mut self.rng)?;
        }
        let sealed = sender.signal.seal(to, &plaintext, &mut self.rng)?;

        let mut enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", sealed.kind);
        if let Some(attempt) = attempt {
            enc = enc.attr("count", attempt);
        }
        let mut message = NodeBuilder::new("message")
            .attr("from", from.jid())
            .attr("id", id.as_str())
            .attr("t", self.seconds())
            .attr("type", "text");
        message = if peer {
            message.attr("category", "peer")
        } else {
            message
                .attr("sender_lid", from.lid_jid())
                .attr("notify", format!("Contact {from}"))
        };
        let node = message.children([enc.bytes(sealed.bytes).build()]).build();
        if let Some(device) = self.device(to) {
            device.remember(Remembered {
                id: id.clone(),
                from,
                plaintext,
                peer,
            });
        }
        self.enqueue(to, id, Class::Message, &node);
        Ok(())
    }

    /// Puts a stanza into a device's queue, and sends it at once if the device is there.
    pub(crate) fn enqueue(&mut self, to: &Address, id: String, class: Class, node: &Node) {
        let Ok(bytes) = encode(node) else { return };
        let Some(device) = self.device(to) else {
            return;
        };
        device.queue.push(id.clone(), class, bytes);
        self.touch();
        if class == Class::Message {
            self.log(
                EventKind::MessageQueued,
                Some(to.clone()),
                None,
                json!({ "id": id }),
            );
        }
        if let Some(link) = self.active_link(to) {
            self.send_queued(link, to, false);
        }
    }

    /// A device asked for what is waiting: it gets all of it, and is from now on served at once.
    pub(crate) fn activate(&mut self, id: LinkId, address: &Address) {
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = Stage::Online { active: true };
        }
        self.log(
            EventKind::Active,
            Some(address.clone()),
            Some(id),
            serde_json::Value::Null,
        );
        let waiting = self
            .device(address)
            .map_or(0, |device| device.queue.messages());
        if waiting > 0 {
            let preview = NodeBuilder::new("offline_preview")
                .attr("count", waiting)
                .attr("message", waiting)
                .attr("receipt", 0_u8);
            self.send(
                id,
                NodeBuilder::new("ib")
                    .attr("from", server_jid())
                    .children([preview.build()])
                    .build(),
            );
        }
        let sent = self.send_queued(id, address, true);
        // Both clients hold everything back until they see this.
        let end = NodeBuilder::new("offline").attr("count", sent).build();
        self.send(
            id,
            NodeBuilder::new("ib")
                .attr("from", server_jid())
                .children([end])
                .build(),
        );
    }

    fn send_queued(&mut self, id: LinkId, address: &Address, offline: bool) -> usize {
        let Some(device) = self.device(address) else {
            return 0;
        };
        let unsent = device.queue.take_unsent();
        let count = unsent.len();
        for (stanza_id, class, bytes) in unsent {
            let Ok(mut node) = decode(&bytes) else {
                continue;
            };
            if offline {
                node.attrs.insert("offline", NodeValue::from("1"));
            }
            self.send(id, node);
            if class == Class::Message {
                self.log(
                    EventKind::MessageOut,
                    Some(address.clone()),
                    Some(id),
                    json!({ "id": stanza_id, "offline": offline }),
                );
            }
        }
        count
    }

    /// A device acknowledges or refuses something.
    pub(crate) fn ack_from_device(&mut self, address: &Address, node: &Node) {
        let (Some(id), Some(class)) = (
            attr(node, "id"),
            attr(node, "class").as_deref().and_then(Class::parse),
        ) else {
            return;
        };
        let error = attr(node, "error").filter(|code| code != "0");
        if class == Class::Message && error.is_some() {
            self.tally(address).nacked += 1;
            self.log(
                EventKind::MessageNacked,
                Some(address.clone()),
                None,
                json!({ "id": id, "error": error }),
            );
        }
        self.confirm(address, &id, class, Confirmation::Ack);
    }

    /// A device says that it got or read messages, or that it could not decrypt one.
    pub(crate) fn receipt_from_device(&mut self, link: LinkId, address: &Address, node: &Node) {
        let Some(id) = attr(node, "id") else { return };
        let kind = attr(node, "type");
        let mut ack = NodeBuilder::new("ack")
            .attr("class", "receipt")
            .attr("id", id.as_str());
        if let Some(to) = jid_attr(node, "to") {
            ack = ack.attr("from", to);
        }
        if let Some(kind) = &kind {
            ack = ack.attr("type", kind.as_str());
        }
        self.send(link, ack.build());

        let listed = node
            .get_optional_child("list")
            .into_iter()
            .flat_map(|list| {
                list.get_children_by_tag("item")
                    .filter_map(|item| attr(item, "id"))
            });
        let ids: Vec<String> = std::iter::once(id.clone()).chain(listed).collect();
        for id in &ids {
            self.confirm(address, id, Class::Message, Confirmation::Receipt);
        }
        let recipient = jid_attr(node, "to").and_then(|jid| self.resolve(&jid));
        let event = if kind.as_deref() == Some("retry") {
            EventKind::RetryReceipt
        } else {
            EventKind::Receipt
        };
        self.log(
            event,
            Some(address.clone()),
            Some(link),
            json!({ "ids": ids, "kind": kind, "to": recipient }),
        );
        match recipient {
            Some(recipient) if recipient.device != 0 => {
                self.forward_receipt(address, &recipient, &id, node)
            }
            _ if event == EventKind::RetryReceipt => self.encrypt_again(address, &id, node),
            _ => {}
        }
    }

    fn confirm(&mut self, address: &Address, id: &str, class: Class, confirmation: Confirmation) {
        let Some(device) = self.device(address) else {
            return;
        };
        if device.queue.confirm(id, class, confirmation) {
            self.touch();
            if class == Class::Message {
                self.log(
                    EventKind::MessageAcked,
                    Some(address.clone()),
                    None,
                    json!({ "id": id }),
                );
            }
        }
    }

    /// The sender of a message begins a new session with the device that could not read it, and sends it once more.
    fn encrypt_again(&mut self, address: &Address, id: &str, node: &Node) {
        self.tally(address).retry_receipts += 1;
        let attempt = node
            .get_optional_child("retry")
            .and_then(|retry| attr(retry, "count"))
            .and_then(|count| count.parse().ok())
            .unwrap_or(1);
        let known = self.device(address).and_then(|device| {
            device
                .remembered
                .iter()
                .find(|message| message.id == id)
                .cloned()
        });
        let Some(message) = known.filter(|_| attempt <= MOST_RETRIES) else {
            return;
        };
        let Some(bundle) = bundle_of_receipt(node).or_else(|| self.device_bundle(address)) else {
            return;
        };
        let Remembered {
            id,
            from,
            plaintext,
            peer,
        } = message;
        let outgoing = Outgoing {
            id,
            from,
            plaintext,
            peer,
            retry: Some((bundle, attempt)),
        };
        if let Err(error) = self.message_to_device(address, outgoing) {
            self.log(
                EventKind::Undecryptable,
                Some(address.clone()),
                None,
                json!({ "why": error.to_string() }),
            );
        }
    }

    fn forward_receipt(&mut self, from: &Address, to: &Address, id: &str, node: &Node) {
        let mut receipt = node.clone();
        receipt.attrs.insert("from", NodeValue::from(from.jid()));
        receipt.attrs.insert("t", NodeValue::from(self.seconds()));
        self.enqueue(to, id.to_owned(), Class::Receipt, &receipt);
    }

    /// Keys for writing to a linked device; asks the device for more when few are left.
    pub(crate) fn device_bundle(&mut self, address: &Address) -> Option<Bundle> {
        let device = self.device(address)?;
        let bundle = device.bundle();
        let left = device.one_time_keys.len();
        self.touch();
        // One request at the threshold, and one when nothing is left, is enough for a device that listens.
        if bundle.one_time.is_some() && (left == FEW_KEYS || left == 0) {
            let id = self.new_stanza_id();
            let count = NodeBuilder::new("count").attr("value", left).build();
            let notification = NodeBuilder::new("notification")
                .attr("from", server_jid())
                .attr("type", "encrypt")
                .attr("id", id.as_str())
                .attr("t", self.seconds());
            self.enqueue(
                address,
                id,
                Class::Notification,
                &notification.children([count]).build(),
            );
        }
        Some(bundle)
    }

    /// The phone shares the key of the account's app state with a device that it linked.
    pub(crate) fn share_app_state_key(&mut self, address: &Address) {
        let Some(device) = self.device(address).filter(|device| !device.key_shared) else {
            return;
        };
        device.key_shared = true;
        let Some(person) = self.people.get(&address.phone) else {
            return;
        };
        let plaintext = waproto::codec::message_to_vec(&app_state_key_share(
            person.raw_id,
            person.app_state_key,
            self.now,
        ));
        let outgoing = Outgoing {
            id: self.new_message_id(),
            from: address.phone.clone(),
            plaintext,
            peer: true,
            retry: None,
        };
        if let Err(error) = self.message_to_device(address, outgoing) {
            self.log(
                EventKind::Undecryptable,
                Some(address.clone()),
                None,
                json!({ "why": error.to_string() }),
            );
        }
    }
}

fn app_state_key_share(raw_id: u32, key: [u8; 32], now_ms: u64) -> Message {
    use waproto::buffa::MessageField;
    use waproto::whatsapp::message::{
        AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId,
        AppStateSyncKeyShare, ProtocolMessage, protocol_message,
    };
    let fingerprint = AppStateSyncKeyFingerprint {
        raw_id: Some(raw_id),
        current_index: Some(0),
        device_indexes: vec![0],
        ..AppStateSyncKeyFingerprint::default()
    };
    let data = AppStateSyncKeyData {
        key_data: Some(key.to_vec()),
        fingerprint: MessageField::some(fingerprint),
        timestamp: i64::try_from(now_ms).ok(),
        ..AppStateSyncKeyData::default()
    };
    let id = AppStateSyncKeyId {
        key_id: Some([&[0, 0][..], &raw_id.to_be_bytes()].concat()),
        ..AppStateSyncKeyId::default()
    };
    let key = AppStateSyncKey {
        key_id: MessageField::some(id),
        key_data: MessageField::some(data),
        ..AppStateSyncKey::default()
    };
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare {
            keys: vec![key],
            ..AppStateSyncKeyShare::default()
        }),
        ..ProtocolMessage::default()
    };
    Message {
        protocol_message: MessageField::some(protocol),
        ..Message::default()
    }
}

/// The keys that a device puts into its second and later retry receipts.
fn bundle_of_receipt(receipt: &Node) -> Option<Bundle> {
    let keys = receipt.get_optional_child("keys")?;
    let bytes = |node: &Node, tag| <[u8; 32]>::try_from(child_content(node, tag)?).ok();
    let signed = keys.get_optional_child("skey")?;
    let one_time = keys.get_optional_child("key").and_then(|key| {
        Some(OneTimeKey {
            id: child_number(key, "id")?,
            value: bytes(key, "value")?,
        })
    });
    Some(Bundle {
        registration_id: number(child_content(receipt, "registration")?)?,
        identity: bytes(keys, "identity")?,
        signed: SignedKey {
            id: child_number(signed, "id")?,
            value: bytes(signed, "value")?,
            signature: child_content(signed, "signature")?.to_vec(),
        },
        one_time,
    })
}
