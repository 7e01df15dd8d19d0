//! Keys: devices upload theirs, ask how many are left, and fetch those of others.

use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::{not_found, with_child};
use crate::address::Address;
use crate::codec::stanza::{child_content, child_number, error_of, jid_attr, key_id, leaf, result_of};
use crate::events::EventKind;
use crate::keys::{Bundle, KEY_TYPE, OneTimeKey, SignedKey, digest, is_signed_by};
use crate::link::LinkId;
use crate::world::World;

impl World {
    pub(super) fn keys_get(&mut self, address: &Address, node: &Node) -> Node {
        if let Some(request) = node.get_optional_child("key") {
            let users: Vec<Node> = request
                .get_children_by_tag("user")
                .filter_map(|user| jid_attr(user, "jid"))
                .map(|jid| self.keys_of(&jid))
                .collect();
            return with_child(node, NodeBuilder::new("list").children(users));
        }
        let Some(device) = self.device(address) else {
            return not_found(node);
        };
        if node.get_optional_child("count").is_some() {
            return with_child(node, NodeBuilder::new("count").attr("value", device.one_time_keys.len()));
        }
        if node.get_optional_child("digest").is_none() {
            return result_of(node).build();
        }
        let ids = device.one_time_keys.iter().map(|key| leaf("id", key_id(key.id)));
        let children = [
            leaf("registration", device.registration_id.to_be_bytes()),
            leaf("type", [KEY_TYPE]),
            leaf("identity", device.identity),
            signed_key(&device.signed_key),
            NodeBuilder::new("list").children(ids).build(),
            leaf("hash", digest(&device.identity, &device.signed_key, &device.one_time_keys)),
        ];
        with_child(node, NodeBuilder::new("digest").children(children))
    }

    pub(super) fn keys_set(&mut self, id: LinkId, address: &Address, node: &Node) {
        let accepted = self.store_keys(address, node);
        self.send(id, accepted.map_or_else(|(code, text)| error_of(node, code, text), |()| result_of(node).build()));
        if accepted.is_ok() {
            self.share_app_state_key(address);
        }
    }

    fn store_keys(&mut self, address: &Address, node: &Node) -> Result<(), (u16, &'static str)> {
        let device = self.device(address).ok_or((404, "item-not-found"))?;
        let upload = node.get_optional_child("rotate").unwrap_or(node);
        let identity = device.identity;
        if child_content(upload, "identity").is_some_and(|uploaded| uploaded != identity) {
            return Err((406, "not-acceptable"));
        }
        let signed = upload.get_optional_child("skey").and_then(read_signed_key).ok_or((400, "bad-request"))?;
        if !is_signed_by(&identity, &signed) {
            return Err((406, "not-acceptable"));
        }
        device.signed_key = signed;
        if let Some(registration) = child_number(upload, "registration") {
            device.registration_id = registration;
        }
        let list = upload.get_optional_child("list");
        let keys: Vec<OneTimeKey> =
            list.into_iter().flat_map(|list| list.get_children_by_tag("key")).filter_map(read_one_time_key).collect();
        let count = keys.len();
        device.one_time_keys.add(keys);
        let left = device.one_time_keys.len();
        self.touch();
        self.log(EventKind::KeysUploaded, Some(address.clone()), None, json!({ "count": count, "left": left }));
        Ok(())
    }

    fn keys_of(&mut self, jid: &Jid) -> Node {
        let user = NodeBuilder::new("user").attr("jid", jid);
        let unknown = |user: NodeBuilder| {
            user.children([NodeBuilder::new("error").attr("code", 404_u16).attr("text", "item-not-found").build()])
                .build()
        };
        let Some(address) = self.resolve(jid) else {
            return unknown(user);
        };
        if address.device == 0 {
            if self.person(&address.phone).is_err() {
                return unknown(user);
            }
            self.touch();
            let bundle =
                self.people.get_mut(&address.phone).and_then(|person| person.signal.bundle(&mut self.rng).ok());
            return bundle.map_or_else(
                || unknown(NodeBuilder::new("user").attr("jid", jid)),
                |bundle| user.children(bundle_nodes(&bundle)).build(),
            );
        }
        let Some(bundle) = self.device_bundle(&address) else {
            return unknown(user);
        };
        let statement = self.device(&address).map(|device| leaf("device-identity", device.account_identity.clone()));
        user.children(bundle_nodes(&bundle).into_iter().chain(statement)).build()
    }
}

fn bundle_nodes(bundle: &Bundle) -> Vec<Node> {
    let mut nodes = vec![
        leaf("registration", bundle.registration_id.to_be_bytes()),
        leaf("type", [KEY_TYPE]),
        leaf("identity", bundle.identity),
        signed_key(&bundle.signed),
    ];
    nodes.extend(
        bundle.one_time.map(|key| {
            NodeBuilder::new("key").children([leaf("id", key_id(key.id)), leaf("value", key.value)]).build()
        }),
    );
    nodes
}

fn signed_key(key: &SignedKey) -> Node {
    NodeBuilder::new("skey")
        .children([leaf("id", key_id(key.id)), leaf("value", key.value), leaf("signature", key.signature.clone())])
        .build()
}

fn read_signed_key(node: &Node) -> Option<SignedKey> {
    Some(SignedKey {
        id: child_number(node, "id")?,
        value: child_content(node, "value")?.try_into().ok()?,
        signature: child_content(node, "signature")?.to_vec(),
    })
}

fn read_one_time_key(node: &Node) -> Option<OneTimeKey> {
    Some(OneTimeKey { id: child_number(node, "id")?, value: child_content(node, "value")?.try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use wacore_libsignal::protocol::KeyPair;

    #[test]
    fn a_signed_key_is_accepted_only_with_the_signature_of_its_identity() {
        let rng = &mut rand::make_rng::<StdRng>();
        let (identity, other, key) = (KeyPair::generate(rng), KeyPair::generate(rng), KeyPair::generate(rng));
        let bytes = |pair: &KeyPair| <[u8; 32]>::try_from(pair.public_key.public_key_bytes()).unwrap();
        let signature = identity.private_key.calculate_signature(&key.public_key.serialize(), rng).unwrap().to_vec();
        let signed = SignedKey { id: 1, value: bytes(&key), signature };
        assert!(is_signed_by(&bytes(&identity), &signed));
        assert!(!is_signed_by(&bytes(&other), &signed));
        let read = read_signed_key(&signed_key(&signed)).unwrap();
        assert_eq!(read, signed);
    }
}
