//! What devices ask about themselves: to be unlinked.

use wacore_binary::Node;

use crate::address::Address;
use crate::codec::stanza::{error_of, jid_attr, result_of};
use crate::link::LinkId;
use crate::world::World;

impl World {
    pub(super) fn companion(&mut self, id: LinkId, address: &Address, node: &Node) {
        if node.get_optional_child("link_code_companion_reg").is_some() {
            // It is linked already.
            return self.send(id, error_of(node, 400, "bad-request"));
        }
        let Some(request) = node.get_optional_child("remove-companion-device") else {
            return self.send(id, result_of(node).build());
        };
        // A companion may unlink itself; only the phone may unlink others.
        if jid_attr(request, "jid").and_then(|jid| self.resolve(&jid)).as_ref() != Some(address) {
            return self.send(id, error_of(node, 403, "forbidden"));
        }
        self.send(id, result_of(node).build());
        self.unlink(address, "logged out by its client");
    }
}
