//! An account's settings, which are those of somebody who never changed any.

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::with_child;

const PRIVACY: [(&str, &str); 8] = [
    ("readreceipts", "all"),
    ("last", "all"),
    ("online", "all"),
    ("profile", "all"),
    ("status", "all"),
    ("groupadd", "all"),
    ("calladd", "all"),
    ("messages", "all"),
];

pub(super) fn privacy(node: &Node) -> Node {
    let categories = PRIVACY
        .iter()
        .map(|(name, value)| NodeBuilder::new("category").attr("name", *name).attr("value", *value).build());
    with_child(node, NodeBuilder::new("privacy").children(categories))
}

pub(super) fn props(node: &Node) -> Node {
    with_child(node, NodeBuilder::new("props").attr("protocol", "1").attr("hash", "sim"))
}

pub(super) fn blocklist(node: &Node) -> Node {
    with_child(node, NodeBuilder::new("list"))
}
