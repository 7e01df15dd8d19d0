//! Who somebody is: whether a number is on WhatsApp, its hidden identity, and its devices.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, Server};

use super::{not_found, with_child};
use crate::address::Phone;
use crate::codec::stanza::{attr, child_content, jid_attr, leaf};
use crate::pairing::key_index_list;
use crate::world::World;

impl World {
    pub(super) fn usync(&mut self, node: &Node) -> Node {
        let Some(request) = node.get_optional_child("usync") else {
            return not_found(node);
        };
        let children = |tag| request.get_optional_child(tag).and_then(Node::children).unwrap_or_default();
        let wanted: Vec<&str> = children("query").iter().map(|protocol| protocol.tag.as_ref()).collect();
        let users: Vec<Node> = children("list")
            .iter()
            .filter(|user| user.tag == "user")
            .filter_map(|user| self.usync_user(user, &wanted))
            .collect();
        let mut answer = NodeBuilder::new("usync");
        for key in ["sid", "mode", "context", "index", "last"] {
            if let Some(value) = attr(request, key) {
                answer = answer.attr(key, value);
            }
        }
        with_child(
            node,
            answer.children([NodeBuilder::new("result").build(), NodeBuilder::new("list").children(users).build()]),
        )
    }

    fn usync_user(&mut self, user: &Node, wanted: &[&str]) -> Option<Node> {
        let asked = jid_attr(user, "jid").map(|jid| jid.to_non_ad());
        let number = child_content(user, "contact").map(|text| String::from_utf8_lossy(text).into_owned());
        let phone = match (&asked, &number) {
            (Some(jid), _) => self.resolve(jid)?.phone,
            (None, Some(number)) => match Phone::parse(number) {
                Some(phone) => phone,
                None => return Some(nobody(number)),
            },
            (None, None) => return None,
        };
        self.person(&phone).ok()?;
        let jid = asked.unwrap_or_else(|| phone.jid());
        let mut answer = NodeBuilder::new("user").attr("jid", &jid);
        if jid.server == Server::Lid {
            answer = answer.attr("pn_jid", phone.jid());
        }
        let known = wanted.iter().filter_map(|protocol| match *protocol {
            "devices" => self.device_list(&phone),
            "lid" => Some(NodeBuilder::new("lid").attr("val", phone.lid_jid()).build()),
            "contact" => Some(contact("in", number.as_deref())),
            "status" => Some(leaf("status", "")),
            _ => None,
        });
        Some(answer.children(known.collect::<Vec<_>>()).build())
    }

    fn device_list(&mut self, phone: &Phone) -> Option<Node> {
        let person = self.people.get(phone)?;
        let phone_itself = NodeBuilder::new("device").attr("id", 0_u8).build();
        let companions = person.devices.iter().map(|(number, device)| {
            NodeBuilder::new("device").attr("id", *number).attr("key-index", device.key_index).build()
        });
        let devices = std::iter::once(phone_itself).chain(companions);
        let list = NodeBuilder::new("device-list").children(devices).build();
        // Without the signed list, clients ignore all devices but the phone.
        let signed = key_index_list(person, self.now, &mut self.rng).ok()?;
        let indexes = NodeBuilder::new("key-index-list").attr("ts", self.now / 1000).bytes(signed).build();
        Some(NodeBuilder::new("devices").children([list, indexes]).build())
    }
}

fn contact(kind: &'static str, number: Option<&str>) -> Node {
    let node = NodeBuilder::new("contact").attr("type", kind);
    number.map_or_else(
        || NodeBuilder::new("contact").attr("type", kind).build(),
        |number| node.bytes(number.as_bytes()).build(),
    )
}

/// What is said about a text that is no phone number.
fn nobody(number: &str) -> Node {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    NodeBuilder::new("user").attr("jid", Jid::pn(digits)).children([contact("out", Some(number))]).build()
}
