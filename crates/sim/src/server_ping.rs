//! The server asks whether a client is there.

use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::Address;
use crate::api::Problem;
use crate::codec::stanza::{attr, server_jid};
use crate::events::EventKind;
use crate::link::LinkId;
use crate::world::World;

/// How many pings of a connection are remembered until they are answered; the oldest are forgotten.
const MOST_OPEN: usize = 64;

impl World {
    /// Pings the connections of an account's devices, or of one of them. Says how many.
    ///
    /// # Errors
    /// When the target is no name, or has no linked device.
    pub fn ping_devices(&mut self, target: &str) -> Result<usize, Problem> {
        let devices = self.linked_devices(target)?;
        let links: Vec<LinkId> =
            devices.iter().filter_map(|address| self.online_link(address).map(|(id, _)| id)).collect();
        for link in &links {
            let id = self.new_stanza_id();
            let now = self.now;
            if let Some(link) = self.links.get_mut(link) {
                if link.pings.len() >= MOST_OPEN {
                    link.pings.pop_front();
                }
                link.pings.push_back((id.clone(), now));
            }
            let ping = NodeBuilder::new("iq")
                .attr("from", server_jid())
                .attr("type", "get")
                .attr("xmlns", "urn:xmpp:ping")
                .attr("id", id);
            self.send(*link, ping.build());
        }
        Ok(links.len())
    }

    /// A client answered something: a ping, if it was asked one under this id.
    pub(crate) fn iq_answer(&mut self, id: LinkId, address: &Address, node: &Node) {
        let Some(name) = attr(node, "id") else { return };
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(place) = link.pings.iter().position(|(known, _)| *known == name) else {
            return;
        };
        if let Some((_, sent)) = link.pings.remove(place) {
            let detail = json!({ "id": name, "ms": now.saturating_sub(sent), "answer": attr(node, "type") });
            self.log(EventKind::Pong, Some(address.clone()), Some(id), detail);
        }
    }
}
