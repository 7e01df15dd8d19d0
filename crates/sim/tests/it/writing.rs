//! What a device encrypts, and the stanzas that carry it.

use holdfast_sim::address::{Address, Phone};
use holdfast_sim::codec::stanza::{child_content, child_number};
use holdfast_sim::keys::{Bundle, OneTimeKey, SignedKey};
use holdfast_sim::signal::SignalIdentity;
use rand::rngs::StdRng;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::buffa::Message as _;

use crate::client::Link;

/// A Signal identity that plays a device's part in encryption: sends to people and opens what they send.
pub(crate) async fn session_with(link: &mut Link, person: &str) -> (SignalIdentity, Address) {
    let rng = &mut rand::make_rng::<StdRng>();
    let person = Address::new(Phone::parse(person).unwrap(), 0);
    let mut signal = SignalIdentity::generate(0, rng).unwrap();
    let bundle = link.bundle(&person.jid()).await;
    signal.begin_session(&person, &bundle, rng).unwrap();
    (signal, person)
}

/// A message with one ciphertext.
pub(crate) fn message(id: &str, to: &Address, kind: &str, ciphertext: &[u8]) -> Node {
    let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", kind).bytes(ciphertext).build();
    NodeBuilder::new("message").attr("id", id).attr("to", to.jid()).attr("type", "text").children([enc]).build()
}

/// A text as it is before encryption.
pub(crate) fn text(text: &str) -> Vec<u8> {
    waproto::whatsapp::Message { conversation: Some(text.to_owned()), ..waproto::whatsapp::Message::default() }
        .encode_to_vec()
}

/// The keys in a node, with the registration number in another.
pub(crate) fn read_bundle(outer: &Node, keys: &Node) -> Bundle {
    let number = |node: &Node, tag: &str| child_number(node, tag).unwrap();
    let value = |node: &Node, tag: &str| <[u8; 32]>::try_from(child_content(node, tag).unwrap()).unwrap();
    let signed = keys.get_optional_child("skey").unwrap();
    Bundle {
        registration_id: number(outer, "registration"),
        identity: value(keys, "identity"),
        signed: SignedKey {
            id: number(signed, "id"),
            value: value(signed, "value"),
            signature: child_content(signed, "signature").unwrap().to_vec(),
        },
        one_time: keys
            .get_optional_child("key")
            .map(|key| OneTimeKey { id: number(key, "id"), value: value(key, "value") }),
    }
}
