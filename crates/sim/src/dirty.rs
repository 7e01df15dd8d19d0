//! What devices are to look at again, because it changed while they did not look.

use std::collections::BTreeMap;

use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::Address;
use crate::api::Problem;
use crate::api::signs::DirtyRequest;
use crate::codec::stanza::{attr, result_of, server_jid};
use crate::events::EventKind;
use crate::link::LinkId;
use crate::world::World;

/// How many kinds of it one device may have to look at.
const MOST_KINDS: usize = 16;
const LONGEST_KIND: usize = 64;

/// What a device has to look at, and since when, in seconds since 1970.
pub type Dirty = BTreeMap<String, u64>;

impl World {
    /// Devices have to look at something again: at once, and after each login until they have. Says how many.
    ///
    /// # Errors
    /// When the target is no name or has no linked device, or the kind is none.
    pub fn make_dirty(&mut self, request: &DirtyRequest) -> Result<usize, Problem> {
        let DirtyRequest { target, kind } = request;
        let devices = self.linked_devices(target)?;
        let letters = |letter: u8| letter.is_ascii_lowercase() || letter == b'_';
        if kind.is_empty() || kind.len() > LONGEST_KIND || !kind.bytes().all(letters) {
            return Err(Problem::bad_request(format!("'{kind}' is no kind of change, such as 'account_sync'")));
        }
        let full =
            |device: &crate::person::Device| device.dirty.len() >= MOST_KINDS && !device.dirty.contains_key(kind);
        if devices.iter().any(|address| self.device(address).is_some_and(|device| full(device))) {
            return Err(Problem::conflict(format!("{target} has {MOST_KINDS} kinds of change to look at already")));
        }
        let now = self.seconds();
        for address in &devices {
            if let Some(device) = self.device(address) {
                device.dirty.insert(kind.clone(), now);
            }
            if let Some(link) = self.active_link(address) {
                self.send(link, dirty_node(kind, now));
            }
        }
        self.touch();
        Ok(devices.len())
    }

    /// Tells a device that just logged in what it has to look at.
    pub(crate) fn tell_dirty(&mut self, link: LinkId, address: &Address) {
        let dirty = self.device(address).map(|device| device.dirty.clone()).unwrap_or_default();
        for (kind, since) in dirty {
            self.send(link, dirty_node(&kind, since));
        }
    }

    /// A device has looked.
    pub(crate) fn cleaned(&mut self, link: LinkId, address: &Address, node: &Node) {
        self.send(link, result_of(node).build());
        for clean in node.get_children_by_tag("clean") {
            let Some(kind) = attr(clean, "type") else { continue };
            let seen: Option<u64> = attr(clean, "timestamp").and_then(|text| text.parse().ok());
            let Some(device) = self.device(address) else { return };
            // A change that came since it looked is another one.
            if device.dirty.get(&kind).is_some_and(|since| seen.is_none_or(|seen| seen >= *since)) {
                device.dirty.remove(&kind);
                self.touch();
            }
            self.log(EventKind::Cleaned, Some(address.clone()), Some(link), json!({ "kind": kind }));
        }
    }

    /// The linked devices that a phone number or a JID means; at least one.
    pub(crate) fn linked_devices(&self, target: &str) -> Result<Vec<Address>, Problem> {
        let meant = self.somebody(target)?;
        let devices = self.devices_of(std::iter::once(&meant.phone)).into_iter();
        let devices: Vec<Address> =
            devices.filter(|device| meant.device == 0 || meant.device == device.device).collect();
        if devices.is_empty() {
            return Err(Problem::conflict(format!("{target} has no linked device")));
        }
        Ok(devices)
    }
}

fn dirty_node(kind: &str, since: u64) -> Node {
    let dirty = NodeBuilder::new("dirty").attr("type", kind).attr("timestamp", since).build();
    NodeBuilder::new("ib").attr("from", server_jid()).children([dirty]).build()
}
