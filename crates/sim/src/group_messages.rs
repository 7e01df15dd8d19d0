//! What devices write in groups, and what becomes of it: every member reads it, or asks for it again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::{Address, Phone};
use crate::codec::stanza::{attr, content, jid_attr};
use crate::events::EventKind;
use crate::groups::GroupId;
use crate::link::LinkId;
use crate::messages::{Target, targets};
use crate::queue::Class;
use crate::signal::GROUP_KIND;
use crate::world::World;

/// A message of a device in a group.
struct Written<'n> {
    group: GroupId,
    id: String,
    from: &'n Address,
    node: &'n Node,
}

impl World {
    /// A device sends a message to a group, which is acknowledged if it is to be.
    pub(crate) fn group_message_from_device(
        &mut self,
        link: LinkId,
        from: &Address,
        group: GroupId,
        id: String,
        node: &Node,
        acked: bool,
    ) {
        let refusal = match self.groups.get(&group) {
            None => Some(404_u16),
            Some(group) if !group.members.contains_key(&from.phone) => Some(403),
            Some(_) => None,
        };
        let mut ack = NodeBuilder::new("ack")
            .attr("class", "message")
            .attr("id", id.as_str())
            .attr("from", group.jid())
            .attr("t", self.seconds());
        if let Some(code) = refusal {
            return self.send(link, ack.attr("error", code).build());
        }
        // A client that counts other devices than the server is told so, and asks who is in the group.
        let hash = self.groups.get(&group).map(|group| group.devices_hash(&self.people)).unwrap_or_default();
        if attr(node, "phash").is_some_and(|theirs| theirs != hash) {
            ack = ack.attr("phash", hash);
        }
        if acked {
            self.send(link, ack.build());
        }

        let written = Written { group, id, from, node };
        if jid_attr(node, "participant").is_some() {
            self.sealed_for_one(&written);
        } else {
            self.sealed_for_all(&written);
        }
    }

    /// Somebody asked for the message again and gets it sealed for them alone.
    fn sealed_for_one(&mut self, written: &Written<'_>) {
        let Some(participant) = jid_attr(written.node, "participant").and_then(|jid| self.resolve(&jid)) else {
            return;
        };
        for target in targets(written.node, &participant.jid()) {
            self.enter_in_ledger(written.from, &participant.to_string(), &target);
            if participant.device != 0 {
                let encs = vec![enc(&target)];
                self.forward_in_group(written, &participant, encs);
                continue;
            }
            match self.open_pairwise(written, &participant.phone, &target) {
                Ok(plaintext) => self.member_read(written, &participant.phone, &plaintext),
                Err(why) => self.member_could_not_read(written, &participant.phone, &why),
            }
        }
    }

    /// The message itself, sealed with the sender's key of the group, and that key for those who lack it.
    fn sealed_for_all(&mut self, written: &Written<'_>) {
        let mut keys: BTreeMap<Address, Target> = BTreeMap::new();
        let mut failures: BTreeMap<Phone, String> = BTreeMap::new();
        for target in targets(written.node, &written.group.jid()) {
            let Some(recipient) = self.resolve(&target.jid) else {
                continue;
            };
            self.enter_in_ledger(written.from, &recipient.to_string(), &target);
            if recipient.device != 0 {
                keys.insert(recipient, target);
            } else if let Err(why) = self.open_pairwise(written, &recipient.phone, &target) {
                failures.insert(recipient.phone, why);
            }
        }
        let members: BTreeSet<Phone> =
            self.groups.get(&written.group).map(|group| group.members.keys().cloned().collect()).unwrap_or_default();
        let sealed = written.node.get_children_by_tag("enc").find_map(|enc| {
            let kind = attr(enc, "type").filter(|kind| kind == GROUP_KIND)?;
            Some(Target { jid: written.group.jid(), kind, ciphertext: content(enc)?.to_vec() })
        });
        if let Some(sealed) = &sealed {
            self.enter_in_ledger(written.from, &written.group.to_string(), sealed);
        }
        for phone in &members {
            let Some(sealed) = &sealed else { break };
            let opened = self
                .people
                .get_mut(phone)
                .map(|person| person.signal.open_from_group(&written.group, written.from, &sealed.ciphertext));
            match opened {
                Some(Ok(plaintext)) => self.member_read(written, phone, &plaintext),
                Some(Err(error)) => {
                    let why = failures.remove(phone).unwrap_or_else(|| error.to_string());
                    self.member_could_not_read(written, phone, &why);
                }
                None => {}
            }
        }
        for device in self.devices_of(members.iter()).into_iter().filter(|device| device != written.from) {
            let encs: Vec<Node> = keys.get(&device).into_iter().chain(&sealed).map(enc).collect();
            if !encs.is_empty() {
                self.forward_in_group(written, &device, encs);
            }
        }
    }

    /// Opens what was sealed for one person, and takes the key that may be inside.
    fn open_pairwise(&mut self, written: &Written<'_>, phone: &Phone, target: &Target) -> Result<Vec<u8>, String> {
        self.person(phone).map_err(|error| error.to_string())?;
        self.touch();
        let Some(person) = self.people.get_mut(phone) else {
            return Err("nobody has this number".to_owned());
        };
        let opened = person.signal.open(written.from, &target.kind, &target.ciphertext, &mut self.rng);
        let plaintext = opened.map_err(|error| error.to_string())?;
        let message = waproto::codec::message_decode(&plaintext).map_err(|error| error.to_string())?;
        let key = message.sender_key_distribution_message.as_option();
        if let Some(bytes) = key.and_then(|key| key.axolotl_sender_key_distribution_message.as_deref()) {
            let learned = person.signal.learn_group_key(&written.group, written.from, bytes);
            learned.map_err(|error| error.to_string())?;
        }
        Ok(plaintext)
    }

    fn member_read(&mut self, written: &Written<'_>, phone: &Phone, plaintext: &[u8]) {
        let reader = Address::new(phone.clone(), 0);
        self.touch();
        self.retries.remove(&(written.from.clone(), retry_name(&written.id, phone)));
        // The sender's own phone reads along, and says nothing about it.
        if *phone == written.from.phone {
            return;
        }
        self.keep(written.from, &reader, &written.id, plaintext, Some(&written.group));
        let receipt = NodeBuilder::new("receipt")
            .attr("from", written.group.jid())
            .attr("id", written.id.as_str())
            .attr("t", self.seconds());
        let receipt = self.addressing(&written.group).participant(receipt, &reader).build();
        self.enqueue(written.from, written.id.clone(), Class::Receipt, &receipt);
    }

    fn member_could_not_read(&mut self, written: &Written<'_>, phone: &Phone, why: &str) {
        let reader = Address::new(phone.clone(), 0);
        self.tally(written.from).undecryptable += 1;
        self.log(
            EventKind::Undecryptable,
            Some(written.from.clone()),
            None,
            json!({ "id": written.id, "to": reader, "group": written.group, "why": why }),
        );
        let receipt = NodeBuilder::new("receipt").attr("from", written.group.jid());
        let receipt = self.addressing(&written.group).participant(receipt, &reader);
        self.ask_again(written.from, &reader, receipt, &written.id, retry_name(&written.id, phone));
    }

    /// Passes a message on to a linked device of a member, sealed as it is.
    fn forward_in_group(&mut self, written: &Written<'_>, to: &Address, encs: Vec<Node>) {
        let message = NodeBuilder::new("message")
            .attr("from", written.group.jid())
            .attr("id", written.id.as_str())
            .attr("t", self.seconds())
            .attr("type", attr(written.node, "type").unwrap_or_else(|| "text".to_owned()))
            .attr("notify", format!("Contact {}", written.from.phone));
        let message = self.addressing(&written.group).participant(message, written.from);
        let identity = written.node.get_optional_child("device-identity").cloned();
        let message = message.children(encs.into_iter().chain(identity)).build();
        self.enqueue(to, written.id.clone(), Class::Message, &message);
    }
}

/// Each member of a group asks for themselves.
fn retry_name(id: &str, phone: &Phone) -> String {
    format!("{id} {phone}")
}

fn enc(target: &Target) -> Node {
    NodeBuilder::new("enc").attr("v", "2").attr("type", target.kind.as_str()).bytes(target.ciphertext.clone()).build()
}
