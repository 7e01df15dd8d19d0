//! The whole simulated WhatsApp as one value: what it knows, and what it answers.
//!
//! Nothing here waits, reads a clock or touches a socket. Every method takes what happened and leaves what is to be done
//! in [`World::take_effects`]; the [`crate::hub`] carries it out. Each part of the conduct is in a file of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde::Serialize;
use serde_json::Value;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, Server};

use crate::address::{Address, Phone};
use crate::cert::ServerIdentity;
use crate::conduct::Conduct;
use crate::counters::Tally;
use crate::encoding::hex;
use crate::events::{EventKind, EventLog};
use crate::groups::{Group, GroupId};
use crate::ledger::KeyLedger;
use crate::link::{Link, LinkId, Stage};
use crate::media::Media;
use crate::messages::SentMessage;
use crate::noise::Responder;
use crate::person::{Device, Person};
use crate::presence::Presence;
use crate::rules::Rules;
use crate::served::Served;
use crate::signal::SignalError;

/// Something for the outside to do.
#[derive(Debug)]
pub enum Effect {
    /// Send a stanza.
    Send(LinkId, Node),
    /// End a connection.
    Close(LinkId, Closing),
    /// Treat a connection like this from now on.
    Treat(LinkId, Conduct),
    /// Send nothing to a connection for so many milliseconds, and then what was to be sent meanwhile.
    Hold(LinkId, u64),
    /// Send a frame that cannot be decrypted.
    Garbage(LinkId),
    /// Find out whether this connection, which a newer one replaced, is alive; if it is, say so with
    /// [`World::overlapped`].
    Supersede(LinkId),
}

/// How the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Closing {
    /// With a WebSocket close, after everything that was sent.
    Polite,
    /// With a WebSocket close that has this code.
    Code(u16),
    /// With a bare FIN.
    Fin,
    /// With a TCP reset.
    Reset,
}

/// Everything the simulated server knows.
pub struct World {
    /// The time of the current call, in milliseconds since 1970.
    pub now: u64,
    /// The server's keys.
    pub server: Arc<ServerIdentity>,
    /// The event log.
    pub events: EventLog,
    /// How the server behaves.
    pub rules: Rules,
    pub(crate) people: BTreeMap<Phone, Person>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) presences: BTreeMap<Phone, Presence>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) served: BTreeMap<Address, Served>,
    by_device: HashMap<Address, BTreeSet<LinkId>>,
    pub(crate) tallies: BTreeMap<Address, Tally>,
    pub(crate) unattributed: Tally,
    pub(crate) ledger: KeyLedger,
    pub(crate) media: Media,
    pub(crate) sent: Vec<SentMessage>,
    pub(crate) references: HashMap<String, LinkId>,
    pub(crate) retries: HashMap<(Address, String), u8>,
    /// Whether people answer what devices write to them.
    pub(crate) answering: bool,
    pub(crate) rng: StdRng,
    lids: HashMap<String, Phone>,
    effects: Vec<Effect>,
    next_link: u64,
    changed: bool,
}

impl World {
    /// A server with these keys that knows nobody yet.
    #[must_use]
    pub fn new(server: ServerIdentity, rng: StdRng) -> Self {
        Self {
            now: 0,
            server: Arc::new(server),
            events: EventLog::default(),
            rules: Rules::default(),
            people: BTreeMap::new(),
            groups: BTreeMap::new(),
            presences: BTreeMap::new(),
            links: BTreeMap::new(),
            served: BTreeMap::new(),
            by_device: HashMap::new(),
            tallies: BTreeMap::new(),
            unattributed: Tally::default(),
            ledger: KeyLedger::default(),
            media: Media::default(),
            sent: Vec::new(),
            references: HashMap::new(),
            retries: HashMap::new(),
            answering: false,
            rng,
            lids: HashMap::new(),
            effects: Vec::new(),
            next_link: 1,
            changed: false,
        }
    }

    /// What is to be done, in order; each effect is given once.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether anything changed that the state file keeps, since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A WebSocket was opened.
    pub fn opened(&mut self) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(id, Link::new(self.now));
        if self.rules.silent_on_connect {
            self.treat(id, |conduct| conduct.silent = true);
        }
        self.unattributed.connects += 1;
        self.log(EventKind::Connect, None, Some(id), Value::Null);
        id
    }

    /// The client closed its connection, or it was reset.
    pub fn closed(&mut self, id: LinkId, how: &str) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        self.references.retain(|_, owner| *owner != id);
        if let Some(address) = &link.address
            && let Some(links) = self.by_device.get_mut(address)
        {
            links.remove(&id);
            if links.is_empty() {
                self.by_device.remove(address);
            }
        }
        if let Some(address) = &link.address {
            self.review(address);
        }
        self.gone(link.address.as_ref(), link.available && link.online());
        self.log(EventKind::Disconnect, link.address, Some(id), serde_json::json!({ "how": how }));
    }

    /// A superseded connection turned out to be alive: two at one moment. `stale` frames came on it meanwhile.
    pub fn overlapped(&mut self, id: LinkId, stale: u64) {
        let Some((address, stale)) = self.links.get_mut(&id).and_then(|link| {
            link.overlapping = true;
            Some((link.address.clone()?, stale + std::mem::take(&mut link.unjudged)))
        }) else {
            return;
        };
        let alive = self.live_links(&address).len() as u64;
        let tally = self.tally(&address);
        tally.overlapped = true;
        tally.peak_concurrent = tally.peak_concurrent.max(alive);
        tally.stale_frames += stale;
        self.log(EventKind::Overlap, Some(address), Some(id), Value::Null);
        if self.links.get(&id).is_some_and(|link| !matches!(link.stage, Stage::Ending)) {
            let conflict = NodeBuilder::new("conflict").attr("type", "replaced").build();
            self.end_stream(id, None, [conflict]);
        }
    }

    /// A stanza arrived.
    pub fn received(&mut self, id: LinkId, node: &Node) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.last_frame_at = now;
        if let (Some(_), Some(address)) = (link.superseded_by, link.address.clone()) {
            if !link.overlapping {
                link.unjudged += 1;
                return;
            }
            self.tally(&address).stale_frames += 1;
            self.log(EventKind::StaleFrame, Some(address), Some(id), serde_json::json!({ "tag": node.tag }));
            return;
        }
        match (&link.stage, link.address.clone()) {
            (Stage::Handshake | Stage::Ending, _) => {}
            (Stage::Offering(_) | Stage::Signing(_), _) => self.pairing_stanza(id, node),
            (Stage::Online { .. }, Some(address)) => self.device_stanza(id, &address, node),
            (Stage::Online { .. }, None) => {}
        }
    }

    /// A connection sent something that cannot be understood; it is at its end.
    pub fn garbled(&mut self, id: LinkId, why: &str) {
        let address = self.links.get(&id).and_then(|link| link.address.clone());
        self.log(EventKind::Garbled, address, Some(id), serde_json::json!({ "why": why }));
        self.close(id, Closing::Polite);
    }

    fn device_stanza(&mut self, id: LinkId, address: &Address, node: &Node) {
        match node.tag.as_ref() {
            "iq" => self.iq(id, address, node),
            "message" => self.message_from_device(id, address, node),
            "ack" => self.ack_from_device(address, node),
            "receipt" => self.receipt_from_device(id, address, node),
            "presence" => self.presence_from_device(id, address, node),
            "call" => self.call_from_device(id, address, node),
            "chatstate" => self.chat_state_from_device(id, address, node),
            // Telemetry and the rest need no answer.
            _ => {}
        }
    }

    /// Knows or makes the person with this number.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn person(&mut self, phone: &Phone) -> Result<&mut Person, SignalError> {
        if !self.people.contains_key(phone) {
            let person = Person::generate(phone.clone(), self.now, &mut self.rng)?;
            self.adopt_person(person);
            self.changed = true;
        }
        // The entry exists by now, so nothing is generated twice.
        match self.people.get_mut(phone) {
            Some(person) => Ok(person),
            None => Err(SignalError::Pending),
        }
    }

    pub(crate) fn adopt_person(&mut self, person: Person) {
        self.lids.insert(person.phone.lid(), person.phone.clone());
        self.people.insert(person.phone.clone(), person);
    }

    pub(crate) fn device(&mut self, address: &Address) -> Option<&mut Device> {
        self.people.get_mut(&address.phone)?.devices.get_mut(&address.device).map(Box::as_mut)
    }

    /// Who a JID means: by number, or by the hidden identity of somebody who is known already.
    #[must_use]
    pub fn resolve(&self, jid: &Jid) -> Option<Address> {
        let phone = if jid.server == Server::Pn {
            Phone::parse(&jid.user)?
        } else if jid.server == Server::Lid {
            self.lids.get(jid.user.as_str())?.clone()
        } else {
            return None;
        };
        Some(Address::new(phone, jid.device))
    }

    pub(crate) fn tally(&mut self, address: &Address) -> &mut Tally {
        self.changed = true;
        self.tallies.entry(address.clone()).or_default()
    }

    /// Counts a connection under the device that turned out to have opened it.
    pub(crate) fn attribute(&mut self, id: LinkId, address: &Address) {
        if let Some(link) = self.links.get_mut(&id)
            && link.address.is_none()
        {
            link.address = Some(address.clone());
            self.by_device.entry(address.clone()).or_default().insert(id);
            self.unattributed.connects = self.unattributed.connects.saturating_sub(1);
            self.tally(address).connects += 1;
        }
    }

    /// The connections of a device that their client has not closed.
    pub(crate) fn live_links(&self, address: &Address) -> Vec<LinkId> {
        self.by_device.get(address).into_iter().flatten().copied().collect()
    }

    /// The connection on which a device is logged in.
    pub(crate) fn online_link(&self, address: &Address) -> Option<(LinkId, &Link)> {
        let links = self.by_device.get(address)?.iter().filter_map(|id| Some((*id, self.links.get(id)?)));
        links.into_iter().find(|(_, link)| link.online())
    }

    /// The connection on which a device is served at once.
    pub(crate) fn active_link(&self, address: &Address) -> Option<LinkId> {
        let (id, link) = self.online_link(address)?;
        matches!(link.stage, Stage::Online { active: true }).then_some(id)
    }

    pub(crate) fn log(&mut self, kind: EventKind, jid: Option<Address>, link: Option<LinkId>, detail: Value) {
        self.events.push(self.now, kind, jid, link, &detail);
    }

    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    pub(crate) fn send(&mut self, id: LinkId, node: Node) {
        self.effects.push(Effect::Send(id, node));
    }

    pub(crate) fn push_effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Ends a connection; nothing it sends counts from now on.
    pub(crate) fn close(&mut self, id: LinkId, closing: Closing) {
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = Stage::Ending;
            self.effects.push(Effect::Close(id, closing));
            self.review_link(id);
        }
    }

    /// Says why the stream ends, and ends it.
    pub(crate) fn end_stream(&mut self, id: LinkId, code: Option<u16>, children: impl IntoIterator<Item = Node>) {
        self.tell_end(id, code, children);
        self.close(id, Closing::Polite);
    }

    /// Says why the stream ends.
    pub(crate) fn tell_end(&mut self, id: LinkId, code: Option<u16>, children: impl IntoIterator<Item = Node>) {
        let mut error = NodeBuilder::new("stream:error");
        if let Some(code) = code {
            error = error.attr("code", code);
        }
        let children: Vec<Node> = children.into_iter().collect();
        self.send(id, if children.is_empty() { error.build() } else { error.children(children).build() });
        self.send(id, NodeBuilder::new("xmlstreamend").build());
    }

    /// What a new connection answers handshakes with.
    pub(crate) fn responder(&self) -> Responder {
        Responder { identity: self.server.clone(), decline_ik: self.rules.decline_ik }
    }

    /// Replaces the static key of the server: connections live on, and clients that remember the old key have to do the full handshake.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn rotate_static(&mut self) -> Result<(), SignalError> {
        self.server = Arc::new(self.server.rotated(self.seconds(), &mut self.rng)?);
        self.touch();
        self.log(EventKind::StaticRotated, None, None, Value::Null);
        Ok(())
    }

    /// A source of randomness for somebody else, which is the same in each run with the same seed.
    pub(crate) fn fork_rng(&mut self) -> StdRng {
        StdRng::from_rng(&mut self.rng)
    }

    pub(crate) fn random_bytes<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn new_message_id(&mut self) -> String {
        format!("3EB0{}", hex(&self.random_bytes::<9>()).to_uppercase())
    }

    pub(crate) fn new_stanza_id(&mut self) -> String {
        self.rng.random_range(1_000_000_000_u64..10_000_000_000).to_string()
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.now / 1000
    }
}
