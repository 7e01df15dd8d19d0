//! Which devices are served at this moment, and since when: what a client says about itself can be compared with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::address::Address;
use crate::link::{Link, LinkId};
use crate::world::World;

/// Whether a device is served: it is logged in on a connection on which the server reads, and answers in a way that can be read.
/// How late the answers come does not matter, nor whether pings alone are left without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServedView {
    /// The device.
    pub jid: Address,
    /// Whether it is served.
    pub served: bool,
    /// Since when that has been so, in milliseconds since 1970.
    pub since: u64,
}

/// Whether a device is served, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    served: bool,
    since: u64,
}

impl Link {
    fn serves(&self) -> bool {
        self.online() && !self.conduct.mute() && !self.unreadable
    }
}

impl World {
    /// Looks again whether a device is served, after something happened to one of its connections.
    pub(crate) fn review(&mut self, address: &Address) {
        let served = self.online_link(address).is_some_and(|(_, link)| link.serves());
        let since = self.now;
        let known = self.served.entry(address.clone()).or_insert(Served { served: false, since });
        if known.served != served {
            *known = Served { served, since };
        }
    }

    /// The same for the device at the other end of this connection, if it is known.
    pub(crate) fn review_link(&mut self, id: LinkId) {
        if let Some(address) = self.links.get(&id).and_then(|link| link.address.clone()) {
            self.review(&address);
        }
    }

    /// A frame was sent that throws the client's cipher out of step.
    pub(crate) fn spoil(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.unreadable = true;
            self.review_link(id);
        }
    }

    /// Every device that has logged in since the start.
    #[must_use]
    pub fn served(&self) -> Vec<ServedView> {
        let view = |(jid, known): (&Address, &Served)| ServedView {
            jid: jid.clone(),
            served: known.served,
            since: known.since,
        };
        self.served.iter().map(view).collect()
    }
}
