//! Calls: a person rings a linked account, and gives up. There is no sound.

use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use crate::address::Address;
use crate::api::Problem;
use crate::api::signs::{CallAnswer, CallRequest, Ringing};
use crate::codec::stanza::{attr, jid_attr};
use crate::events::EventKind;
use crate::link::LinkId;
use crate::world::World;

/// The longest id of a call.
const LONGEST_ID: usize = 64;

impl World {
    /// Rings the connected devices of an account, or stops. Says under which id, and how many heard it.
    ///
    /// # Errors
    /// When a name is wrong, the account has no linked device, or the id is none.
    pub fn call(&mut self, request: &CallRequest) -> Result<CallAnswer, Problem> {
        let from = self.somebody(&request.from)?.phone;
        let devices = self.linked_devices(&request.to)?;
        let id = request.id.clone().unwrap_or_else(|| self.new_stanza_id());
        if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(Problem::bad_request(format!(
                "'{id}' is no id of a call: up to {LONGEST_ID} letters and digits"
            )));
        }
        self.person(&from)?;
        let caller = Address::new(from, 0);
        let links: Vec<LinkId> = devices.iter().filter_map(|device| self.active_link(device)).collect();
        for link in &links {
            let stanza = self.call_node(request, &id, &caller);
            self.send(*link, stanza);
        }
        Ok(CallAnswer { id, hit: links.len() })
    }

    fn call_node(&mut self, request: &CallRequest, id: &str, caller: &Address) -> Node {
        let creator: Jid = caller.lid_jid();
        let action = match request.state {
            Ringing::Offer => {
                let media = if request.video { "video" } else { "audio" };
                let sound = NodeBuilder::new("audio").attr("enc", "opus").attr("rate", "16000").build();
                let picture = request.video.then(|| NodeBuilder::new("video").attr("enc", "vp8").build());
                let offer = NodeBuilder::new("offer").attr("caller_pn", caller.jid()).attr("media", media);
                offer.children(std::iter::once(sound).chain(picture).collect::<Vec<_>>())
            }
            Ringing::Terminate => NodeBuilder::new("terminate").attr("reason", "timeout"),
        };
        let action = action.attr("call-id", id).attr("call-creator", &creator).build();
        let mut call =
            NodeBuilder::new("call").attr("from", &creator).attr("id", self.new_stanza_id()).attr("t", self.seconds());
        if request.offline {
            call = call.attr("offline", "1");
        }
        call.children([action]).build()
    }

    /// A device says something about a call.
    pub(crate) fn call_from_device(&mut self, link: LinkId, address: &Address, node: &Node) {
        let (Some(to), Some(action)) = (jid_attr(node, "to"), node.children().and_then(<[Node]>::first)) else {
            return;
        };
        if let Some(id) = attr(node, "id") {
            let ack = NodeBuilder::new("ack").attr("class", "call").attr("id", id).attr("from", &to);
            self.send(link, ack.build());
        }
        if action.tag == "reject" {
            let peer = self.resolve(&to).map(|to| to.phone.jid().to_string());
            let detail = json!({ "id": attr(action, "call-id"), "to": peer });
            self.log(EventKind::CallRejected, Some(address.clone()), Some(link), detail);
        }
    }
}
