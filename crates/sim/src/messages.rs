//! Messages: those that people write to devices, and those that devices send.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::whatsapp::Message;

use crate::address::{Address, Phone};
use crate::api::{MessageAnswer, MessageRequest, Problem};
use crate::codec::stanza::{attr, content, jid_attr, key_id, leaf};
use crate::delivery::Outgoing;
use crate::events::EventKind;
use crate::groups::GroupId;
use crate::ledger::KeyUse;
use crate::link::LinkId;
use crate::queue::Class;
use crate::signal::chain_position;
use crate::world::World;

const MOST_RETRIES: u8 = 5;
/// A message that comes again does so soon, so it is looked for among the last ones only.
const RECENT: usize = 1000;

/// A message that a device sent, as its recipient decrypted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SentMessage {
    /// Its id.
    pub id: String,
    /// The device that sent it.
    pub from: Address,
    /// The person it was for.
    pub to: Address,
    /// The group in which it was written, and in which the person read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// Its text, if it has one.
    pub text: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// How often it came.
    pub copies: u32,
}

pub(crate) struct Target {
    pub(crate) jid: Jid,
    pub(crate) kind: String,
    pub(crate) ciphertext: Vec<u8>,
}

impl World {
    /// A person writes, to an account or in a group.
    ///
    /// # Errors
    /// When a name is wrong, or nobody has a linked device that could get it.
    pub fn message(&mut self, request: MessageRequest) -> Result<MessageAnswer, Problem> {
        match request {
            MessageRequest { group: Some(_), .. } => self.write_to_group(&request),
            MessageRequest { from, to, text, id, group: None } => {
                self.write(&from, &to, &text, id).map(|id| MessageAnswer { id, group: None })
            }
        }
    }

    /// A person writes to an account: every linked device gets the message. Gives the message's id.
    ///
    /// # Errors
    /// When a name is wrong, or the account has no linked device.
    pub fn write(&mut self, from: &str, to: &str, text: &str, id: Option<String>) -> Result<String, Problem> {
        let sender = self.somebody(from)?;
        let recipient = self.somebody(to)?;
        if sender.phone == recipient.phone {
            return Err(Problem::bad_request("'from' and 'to' are the same person"));
        }
        let linked =
            self.people.get(&recipient.phone).map(|person| person.linked().collect::<Vec<_>>()).unwrap_or_default();
        let devices: Vec<Address> =
            linked.into_iter().filter(|device| recipient.device == 0 || *device == recipient).collect();
        if devices.is_empty() {
            return Err(Problem::conflict(format!("{to} has no linked device that could get a message")));
        }
        let id = id.unwrap_or_else(|| self.new_message_id());
        let plaintext =
            waproto::codec::message_to_vec(&Message { conversation: Some(text.to_owned()), ..Message::default() });
        for device in devices {
            let outgoing = Outgoing {
                id: id.clone(),
                from: sender.phone.clone(),
                plaintext: plaintext.clone(),
                peer: false,
                retry: None,
            };
            self.message_to_device(&device, outgoing)?;
        }
        Ok(id)
    }

    /// Who is meant by a phone number or a JID.
    pub(crate) fn somebody(&self, text: &str) -> Result<Address, Problem> {
        let by_jid =
            || text.contains('@').then(|| text.parse::<Jid>().ok()).flatten().and_then(|jid| self.resolve(&jid));
        let address = Phone::parse(text).map(|phone| Address::new(phone, 0)).or_else(by_jid);
        address
            .ok_or_else(|| Problem::bad_request(format!("'{text}' is neither a phone number nor the JID of somebody")))
    }

    /// A device sends a message.
    pub(crate) fn message_from_device(&mut self, link: LinkId, address: &Address, node: &Node) {
        let (Some(id), Some(to)) = (attr(node, "id"), jid_attr(node, "to")) else {
            return;
        };
        let peer = attr(node, "category").as_deref() == Some("peer");
        let failure = if peer { None } else { self.ruled_message(address) };
        let acked = failure.is_none();
        let ack = NodeBuilder::new("ack")
            .attr("class", "message")
            .attr("id", id.as_str())
            .attr("from", &to)
            .attr("t", self.seconds());
        if let Some(code) = failure.and_then(|failure| failure.code) {
            return self.send(link, ack.attr("error", code).build());
        }
        if let Some(group) = GroupId::of(&to) {
            return self.group_message_from_device(link, address, group, id, node, acked);
        }
        if acked {
            self.send(link, ack.build());
        }
        for target in targets(node, &to) {
            let Some(recipient) = self.resolve(&target.jid) else {
                continue;
            };
            self.enter_in_ledger(address, &recipient.to_string(), &target);
            if recipient.device == 0 {
                self.read_by_person(address, &recipient, &to, &id, &target, peer);
            } else {
                self.forward_message(address, &recipient, &to, &id, node, &target);
            }
        }
    }

    pub(crate) fn enter_in_ledger(&mut self, from: &Address, to: &str, target: &Target) {
        let Ok(position) = chain_position(&target.kind, &target.ciphertext) else {
            return;
        };
        match self.ledger.enter(from, to, position, &target.ciphertext) {
            KeyUse::Fresh => self.touch(),
            KeyUse::Repeated => self.tally(from).counters_repeated += 1,
            KeyUse::Reused => {
                self.tally(from).counters_reused += 1;
                self.log(
                    EventKind::CounterReused,
                    Some(from.clone()),
                    None,
                    json!({ "to": to, "counter": position.counter }),
                );
            }
        }
    }

    fn read_by_person(&mut self, from: &Address, to: &Address, chat: &Jid, id: &str, target: &Target, peer: bool) {
        if self.person(&to.phone).is_err() {
            return;
        }
        let Some(person) = self.people.get_mut(&to.phone) else {
            return;
        };
        let opened = person.signal.open(from, &target.kind, &target.ciphertext, &mut self.rng);
        self.touch();
        match opened {
            Ok(plaintext) => {
                self.retries.remove(&(from.clone(), id.to_owned()));
                // A copy for the sender's own phone is no message to anybody, unless somebody writes to themselves.
                let addressee = self.resolve(chat).map(|address| address.phone);
                if peer {
                    if from.phone == to.phone {
                        self.peer_message(from, &to.phone, id, &plaintext);
                    }
                } else if addressee.as_ref() == Some(&to.phone) {
                    self.keep(from, to, id, &plaintext, None);
                    self.delivery_receipt(from, chat, id);
                }
            }
            Err(error) => {
                self.tally(from).undecryptable += 1;
                self.log(
                    EventKind::Undecryptable,
                    Some(from.clone()),
                    None,
                    json!({ "id": id, "to": to, "why": error.to_string() }),
                );
                let receipt = NodeBuilder::new("receipt").attr("from", chat.to_non_ad());
                self.ask_again(from, to, receipt, id, id.to_owned());
            }
        }
    }

    /// Keeps what somebody read, on its own or in a group.
    pub(crate) fn keep(&mut self, from: &Address, to: &Address, id: &str, plaintext: &[u8], group: Option<&GroupId>) {
        let text = waproto::codec::message_decode(plaintext).ok().and_then(|message| text_of(&message));
        let mut detail = json!({ "id": id, "to": to, "text": text });
        if let Some(group) = group {
            detail["group"] = json!(group);
        }
        self.log(EventKind::MessageIn, Some(from.clone()), None, detail);
        let mut recent = self.sent.iter_mut().rev().take(RECENT);
        let known = recent.find(|message| {
            message.id == id && message.from == *from && message.to == *to && message.group.as_ref() == group
        });
        if let Some(message) = known {
            message.copies += 1;
            return;
        }
        if group.is_none() {
            self.answer(from, to, text.as_deref());
        }
        let (id, from, to, group, at) = (id.to_owned(), from.clone(), to.clone(), group.cloned(), self.now);
        self.sent.push(SentMessage { id, from, to, group, text, at, copies: 1 });
    }

    fn delivery_receipt(&mut self, device: &Address, chat: &Jid, id: &str) {
        let receipt =
            NodeBuilder::new("receipt").attr("from", chat.to_non_ad()).attr("id", id).attr("t", self.seconds()).build();
        self.enqueue(device, id.to_owned(), Class::Receipt, &receipt);
    }

    /// A person could not open a message and asks the device to encrypt it again, with fresh keys.
    /// The receipt says already in which chat.
    pub(crate) fn ask_again(
        &mut self,
        device: &Address,
        person: &Address,
        receipt: NodeBuilder,
        id: &str,
        name: String,
    ) {
        let attempts = self.retries.entry((device.clone(), name)).or_default();
        *attempts += 1;
        let attempt = *attempts;
        if attempt > MOST_RETRIES {
            return;
        }
        let now = self.seconds();
        let Some(bundle) =
            self.people.get_mut(&person.phone).and_then(|person| person.signal.bundle(&mut self.rng).ok())
        else {
            return;
        };
        let key = |tag: &'static str, id, value: [u8; 32]| {
            NodeBuilder::new(tag).children([leaf("id", key_id(id)), leaf("value", value)])
        };
        let mut keys = vec![leaf("type", [5]), leaf("identity", bundle.identity)];
        keys.extend(bundle.one_time.map(|one_time| key("key", one_time.id, one_time.value).build()));
        let signed = [
            leaf("id", key_id(bundle.signed.id)),
            leaf("value", bundle.signed.value),
            leaf("signature", bundle.signed.signature),
        ];
        keys.push(NodeBuilder::new("skey").children(signed).build());
        let retry =
            NodeBuilder::new("retry").attr("v", "1").attr("count", attempt).attr("id", id).attr("t", now).build();
        let children = [
            retry,
            leaf("registration", bundle.registration_id.to_be_bytes()),
            NodeBuilder::new("keys").children(keys).build(),
        ];
        let receipt = receipt.attr("id", id).attr("type", "retry").attr("t", now).children(children);
        self.enqueue(device, id.to_owned(), Class::Receipt, &receipt.build());
    }

    /// Passes a message on to another linked device, sealed as it is.
    fn forward_message(&mut self, from: &Address, to: &Address, chat: &Jid, id: &str, node: &Node, target: &Target) {
        let enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", target.kind.as_str())
            .bytes(target.ciphertext.clone())
            .build();
        let identity = node.get_optional_child("device-identity").cloned();
        let mut message = NodeBuilder::new("message")
            .attr("from", from.jid())
            .attr("id", id)
            .attr("t", self.seconds())
            .attr("type", attr(node, "type").unwrap_or_else(|| "text".to_owned()))
            .attr("sender_lid", from.lid_jid());
        if from.phone == to.phone {
            message = message.attr("recipient", chat.to_non_ad());
        }
        let message = message.children(std::iter::once(enc).chain(identity)).build();
        self.enqueue(to, id.to_owned(), Class::Message, &message);
    }
}

/// The one-to-one ciphertexts in a message, and whom each is for.
pub(crate) fn targets(node: &Node, to: &Jid) -> Vec<Target> {
    let sealed = |jid: &Jid, node: &Node| {
        node.get_children_by_tag("enc")
            .filter_map(|enc| {
                Some(Target { jid: jid.clone(), kind: attr(enc, "type")?, ciphertext: content(enc)?.to_vec() })
            })
            .filter(|target| matches!(target.kind.as_str(), "msg" | "pkmsg"))
            .collect::<Vec<_>>()
    };
    let listed = node
        .get_optional_child("participants")
        .into_iter()
        .flat_map(|participants| participants.get_children_by_tag("to"));
    let listed = listed.filter_map(|participant| Some(sealed(&jid_attr(participant, "jid")?, participant))).flatten();
    sealed(to, node).into_iter().chain(listed).collect()
}

fn text_of(message: &Message) -> Option<String> {
    // What one writes to oneself is wrapped as a copy of what was sent.
    if let Some(copy) = message.device_sent_message.as_option() {
        return copy.message.as_option().and_then(text_of);
    }
    let extended = || message.extended_text_message.as_option().and_then(|extended| extended.text.clone());
    message.conversation.clone().or_else(extended)
}
