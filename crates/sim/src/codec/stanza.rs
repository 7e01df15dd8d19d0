//! Reading and writing stanzas.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent, OwnedNodeRef, Server};

/// The name of the server itself, as it stands in `from`.
#[must_use]
pub fn server_jid() -> Jid {
    Jid::new("", Server::Pn)
}

/// The text of an attribute.
#[must_use]
pub fn attr(node: &Node, key: &str) -> Option<String> {
    node.attrs.get(key).map(|value| value.as_str().into_owned())
}

/// An attribute that names somebody.
#[must_use]
pub fn jid_attr(node: &Node, key: &str) -> Option<Jid> {
    node.attrs.get(key).and_then(wacore_binary::NodeValue::to_jid)
}

/// The bytes inside a node; texts count as bytes.
#[must_use]
pub fn content(node: &Node) -> Option<&[u8]> {
    match &node.content {
        Some(NodeContent::Bytes(bytes)) => Some(bytes),
        Some(NodeContent::String(text)) => Some(text.as_bytes()),
        Some(NodeContent::Nodes(_)) | None => None,
    }
}

/// The bytes inside the first child with this tag.
#[must_use]
pub fn child_content<'n>(node: &'n Node, tag: &str) -> Option<&'n [u8]> {
    node.get_optional_child(tag).and_then(content)
}

/// A big-endian number inside the first child with this tag.
#[must_use]
pub fn child_number(node: &Node, tag: &str) -> Option<u32> {
    number(child_content(node, tag)?)
}

/// A big-endian number of up to four bytes.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<u32> {
    (!bytes.is_empty() && bytes.len() <= 4).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// The three bytes in which WhatsApp writes the id of a key.
#[must_use]
pub fn key_id(id: u32) -> Vec<u8> {
    id.to_be_bytes()[1..].to_vec()
}

/// The result of an IQ, with its id.
#[must_use]
pub fn result_of(request: &Node) -> NodeBuilder {
    NodeBuilder::new("iq")
        .attr("from", server_jid())
        .attr("id", attr(request, "id").unwrap_or_default())
        .attr("type", "result")
}

/// The refusal of an IQ.
#[must_use]
pub fn error_of(request: &Node, code: u16, text: &'static str) -> Node {
    NodeBuilder::new("iq")
        .attr("from", server_jid())
        .attr("id", attr(request, "id").unwrap_or_default())
        .attr("type", "error")
        .children([NodeBuilder::new("error").attr("code", code).attr("text", text).build()])
        .build()
}

/// A node with nothing but text or bytes inside.
#[must_use]
pub fn leaf(tag: &'static str, bytes: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(bytes).build()
}

/// Encodes a stanza, format byte included.
///
/// # Errors
/// When the node cannot be written, for example because a device number does not fit.
pub fn encode(node: &Node) -> Result<Vec<u8>, wacore_binary::BinaryError> {
    wacore_binary::marshal(node)
}

/// Decodes a stanza, format byte included.
///
/// # Errors
/// When the bytes are no stanza.
pub fn decode(bytes: &[u8]) -> Result<Node, wacore_binary::BinaryError> {
    let unpacked = wacore_binary::util::unpack(bytes)?.into_owned();
    Ok(OwnedNodeRef::new(unpacked)?.to_owned_node())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_survives_the_wire() {
        let node = NodeBuilder::new("message")
            .attr("to", Jid::pn_device("5511999990001", 3))
            .attr("id", "3EB0AB")
            .children([leaf("enc", vec![1, 2, 3]), leaf("id", key_id(0x01_02_03))])
            .build();
        let back = decode(&encode(&node).unwrap()).unwrap();
        assert_eq!(jid_attr(&back, "to").unwrap().to_string(), "5511999990001:3@s.whatsapp.net");
        assert_eq!(child_number(&back, "id"), Some(0x01_02_03));
        assert_eq!(child_content(&back, "enc"), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn numbers_longer_than_four_bytes_are_none() {
        assert_eq!(number(&[]), None);
        assert_eq!(number(&[0, 0, 0, 0, 1]), None);
        assert_eq!(number(&[1, 0]), Some(256));
    }
}
