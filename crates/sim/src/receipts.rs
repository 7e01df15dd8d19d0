//! What devices say about what they got: acknowledgements, refusals, receipts, and requests to encrypt again.

use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Node, NodeValue};

use crate::address::Address;
use crate::codec::stanza::{attr, child_content, child_number, jid_attr, number};
use crate::delivery::Outgoing;
use crate::events::EventKind;
use crate::groups::GroupId;
use crate::keys::{Bundle, OneTimeKey, SignedKey};
use crate::link::LinkId;
use crate::person::Remembered;
use crate::queue::{Class, Confirmation};
use crate::world::World;

/// After this many attempts a sender gives a message up, as WhatsApp's clients do.
const MOST_RETRIES: u32 = 5;

impl World {
    /// A device acknowledges or refuses something.
    pub(crate) fn ack_from_device(&mut self, address: &Address, node: &Node) {
        let (Some(id), Some(class)) = (attr(node, "id"), attr(node, "class").as_deref().and_then(Class::parse)) else {
            return;
        };
        let error = attr(node, "error").filter(|code| code != "0");
        if class == Class::Message && error.is_some() {
            self.tally(address).nacked += 1;
            self.log(EventKind::MessageNacked, Some(address.clone()), None, json!({ "id": id, "error": error }));
        }
        self.confirm(address, &id, class, Confirmation::Ack);
    }

    /// A device says that it got or read messages, or that it could not decrypt one.
    pub(crate) fn receipt_from_device(&mut self, link: LinkId, address: &Address, node: &Node) {
        let Some(id) = attr(node, "id") else { return };
        let kind = attr(node, "type");
        let mut ack = NodeBuilder::new("ack").attr("class", "receipt").attr("id", id.as_str());
        if let Some(to) = jid_attr(node, "to") {
            ack = ack.attr("from", to);
        }
        if let Some(kind) = &kind {
            ack = ack.attr("type", kind.as_str());
        }
        if let Some(participant) = jid_attr(node, "participant") {
            ack = ack.attr("participant", participant);
        }
        self.send(link, ack.build());

        let listed = node
            .get_optional_child("list")
            .into_iter()
            .flat_map(|list| list.get_children_by_tag("item").filter_map(|item| attr(item, "id")));
        let ids: Vec<String> = std::iter::once(id.clone()).chain(listed).collect();
        for id in &ids {
            self.confirm(address, id, Class::Message, Confirmation::Receipt);
        }
        let chat = jid_attr(node, "to");
        let group = chat.as_ref().and_then(GroupId::of);
        // In a group it is for whoever wrote the message.
        let author = if group.is_some() { jid_attr(node, "participant") } else { chat };
        let recipient = author.and_then(|jid| self.resolve(&jid));
        let event = if kind.as_deref() == Some("retry") { EventKind::RetryReceipt } else { EventKind::Receipt };
        let mut detail = json!({ "ids": ids, "kind": kind, "to": recipient });
        if let Some(group) = &group {
            detail["group"] = json!(group);
        }
        self.log(event, Some(address.clone()), Some(link), detail);
        match recipient {
            Some(recipient) if recipient.device != 0 => {
                self.forward_receipt(address, &recipient, group.as_ref(), &id, node);
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
                self.log(EventKind::MessageAcked, Some(address.clone()), None, json!({ "id": id }));
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
        let known =
            self.device(address).and_then(|device| device.remembered.iter().find(|message| message.id == id).cloned());
        let Some(message) = known.filter(|_| attempt <= MOST_RETRIES) else {
            return;
        };
        let Some(bundle) = bundle_of_receipt(node).or_else(|| self.device_bundle(address)) else {
            return;
        };
        let again = if let Some(group) = message.group.clone() {
            self.group_message_again(&group, address, &message, bundle, attempt)
        } else {
            let Remembered { id, from, plaintext, peer, group: _ } = message;
            let outgoing = Outgoing { id, from, plaintext, peer, retry: Some((bundle, attempt)) };
            self.message_to_device(address, outgoing)
        };
        if let Err(error) = again {
            self.log(EventKind::Undecryptable, Some(address.clone()), None, json!({ "why": error.to_string() }));
        }
    }

    fn forward_receipt(&mut self, from: &Address, to: &Address, group: Option<&GroupId>, id: &str, node: &Node) {
        let mut receipt = node.clone();
        match group {
            Some(group) => {
                let reader = self.addressing(group).name(from);
                receipt.attrs.insert("from", NodeValue::from(group.jid()));
                receipt.attrs.insert("participant", NodeValue::from(reader));
            }
            None => receipt.attrs.insert("from", NodeValue::from(from.jid())),
        }
        receipt.attrs.insert("t", NodeValue::from(self.seconds()));
        self.enqueue(to, id.to_owned(), Class::Receipt, &receipt);
    }
}

/// The keys that a device puts into its second and later retry receipts.
fn bundle_of_receipt(receipt: &Node) -> Option<Bundle> {
    let keys = receipt.get_optional_child("keys")?;
    let bytes = |node: &Node, tag| <[u8; 32]>::try_from(child_content(node, tag)?).ok();
    let signed = keys.get_optional_child("skey")?;
    let one_time = keys
        .get_optional_child("key")
        .and_then(|key| Some(OneTimeKey { id: child_number(key, "id")?, value: bytes(key, "value")? }));
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
