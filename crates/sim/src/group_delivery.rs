//! Groups towards devices: what people write in a group, and the keys that their messages are sealed with.

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::buffa::MessageField;
use waproto::whatsapp::Message;
use waproto::whatsapp::message::SenderKeyDistributionMessage;

use crate::address::{Address, Phone};
use crate::api::{MessageAnswer, MessageRequest, Problem};
use crate::groups::{Addressing, GroupId};
use crate::keys::Bundle;
use crate::person::Remembered;
use crate::queue::Class;
use crate::signal::{GROUP_KIND, Sealed, SignalError};
use crate::world::World;

impl World {
    /// A person writes in a group: the linked devices of its members get the message.
    ///
    /// # Errors
    /// When a name is wrong, somebody is not in the group, or nobody there has a linked device.
    pub fn write_to_group(&mut self, request: &MessageRequest) -> Result<MessageAnswer, Problem> {
        let MessageRequest { from, to, text, id, group } = request;
        let sender = self.somebody(from)?.phone;
        let recipient = if to.is_empty() { None } else { Some(self.somebody(to)?) };
        let group = self.group_of(group.as_deref().unwrap_or_default(), &sender, recipient.as_ref())?;
        let members = self.groups.get(&group).map(|group| group.members.clone()).unwrap_or_default();
        for phone in std::iter::once(&sender).chain(recipient.as_ref().map(|recipient| &recipient.phone)) {
            if !members.contains_key(phone) {
                return Err(Problem::conflict(format!("{phone} is not in the group {group}")));
            }
        }
        let mut devices = self.devices_of(members.keys());
        devices.retain(|device| recipient.as_ref().is_none_or(|recipient| means(recipient, device)));
        if devices.is_empty() {
            return Err(Problem::conflict(format!("nobody in {group} has a linked device that could get a message")));
        }
        let id = id.clone().unwrap_or_else(|| self.new_message_id());
        let plaintext =
            waproto::codec::message_to_vec(&Message { conversation: Some(text.clone()), ..Message::default() });
        self.group_message_to_devices(&group, &sender, &devices, &id, &plaintext)?;
        Ok(MessageAnswer { id, group: Some(group) })
    }

    /// The group that is meant; one that does not exist is made when it is clear who would be in it.
    fn group_of(&mut self, name: &str, sender: &Phone, recipient: Option<&Address>) -> Result<GroupId, Problem> {
        let id = if name.contains('@') {
            Some(name.parse().map_err(|why: String| Problem::bad_request(why))?)
        } else {
            None
        };
        let known = match &id {
            Some(id) => self.groups.get(id),
            None => self.groups.values().find(|group| group.subject == name && group.members.contains_key(sender)),
        };
        if let Some(group) = known {
            return Ok(group.id.clone());
        }
        let Some(recipient) = recipient else {
            return Err(Problem::not_found(format!("there is no group '{name}'; with 'to', it would be made")));
        };
        let mut devices = self.devices_of([sender, &recipient.phone].into_iter());
        devices.retain(|device| means(recipient, device));
        if devices.is_empty() {
            return Err(Problem::conflict(format!("{recipient} has no linked device that could get a message")));
        }
        let subject = if id.is_some() { "Group" } else { name };
        let others = [recipient.phone.clone()];
        let (id, news) = self.make_group(id, subject, sender, &others, Addressing::default())?;
        self.tell(news);
        Ok(id)
    }

    /// A person seals a message once for the whole group; devices that lack the key of it get that as well.
    pub(crate) fn group_message_to_devices(
        &mut self,
        group: &GroupId,
        from: &Phone,
        devices: &[Address],
        id: &str,
        plaintext: &[u8],
    ) -> Result<(), SignalError> {
        let own = Address::new(from.clone(), 0);
        self.person(from)?;
        let Some(person) = self.people.get_mut(from) else {
            return Err(SignalError::Pending);
        };
        // The key is taken before the message advances it.
        let key = key_message(group, person.signal.group_key(group, &own, &mut self.rng)?);
        let sealed = person.signal.seal_for_group(group, &own, plaintext, &mut self.rng)?;
        self.touch();
        for device in devices {
            let mut encs = Vec::new();
            if self.people.get(from).is_some_and(|person| person.signal.lacks_group_key(group, device)) {
                encs.push(enc(self.seal_for_device(from, device, &key, None)?, None));
                if let Some(person) = self.people.get_mut(from) {
                    person.signal.handed_group_key(group, device);
                }
            }
            encs.push(enc(Sealed { kind: GROUP_KIND, bytes: sealed.clone() }, None));
            self.put_group_message(group, from, device, id, plaintext, encs);
        }
        Ok(())
    }

    /// A device could not read a message of a group: its sender seals it for that device alone, in a new session.
    pub(crate) fn group_message_again(
        &mut self,
        group: &GroupId,
        device: &Address,
        message: &Remembered,
        bundle: Bundle,
        attempt: u32,
    ) -> Result<(), SignalError> {
        let sealed = self.seal_for_device(&message.from, device, &message.plaintext, Some(bundle))?;
        let encs = vec![enc(sealed, Some(attempt))];
        self.put_group_message(group, &message.from, device, &message.id, &message.plaintext, encs);
        Ok(())
    }

    fn put_group_message(
        &mut self,
        group: &GroupId,
        from: &Phone,
        device: &Address,
        id: &str,
        plaintext: &[u8],
        encs: Vec<Node>,
    ) {
        let addressing = self.addressing(group);
        let message = NodeBuilder::new("message")
            .attr("from", group.jid())
            .attr("id", id)
            .attr("t", self.seconds())
            .attr("type", "text")
            .attr("notify", format!("Contact {from}"));
        let message = addressing.participant(message, &Address::new(from.clone(), 0)).children(encs).build();
        if let Some(known) = self.device(device) {
            known.remember(Remembered {
                id: id.to_owned(),
                from: from.clone(),
                plaintext: plaintext.to_vec(),
                peer: false,
                group: Some(group.clone()),
            });
        }
        self.enqueue(device, id.to_owned(), Class::Message, &message);
    }

    pub(crate) fn addressing(&self, group: &GroupId) -> Addressing {
        self.groups.get(group).map(|group| group.addressing).unwrap_or_default()
    }
}

/// Whether a name, of a person or of one device, means this device.
fn means(name: &Address, device: &Address) -> bool {
    name.phone == device.phone && (name.device == 0 || name.device == device.device)
}

fn key_message(group: &GroupId, key: Vec<u8>) -> Vec<u8> {
    let key = SenderKeyDistributionMessage {
        group_id: Some(group.to_string()),
        axolotl_sender_key_distribution_message: Some(key),
    };
    let message = Message { sender_key_distribution_message: MessageField::some(key), ..Message::default() };
    waproto::codec::message_to_vec(&message)
}

fn enc(sealed: Sealed, attempt: Option<u32>) -> Node {
    let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", sealed.kind);
    if let Some(attempt) = attempt {
        enc = enc.attr("count", attempt);
    }
    enc.bytes(sealed.bytes).build()
}
