//! Things that go wrong because somebody asked for it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use utoipa::ToSchema;
use wacore_binary::builder::NodeBuilder;

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::ban;
use crate::conduct::Conduct;
use crate::events::EventKind;
use crate::link::{Link, LinkId};
use crate::person::Refused;
use crate::rules::LONGEST_DELAY;
use crate::world::{Closing, Effect, World};

/// The code of a close frame that means no harm.
const NORMAL_CLOSE: u16 = 1000;

/// A fault, and whom it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultRequest {
    /// A JID (with or without device), a phone number, `open` (every logged-in connection) or `all`.
    pub target: String,
    /// What goes wrong.
    #[serde(flatten)]
    pub action: Action,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// The connection is reset.
    Rst,
    /// The server closes its half of the TCP connection, without a word.
    Fin,
    /// The server reads on, and never writes again.
    Silent,
    /// The server stops reading as well as writing.
    Stall,
    /// Everything is answered but pings.
    MutePings,
    /// Everything that the server sends comes late from now on.
    Delay {
        /// By how much, in milliseconds.
        ms: u64,
    },
    /// A frame comes that cannot be decrypted.
    Garbage,
    /// The WebSocket is closed.
    #[serde(rename = "wsclose")]
    WsClose {
        /// The code of the close frame; 1000 when absent.
        code: Option<u16>,
    },
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
        /// How often it is told before the connection is closed; once when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u16>,
    },
    /// The next login is refused.
    Failure {
        /// The reason code.
        reason: u16,
        /// How many logins are refused, one after the other; one when absent.
        times: Option<u16>,
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

impl FaultRequest {
    /// Reads a request, and refuses fields that its action does not have.
    ///
    /// # Errors
    /// When the body is no request; the sentence names what is wrong with it.
    pub fn read(body: &Value) -> Result<Self, Problem> {
        let wrong = |error: serde_json::Error| Problem::bad_request(format!("the request cannot be read: {error}"));
        let request: Self = serde_json::from_value(body.clone()).map_err(wrong)?;
        let known = serde_json::to_value(&request).map_err(wrong)?;
        let given = body.as_object().into_iter().flat_map(serde_json::Map::keys);
        match given.into_iter().find(|name| known.get(name.as_str()).is_none()) {
            Some(unknown) => {
                Err(Problem::bad_request(format!("the action {} has no field '{unknown}'", known["action"])))
            }
            None => Ok(request),
        }
    }
}

impl Action {
    fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Delay { ms } if *ms > LONGEST_DELAY => {
                Err(Problem::bad_request(format!("a delay is at most {LONGEST_DELAY} ms, not {ms}")))
            }
            Self::Ban { seconds, .. } => ban::check(*seconds),
            Self::WsClose { code: Some(code) } if !CloseCode::from(*code).is_allowed() => {
                Err(Problem::bad_request(format!("a close frame must not carry the code {code}")))
            }
            Self::Rst
            | Self::Fin
            | Self::Silent
            | Self::Stall
            | Self::MutePings
            | Self::Delay { .. }
            | Self::Garbage
            | Self::WsClose { .. }
            | Self::DeviceRemoved
            | Self::Replaced
            | Self::StreamError { .. }
            | Self::Failure { .. }
            | Self::Clear => Ok(()),
        }
    }
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
        let links: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| target.strikes(link)).map(|(id, _)| *id).collect();
        let devices = self.marked(&target);
        request.action.check()?;
        self.log(EventKind::Fault, None, None, json!(request));
        match &request.action {
            Action::Rst => Ok(self.each(&links, |world, id| world.close(id, Closing::Reset))),
            Action::Fin => Ok(self.each(&links, |world, id| world.close(id, Closing::Fin))),
            Action::Silent => Ok(self.treat_each(&links, |conduct| conduct.silent = true)),
            Action::Stall => Ok(self.treat_each(&links, |conduct| conduct.stalled = true)),
            Action::MutePings => Ok(self.treat_each(&links, |conduct| conduct.mute_pings = true)),
            Action::Delay { ms } => Ok(self.treat_each(&links, |conduct| conduct.delay_ms = *ms)),
            Action::Garbage => Ok(self.each(&links, |world, id| {
                world.push_effect(Effect::Garbage(id));
                world.spoil(id);
            })),
            Action::WsClose { code } => {
                let closing = Closing::Code(code.unwrap_or(NORMAL_CLOSE));
                Ok(self.each(&links, |world, id| world.close(id, closing)))
            }
            Action::DeviceRemoved => {
                Ok(devices.iter().filter(|device| self.unlink(device, "asked for by a fault")).count())
            }
            Action::Replaced => {
                let conflict = NodeBuilder::new("conflict").attr("type", "replaced").build();
                Ok(self.each(&self.online(&links), |world, id| world.end_stream(id, None, [conflict.clone()])))
            }
            Action::StreamError { code, conflict, times } => {
                let conflict =
                    conflict.as_ref().map(|kind| NodeBuilder::new("conflict").attr("type", kind.as_str()).build());
                Ok(self.each(&self.online(&links), |world, id| {
                    for _ in 1..times.unwrap_or(1) {
                        world.tell_end(id, *code, conflict.clone());
                    }
                    world.end_stream(id, *code, conflict.clone());
                }))
            }
            Action::Failure { reason, times } => {
                Ok(self.mark(&devices, Some(Refused { reason: *reason, times: times.unwrap_or(1) })))
            }
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
                Ok(self.treat_each(&links, |conduct| *conduct = Conduct::default()))
            }
        }
    }

    fn mark(&mut self, devices: &[Address], failure: Option<Refused>) -> usize {
        self.touch();
        for address in devices {
            if let Some(device) = self.device(address) {
                device.next_failures = failure;
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

    fn treat_each(&mut self, links: &[LinkId], change: impl Fn(&mut Conduct)) -> usize {
        self.each(links, |world, id| world.treat(id, &change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_strictly() {
        let read = |body: Value| FaultRequest::read(&body);
        let whole = json!({ "target": "all", "action": "stream-error", "code": 503 });
        assert_eq!(read(whole).unwrap().action, Action::StreamError { code: Some(503), conflict: None, times: None });
        for (wrong, named) in [
            (json!({ "target": "all", "action": "rst", "code": 1 }), "'code'"),
            (json!({ "target": "all", "action": "stream-error", "cod": 503 }), "'cod'"),
            (json!({ "target": "all", "action": "explode" }), "explode"),
            (json!({ "action": "rst" }), "target"),
            (json!({ "target": "all", "action": "delay" }), "ms"),
            (json!([]), "cannot be read"),
        ] {
            let problem = read(wrong.clone()).unwrap_err();
            assert!(problem.status == 400 && problem.sentence.contains(named), "{wrong}: {problem}");
        }
    }
}
