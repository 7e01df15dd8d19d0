//! Things that go wrong because somebody asked for it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wacore_binary::builder::NodeBuilder;

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::ban;
use crate::events::EventKind;
use crate::link::{Link, LinkId};
use crate::world::{Closing, Effect, World};

/// A fault, and whom it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultRequest {
    /// A JID (with or without device), a phone number, `open` (every logged-in connection) or `all`.
    pub target: String,
    /// What goes wrong.
    #[serde(flatten)]
    pub action: Action,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// The connection is reset.
    Rst,
    /// The server closes its half of the TCP connection, without a word.
    Fin,
    /// The server reads on, and never writes again.
    Silent,
    /// The phone unlinks the device.
    DeviceRemoved,
    /// The stream ends as if the device had logged in elsewhere.
    Replaced,
    /// The stream ends with an error.
    StreamError {
        /// Its code; none is possible.
        code: Option<u16>,
        /// The kind of conflict to mention.
        conflict: Option<String>,
    },
    /// The next login is refused.
    Failure {
        /// The reason code.
        reason: u16,
    },
    /// The account is banned for a while.
    Ban {
        /// For how long.
        seconds: u64,
        /// WhatsApp's number for the cause.
        code: Option<u16>,
    },
    /// Everything that was asked for and still lasts is taken back.
    Clear,
}

enum Target {
    Open,
    All,
    Person(Address),
    Device(Address),
}

impl Target {
    fn names(&self, address: &Address) -> bool {
        match self {
            Self::Open | Self::All => true,
            Self::Person(person) => person.phone == address.phone,
            Self::Device(device) => device == address,
        }
    }

    fn strikes(&self, link: &Link) -> bool {
        match self {
            Self::All => true,
            Self::Open => link.online(),
            Self::Person(_) | Self::Device(_) => link.address.as_ref().is_some_and(|address| self.names(address)),
        }
    }
}

impl World {
    /// Lets something go wrong; says how many connections or devices it struck.
    ///
    /// # Errors
    /// When the target is no name.
    pub fn fault(&mut self, request: &FaultRequest) -> Result<usize, Problem> {
        let target = match request.target.as_str() {
            "open" => Target::Open,
            "all" => Target::All,
            name => {
                let address = self.somebody(name)?;
                if address.device == 0 { Target::Person(address) } else { Target::Device(address) }
            }
        };
        if let Action::Ban { seconds, .. } = request.action {
            ban::check(seconds)?;
        }
        let links: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| target.strikes(link)).map(|(id, _)| *id).collect();
        let devices = self.marked(&target);
        self.log(EventKind::Fault, None, None, json!(request));
        match &request.action {
            Action::Rst => Ok(self.each(&links, |world, id| world.close(id, Closing::Reset))),
            Action::Fin => Ok(self.each(&links, |world, id| world.close(id, Closing::Fin))),
            Action::Silent => Ok(self.each(&links, |world, id| world.mute(id, true))),
            Action::DeviceRemoved => {
                Ok(devices.iter().filter(|device| self.unlink(device, "asked for by a fault")).count())
            }
            Action::Replaced => {
                let conflict = NodeBuilder::new("conflict").attr("type", "replaced").build();
                Ok(self.each(&self.online(&links), |world, id| world.end_stream(id, None, [conflict.clone()])))
            }
            Action::StreamError { code, conflict } => {
                let conflict =
                    conflict.as_ref().map(|kind| NodeBuilder::new("conflict").attr("type", kind.as_str()).build());
                Ok(self.each(&self.online(&links), |world, id| world.end_stream(id, *code, conflict.clone())))
            }
            Action::Failure { reason } => Ok(self.mark(&devices, Some(*reason))),
            Action::Ban { seconds, code } => {
                let code = code.unwrap_or(ban::DEFAULT_CODE);
                let phones: BTreeSet<Phone> = devices.into_iter().map(|device| device.phone).collect();
                phones.iter().try_fold(0, |struck, phone| Ok(struck + self.ban(phone, *seconds, code)?))
            }
            Action::Clear => {
                for device in &devices {
                    self.pardon(&device.phone);
                }
                self.mark(&devices, None);
                Ok(self.each(&links, |world, id| world.mute(id, false)))
            }
        }
    }

    fn mark(&mut self, devices: &[Address], failure: Option<u16>) -> usize {
        self.touch();
        for address in devices {
            if let Some(device) = self.device(address) {
                device.next_failure = failure;
            }
        }
        devices.len()
    }

    /// The devices that a target means, connected or not.
    fn marked(&self, target: &Target) -> Vec<Address> {
        let linked = self.people.values().flat_map(crate::person::Person::linked);
        let connected = |address: &Address| self.online_link(address).is_some();
        linked
            .filter(|address| target.names(address) && (!matches!(target, Target::Open) || connected(address)))
            .collect()
    }

    fn online(&self, links: &[LinkId]) -> Vec<LinkId> {
        links.iter().copied().filter(|id| self.links.get(id).is_some_and(Link::online)).collect()
    }

    fn each(&mut self, links: &[LinkId], mut strike: impl FnMut(&mut Self, LinkId)) -> usize {
        for id in links {
            strike(self, *id);
        }
        links.len()
    }

    fn mute(&mut self, id: LinkId, muted: bool) {
        if let Some(link) = self.links.get_mut(&id) {
            link.muted = muted;
            self.push_effect(Effect::Mute(id, muted));
        }
    }
}
