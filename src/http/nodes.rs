//! The other nodes of a fleet: a request for an instance of theirs is handed on to its owner, and what spans all instances asks them.
//!
//! [`forward`] decides for each request that names an instance; [`credential`] is how one node knows another; [`fleet`] puts together
//! what all of them say of their instances. Where no other process can exist, none of this does anything.

mod client;
pub(super) mod credential;
pub(super) mod fleet;
pub(super) mod forward;

use std::fmt::Write as _;

pub use self::client::{Neighbours, NoClient};

/// The header of every answer: the node that has given it.
pub(super) const NODE: &str = "x-holdfast-node";

/// Writes the name of a node as a header can carry it: what is not visible ASCII is escaped.
pub(super) fn spelled(node: &str) -> String {
    let mut spelled = String::new();
    for byte in node.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            spelled.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(spelled, "%{byte:02X}");
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn every_name_becomes_a_header() {
        assert_eq!(spelled("node-1.eu"), "node-1.eu");
        assert_eq!(spelled("a b\r\n%é"), "a%20b%0D%0A%25%C3%A9");
    }
}
