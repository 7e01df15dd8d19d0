//! Questions of devices, and their answers.

mod app_state;
mod companion;
mod encrypt;
mod groups;
mod settings;
mod usync;

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::Address;
use crate::codec::stanza::{attr, error_of, result_of};
use crate::events::EventKind;
use crate::link::LinkId;
use crate::world::World;

impl World {
    /// A device asks something, or answers what it was asked.
    pub(crate) fn iq(&mut self, id: LinkId, address: &Address, node: &Node) {
        let kind = attr(node, "type").unwrap_or_default();
        if !matches!(kind.as_str(), "get" | "set") {
            return self.iq_answer(id, address, node);
        }
        let namespace = attr(node, "xmlns").unwrap_or_default();
        let answer = match (namespace.as_str(), kind.as_str()) {
            ("w:p" | "urn:xmpp:ping", _) => {
                let pong = self.ping(id, address, node);
                if self.ignores_pings(id) {
                    return;
                }
                pong
            }
            ("encrypt", "get") => self.keys_get(address, node),
            ("usync", _) => self.usync(node),
            ("w:sync:app:state", _) => app_state::sync(node),
            ("w:m", _) => self.media_conn(node),
            ("privacy", "get") => settings::privacy(node),
            ("abt", _) => settings::props(node),
            ("blocklist", _) => settings::blocklist(node),
            // These have consequences that must follow their answer.
            ("encrypt", _) => return self.keys_set(id, address, node),
            ("passive", _) => return self.passive(id, address, node),
            ("w:g2", _) => return self.group_iq(id, address, node),
            ("urn:xmpp:whatsapp:dirty", _) => return self.cleaned(id, address, node),
            ("md", _) => return self.companion(id, address, node),
            _ => result_of(node).build(),
        };
        self.send(id, answer);
    }

    /// A client that is not paired yet asks something.
    pub(crate) fn unpaired_iq(&mut self, id: LinkId, node: &Node) {
        let kind = attr(node, "type").unwrap_or_default();
        if node.tag != "iq" || !matches!(kind.as_str(), "get" | "set") {
            return;
        }
        match node.get_optional_child("link_code_companion_reg") {
            Some(request) => self.link_code(id, node, request),
            None => self.send(id, result_of(node).build()),
        }
    }

    fn ping(&mut self, id: LinkId, address: &Address, node: &Node) -> Node {
        let now = self.now;
        let tally = self.tally(address);
        tally.pings += 1;
        tally.last_ping_at = Some(now);
        self.log(EventKind::Ping, Some(address.clone()), Some(id), serde_json::Value::Null);
        result_of(node).attr("t", self.seconds()).build()
    }

    fn passive(&mut self, id: LinkId, address: &Address, node: &Node) {
        self.send(id, result_of(node).build());
        if node.get_optional_child("active").is_some() {
            self.activate(id, address);
        }
    }
}

pub(super) fn not_found(request: &Node) -> Node {
    error_of(request, 404, "item-not-found")
}

pub(super) fn with_child(request: &Node, child: NodeBuilder) -> Node {
    result_of(request).children([child.build()]).build()
}
