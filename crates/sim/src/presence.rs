//! Who is there and who types: what devices say of themselves, what they ask of others, and what people do.
//!
//! Presence is of the moment. It is not kept in the state file, and a connection takes its questions with it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::api::signs::PresenceRequest;
use crate::codec::stanza::{attr, jid_attr};
use crate::events::EventKind;
use crate::groups::GroupId;
use crate::link::LinkId;
use crate::world::World;

/// How many people one connection may ask about.
const MOST_SUBSCRIPTIONS: usize = 4096;

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// They are there.
    Available,
    /// They are not.
    Unavailable,
    /// They type.
    Composing,
    /// They record their voice.
    Recording,
    /// They stopped typing or recording.
    Paused,
}

impl State {
    /// What is inside a `<chatstate>`.
    fn chat_node(self) -> Option<Node> {
        match self {
            Self::Available | Self::Unavailable => None,
            Self::Composing => Some(NodeBuilder::new("composing").build()),
            Self::Recording => Some(NodeBuilder::new("composing").attr("media", "audio").build()),
            Self::Paused => Some(NodeBuilder::new("paused").build()),
        }
    }

    fn of_chat_node(node: &Node) -> Option<Self> {
        let child = node.children()?.first()?;
        match child.tag.as_ref() {
            "composing" if attr(child, "media").as_deref() == Some("audio") => Some(Self::Recording),
            "composing" => Some(Self::Composing),
            "paused" => Some(Self::Paused),
            _ => None,
        }
    }
}

/// Whether a person is there, as far as they said so.
#[derive(Clone, Copy, Debug)]
pub struct Presence {
    available: bool,
    /// When that began, in seconds since 1970.
    since: u64,
}

impl World {
    /// A device says that it is there or not, or asks about somebody.
    pub(crate) fn presence_from_device(&mut self, id: LinkId, address: &Address, node: &Node) {
        let kind = attr(node, "type");
        let about = jid_attr(node, "to").and_then(|jid| Some((self.resolve(&jid)?.phone, jid.to_non_ad())));
        match kind.as_deref() {
            // A new name alone says nothing about who is there.
            None => {
                let detail = json!({ "state": null, "name": attr(node, "name") });
                self.log(EventKind::Presence, Some(address.clone()), Some(id), detail);
            }
            Some("available" | "unavailable") => {
                let available = kind.as_deref() != Some("unavailable");
                if let Some(link) = self.links.get_mut(&id) {
                    link.available = available;
                }
                let detail = json!({ "state": if available { State::Available } else { State::Unavailable }, "name": attr(node, "name") });
                self.log(EventKind::Presence, Some(address.clone()), Some(id), detail);
                self.announce(&address.phone);
            }
            Some("subscribe") => {
                let Some((phone, jid)) = about else { return };
                self.subscribe(id, &phone, jid.clone());
                let detail = json!({ "state": "subscribe", "to": phone.jid().to_string() });
                self.log(EventKind::Presence, Some(address.clone()), Some(id), detail);
                let answer = self.presence_node(&phone, &jid);
                self.send(id, answer);
            }
            Some("unsubscribe") => {
                if let (Some((phone, _)), Some(link)) = (about, self.links.get_mut(&id)) {
                    link.subscriptions.remove(&phone);
                }
            }
            Some(_) => {}
        }
    }

    fn subscribe(&mut self, id: LinkId, phone: &Phone, jid: Jid) {
        if let Some(link) = self.links.get_mut(&id)
            && (link.subscriptions.len() < MOST_SUBSCRIPTIONS || link.subscriptions.contains_key(phone))
        {
            link.subscriptions.insert(phone.clone(), jid);
        }
    }

    /// A device says that it types.
    pub(crate) fn chat_state_from_device(&mut self, id: LinkId, address: &Address, node: &Node) {
        let (Some(to), Some(state)) = (jid_attr(node, "to"), State::of_chat_node(node)) else {
            return;
        };
        let detail = json!({ "state": state, "to": to.to_string() });
        self.log(EventKind::ChatState, Some(address.clone()), Some(id), detail);
        let group = GroupId::of(&to);
        let mut devices = match &group {
            Some(group) => self.devices_in(group),
            None => self.resolve(&to).map(|to| self.devices_of(std::iter::once(&to.phone))).unwrap_or_default(),
        };
        devices.retain(|device| device.phone != address.phone);
        self.chat_state(address, group.as_ref(), &devices, state);
    }

    /// A person comes, goes, or types. Says how many connections were told.
    ///
    /// # Errors
    /// When a name is wrong, or nobody is named to whom they type.
    pub fn be_present(&mut self, request: &PresenceRequest) -> Result<usize, Problem> {
        let from = self.somebody(&request.from)?.phone;
        let to = request.to.as_deref().map(|name| self.somebody(name)).transpose()?;
        let group = request.group.as_deref().map(|name| self.group_named(name)).transpose()?;
        if let State::Available | State::Unavailable = request.state {
            if to.is_some() || group.is_some() {
                return Err(Problem::bad_request(
                    "who comes or goes does so for everybody: leave 'to' and 'group' out",
                ));
            }
            let presence = Presence { available: request.state == State::Available, since: self.seconds() };
            self.person(&from)?;
            self.presences.insert(from.clone(), presence);
            return Ok(self.announce(&from));
        }
        let mut devices = match (&to, &group) {
            (None, None) => return Err(Problem::bad_request("who types does so in a chat: give 'to' or 'group'")),
            (Some(to), None) => self.devices_of(std::iter::once(&to.phone)),
            (_, Some(group)) => self.devices_in(group),
        };
        if let Some(to) = &to {
            devices.retain(|device| device.phone == to.phone && (to.device == 0 || to.device == device.device));
        }
        devices.retain(|device| device.phone != from);
        Ok(self.chat_state(&Address::new(from, 0), group.as_ref(), &devices, request.state))
    }

    fn devices_in(&self, group: &GroupId) -> Vec<Address> {
        self.groups.get(group).map(|group| self.devices_of(group.members.keys())).unwrap_or_default()
    }

    /// Whether an account's device is there.
    pub(crate) fn device_available(&self, address: &Address) -> bool {
        self.online_link(address).is_some_and(|(_, link)| link.available)
    }

    /// Tells everybody who asked how it stands with somebody.
    fn announce(&mut self, phone: &Phone) -> usize {
        let asked = self.links.iter().filter(|(_, link)| link.online());
        let asked: Vec<(LinkId, Jid)> =
            asked.filter_map(|(id, link)| Some((*id, link.subscriptions.get(phone)?.clone()))).collect();
        for (id, jid) in &asked {
            let presence = self.presence_node(phone, jid);
            self.send(*id, presence);
        }
        asked.len()
    }

    fn presence_node(&self, phone: &Phone, jid: &Jid) -> Node {
        let said = self.presences.get(phone);
        let there = said.is_some_and(|said| said.available)
            || self.devices_of(std::iter::once(phone)).iter().any(|device| self.device_available(device));
        let presence = NodeBuilder::new("presence").attr("from", jid);
        if there {
            return presence.build();
        }
        // Of whoever never came nothing is known, as of somebody who does not show it.
        let last = said.map_or_else(|| "deny".to_owned(), |said| said.since.to_string());
        presence.attr("type", "unavailable").attr("last", last).build()
    }

    fn chat_state(&mut self, from: &Address, group: Option<&GroupId>, devices: &[Address], state: State) -> usize {
        let Some(child) = state.chat_node() else { return 0 };
        let chat = NodeBuilder::new("chatstate");
        let chat = match group {
            Some(group) => {
                let name = self.addressing(group).name(from);
                chat.attr("from", group.jid()).attr("participant", name)
            }
            None => chat.attr("from", from.jid()),
        };
        let node = chat.children([child]).build();
        let links: Vec<LinkId> = devices.iter().filter_map(|device| self.active_link(device)).collect();
        for id in &links {
            self.send(*id, node.clone());
        }
        links.len()
    }

    /// A connection is gone, and with it what its device said of itself.
    pub(crate) fn gone(&mut self, address: Option<&Address>, available: bool) {
        if let Some(address) = address.filter(|_| available) {
            let detail: Value = json!({ "state": State::Unavailable, "name": null });
            self.log(EventKind::Presence, Some(address.clone()), None, detail);
            self.announce(&address.phone);
        }
    }
}
