//! The app state (chats pinned, contacts named, and so on), which is empty.

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::with_child;
use crate::codec::stanza::attr;

pub(super) fn sync(node: &Node) -> Node {
    let requested = node.get_optional_child("sync").and_then(Node::children).unwrap_or_default();
    let collections = requested.iter().filter(|collection| collection.tag == "collection").filter_map(|collection| {
        let version = attr(collection, "version").unwrap_or_else(|| "0".to_owned());
        Some(NodeBuilder::new("collection").attr("name", attr(collection, "name")?).attr("version", version).build())
    });
    with_child(node, NodeBuilder::new("sync").children(collections.collect::<Vec<_>>()))
}
