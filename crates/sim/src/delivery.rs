//! What goes to devices: messages of people, by way of a queue for each device.

use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Node, NodeValue};

use crate::address::{Address, Phone};
use crate::codec::stanza::{attr, decode, encode, server_jid};
use crate::events::EventKind;
use crate::keys::Bundle;
use crate::link::{LinkId, Stage};
use crate::person::Remembered;
use crate::queue::{Class, Queue};
use crate::signal::{Sealed, SignalError};
use crate::world::World;

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
    pub(crate) fn message_to_device(&mut self, to: &Address, outgoing: Outgoing) -> Result<(), SignalError> {
        let Outgoing { id, from, plaintext, peer, retry } = outgoing;
        let (bundle, attempt) = retry.unzip();
        let sealed = self.seal_for_device(&from, to, &plaintext, bundle)?;

        let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", sealed.kind);
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
            message.attr("sender_lid", from.lid_jid()).attr("notify", format!("Contact {from}"))
        };
        let node = message.children([enc.bytes(sealed.bytes).build()]).build();
        if let Some(device) = self.device(to) {
            device.remember(Remembered { id: id.clone(), from, plaintext, peer, group: None });
        }
        self.enqueue(to, id, Class::Message, &node);
        Ok(())
    }

    /// A person encrypts something for one linked device; with these keys, or where there is none, in a new session.
    pub(crate) fn seal_for_device(
        &mut self,
        from: &Phone,
        to: &Address,
        plaintext: &[u8],
        bundle: Option<Bundle>,
    ) -> Result<Sealed, SignalError> {
        let has_session = self.person(from)?.signal.has_session(to);
        let bundle = if bundle.is_some() || has_session { bundle } else { self.device_bundle(to) };
        let Some(sender) = self.people.get_mut(from) else {
            return Err(SignalError::Pending);
        };
        if let Some(bundle) = bundle {
            sender.signal.begin_session(to, &bundle, &mut self.rng)?;
        }
        sender.signal.seal(to, plaintext, &mut self.rng)
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
            let mut detail = json!({ "id": id });
            if attr(node, "category").as_deref() == Some("peer") {
                detail["peer"] = json!(true);
            }
            self.log(EventKind::MessageQueued, Some(to.clone()), None, detail);
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
        self.log(EventKind::Active, Some(address.clone()), Some(id), serde_json::Value::Null);
        let waiting =
            |queue: &Queue| [Class::Message, Class::Receipt, Class::Notification].map(|class| queue.waiting(class));
        let [messages, receipts, notifications] = self.device(address).map_or([0; 3], |device| waiting(&device.queue));
        let count = messages + receipts + notifications;
        if count > 0 {
            let preview = NodeBuilder::new("offline_preview")
                .attr("count", count)
                .attr("message", messages)
                .attr("receipt", receipts)
                .attr("notification", notifications);
            self.send(id, NodeBuilder::new("ib").attr("from", server_jid()).children([preview.build()]).build());
        }
        self.tell_dirty(id, address);
        let sent = self.send_queued(id, address, true);
        if !self.rules.send_offline {
            return;
        }
        // Both clients hold everything back until they see this.
        let end = NodeBuilder::new("offline").attr("count", sent).build();
        self.send(id, NodeBuilder::new("ib").attr("from", server_jid()).children([end]).build());
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
            self.enqueue(address, id, Class::Notification, &notification.children([count]).build());
        }
        Some(bundle)
    }
}
