//! Linking and unlinking devices.

pub mod code;

use rand::RngExt as _;
use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::codec::stanza::{attr, child_content, leaf, server_jid};
use crate::encoding::hex;
use crate::events::EventKind;
use crate::link::{LinkId, Stage};
use crate::pairing::{QrCode, Registration, Signing, sign_device};
use crate::person::Device;
use crate::signal::SignalError;
use crate::world::World;

const RESTART_REQUIRED: u16 = 515;
const UNAUTHORIZED: u16 = 401;

impl World {
    /// Gives a client without an account references to show as QR codes.
    pub(crate) fn offer_pairing(&mut self, id: LinkId, registration: Registration) {
        let references: Vec<String> =
            (0..self.rules.refs).map(|_| format!("2@{}", hex(&self.random_bytes::<24>()))).collect();
        for reference in &references {
            self.references.insert(reference.clone(), id);
        }
        let detail = json!({ "requireFullSync": registration.require_full_sync });
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = Stage::Offering(Box::new(registration));
        }
        let children = references.into_iter().map(|reference| leaf("ref", reference.into_bytes()));
        let offer = NodeBuilder::new("pair-device").children(children).build();
        let request = NodeBuilder::new("iq")
            .attr("from", server_jid())
            .attr("type", "set")
            .attr("id", self.new_stanza_id())
            .attr("xmlns", "md");
        self.send(id, request.children([offer]).build());
        self.log(EventKind::PairOffer, None, Some(id), detail);
    }

    /// A phone scans a QR code. Gives the connection of the client that is being linked.
    ///
    /// # Errors
    /// When the code is malformed, unknown, or does not belong to the client that shows it.
    pub fn scan(&mut self, qr: &str, phone: Option<&str>, bad_secret: bool) -> Result<LinkId, Problem> {
        let mut code = QrCode::parse(qr).map_err(|error| Problem::bad_request(error.to_string()))?;
        let unknown = || {
            Problem::not_found(
                "no connected client shows this QR code: it was used, replaced by a newer one, or never given",
            )
        };
        let id = *self.references.get(&code.reference).ok_or_else(unknown)?;
        let Some(Stage::Offering(registration)) = self.links.get(&id).map(|link| link.stage.clone()) else {
            return Err(unknown());
        };
        if registration.noise_key != code.noise_key || registration.identity != code.identity {
            return Err(Problem::bad_request("the keys in the QR code are not those of the client that shows it"));
        }
        if bad_secret {
            code.adv_secret.iter_mut().for_each(|byte| *byte ^= 0xFF);
        }
        let phone = self.phone_or_new(phone)?;
        self.vouch(id, &registration, &phone, &code.adv_secret)?;
        Ok(id)
    }

    /// The phone tells the client what it is called from now on, under a secret that only the two know.
    pub(crate) fn vouch(
        &mut self,
        id: LinkId,
        registration: &Registration,
        phone: &Phone,
        secret: &[u8],
    ) -> Result<(), Problem> {
        let address = Address::new(phone.clone(), self.next_device(phone)?);
        let now = self.now;
        let person = self.people.get(phone).ok_or(SignalError::Pending)?;
        let signing = sign_device(person, registration, address.clone(), now, &mut self.rng)?;
        let success = NodeBuilder::new("pair-success").children([
            leaf("device-identity", signing.for_device(secret)),
            NodeBuilder::new("device").attr("jid", address.jid()).attr("lid", address.lid_jid()).build(),
            NodeBuilder::new("platform").attr("name", "smba").build(),
            // A business account tells its name here. Others tell it in the app state, without which a client would ask for that
            // state again at every login.
            NodeBuilder::new("biz").attr("name", format!("Shop {phone}")).build(),
        ]);
        let request = NodeBuilder::new("iq")
            .attr("from", server_jid())
            .attr("type", "set")
            .attr("id", self.new_stanza_id())
            .attr("xmlns", "md")
            .attr("t", self.seconds());
        self.send(id, request.children([success.build()]).build());
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = Stage::Signing(Box::new(signing));
        }
        self.references.retain(|_, owner| *owner != id);
        self.attribute(id, &address);
        self.touch();
        Ok(())
    }

    /// A stanza of a client that is being paired.
    pub(crate) fn pairing_stanza(&mut self, id: LinkId, node: &Node) {
        let Some(stage) = self.links.get(&id).map(|link| link.stage.clone()) else {
            return;
        };
        let answer =
            node.get_optional_child("pair-device-sign").and_then(|sign| child_content(sign, "device-identity"));
        match (stage, answer) {
            (Stage::Signing(signing), Some(answer)) => match signing.verify(answer) {
                Some(statement) => self.link_device(id, *signing, statement),
                None => self.refuse_pairing(id, &signing, "the device's signature does not verify"),
            },
            (Stage::Signing(signing), None) if attr(node, "type").as_deref() == Some("error") => {
                self.refuse_pairing(id, &signing, "the client refused the phone's signature");
            }
            // Everything else is an acknowledgement of the offer, or waits for a login.
            _ => self.unpaired_iq(id, node),
        }
    }

    fn link_device(&mut self, id: LinkId, signing: Signing, statement: Vec<u8>) {
        let Signing { registration, address, key_index, .. } = signing;
        self.insert_device(&address, Device::new(registration, key_index, statement, self.now));
        self.log(EventKind::Pair, Some(address), Some(id), serde_json::Value::Null);
        self.end_stream(id, Some(RESTART_REQUIRED), []);
    }

    pub(crate) fn insert_device(&mut self, address: &Address, device: Device) {
        if let Some(person) = self.people.get_mut(&address.phone) {
            person.devices.insert(address.device, Box::new(device));
        }
        self.touch();
    }

    /// The number of the next device that a phone links; each is given once.
    pub(crate) fn next_device(&mut self, phone: &Phone) -> Result<u16, Problem> {
        let person = self.person(phone)?;
        let number = person.next_device;
        person.next_device = number
            .checked_add(1)
            .ok_or_else(|| Problem::conflict(format!("{phone} has linked as many devices as can be numbered")))?;
        Ok(number)
    }

    /// The phone with this number, or one that nobody has.
    pub(crate) fn phone_or_new(&mut self, number: Option<&str>) -> Result<Phone, Problem> {
        match number {
            Some(text) => {
                Phone::parse(text).ok_or_else(|| Problem::bad_request(format!("'{text}' is no phone number")))
            }
            None => self.unused_phone(),
        }
    }

    fn refuse_pairing(&mut self, id: LinkId, signing: &Signing, why: &str) {
        self.tally(&signing.address).pairings_refused += 1;
        self.log(EventKind::PairRefused, Some(signing.address.clone()), Some(id), json!({ "why": why }));
        self.end_stream(id, Some(UNAUTHORIZED), []);
    }

    /// Unlinks a device; says whether it was linked. A live connection of it ends as WhatsApp ends it.
    pub fn unlink(&mut self, address: &Address, why: &str) -> bool {
        let Some(person) = self.people.get_mut(&address.phone) else {
            return false;
        };
        if person.devices.remove(&address.device).is_none() {
            return false;
        }
        for person in self.people.values_mut() {
            person.signal.forget(address);
        }
        self.touch();
        self.log(EventKind::Removed, Some(address.clone()), None, json!({ "why": why }));
        for id in self.live_links(address) {
            if self.links.get(&id).is_some_and(crate::link::Link::online) {
                let conflict = NodeBuilder::new("conflict").attr("type", "device_removed").build();
                self.end_stream(id, Some(UNAUTHORIZED), [conflict]);
            }
        }
        true
    }

    fn unused_phone(&mut self) -> Result<Phone, Problem> {
        let numbers = std::iter::repeat_with(|| format!("55119{:08}", self.rng.random_range(0..100_000_000_u32)));
        let phones: Vec<Phone> = numbers.take(64).filter_map(|number| Phone::parse(&number)).collect();
        let unused = phones.into_iter().find(|phone| !self.people.contains_key(phone));
        unused.ok_or_else(|| Problem::conflict("could not find an unused phone number; give one"))
    }
}
