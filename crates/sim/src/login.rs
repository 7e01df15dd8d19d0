//! What happens when the Noise channel is open: a login, or the offer of a pairing.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wacore_binary::NodeValue;
use wacore_binary::builder::NodeBuilder;
use waproto::buffa::Message as _;
use waproto::whatsapp::ClientPayload;

use crate::address::{Address, Phone};
use crate::ban::BANNED;
use crate::codec::channel::Opened;
use crate::codec::stanza::leaf;
use crate::events::EventKind;
use crate::link::{LinkId, Stage};
use crate::pairing::Registration;
use crate::person::Device;
use crate::world::{Closing, Effect, World};

/// The failure that tells a client that its device is not linked any more.
const LOGGED_OUT: u16 = 401;
const MALFORMED: u16 = 400;
/// What a client gives back in the routing prefix of its next connection.
const ROUTING_INFO: &[u8] = b"\x08\x0dsim";

impl World {
    /// The handshake is over and the client says what it wants.
    pub fn handshake_done(&mut self, id: LinkId, opened: &Opened) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.pattern = Some(opened.pattern);
        link.routed = opened.routed;
        let Ok(payload) = ClientPayload::decode_from_slice(&opened.payload) else {
            return self.refuse(id, MALFORMED, "the login is no ClientPayload");
        };
        if let Some(username) = payload.username {
            let slow = self.rules.slow.success_ms;
            if slow > 0 {
                self.push_effect(Effect::Hold(id, slow));
            }
            return self.login(id, username, payload.device.unwrap_or(0), &opened.client_static);
        }
        match payload.device_pairing_data.as_option().and_then(|data| Registration::parse(opened.client_static, data)) {
            Some(registration) => self.offer_pairing(id, registration),
            None => self.refuse(id, MALFORMED, "neither a login nor a registration"),
        }
    }

    fn login(&mut self, id: LinkId, username: u64, device: u32, noise_key: &[u8; 32]) {
        let address = Phone::parse(&username.to_string()).zip(u16::try_from(device).ok());
        let Some((phone, number)) = address else {
            return self.refuse(id, LOGGED_OUT, "no such account");
        };
        let address = Address::new(phone, number);
        self.attribute(id, &address);
        let Some(device) = self.device(&address) else {
            return self.refuse(id, LOGGED_OUT, "the device is not linked");
        };
        if device.noise_key != *noise_key {
            self.tally(&address).static_mismatches += 1;
            self.log(EventKind::StaticMismatch, Some(address), Some(id), Value::Null);
            return self.refuse(id, LOGGED_OUT, "another Noise key than the paired one");
        }
        if let Some(ban) = self.ban_in_force(&address.phone) {
            return self.refuse_saying(id, BANNED, ban, "the account is banned for a while");
        }
        if let Some(reason) = self.device(&address).and_then(Device::refuses) {
            return self.refuse(id, reason, "asked for by a fault");
        }
        if let Some(failure) = self.ruled_failure(&address) {
            return self.refuse_saying(id, failure.reason, failure.attrs, "asked for by a rule");
        }
        if let Some(device) = self.device(&address) {
            device.queue.restart();
        }
        for old in self.live_links(&address).into_iter().filter(|old| *old != id) {
            if let Some(link) = self.links.get_mut(&old)
                && link.superseded_by.is_none()
            {
                link.superseded_by = Some(id);
                self.push_effect(Effect::Supersede(old));
                self.log(EventKind::Superseded, Some(address.clone()), Some(old), json!({ "by": id }));
            }
        }
        let mut pattern = None;
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = Stage::Online { active: false };
            pattern = link.pattern;
        }
        self.review(&address);
        let tally = self.tally(&address);
        tally.logins += 1;
        tally.peak_concurrent = tally.peak_concurrent.max(1);
        self.log(
            EventKind::Login,
            Some(address.clone()),
            Some(id),
            json!({ "pattern": pattern.map(crate::noise::Pattern::name) }),
        );
        // Without `lid` Baileys stores an undefined identity.
        let success = NodeBuilder::new("success")
            .attr("t", self.seconds())
            .attr("lid", address.lid_jid())
            .attr("location", "sim");
        self.send(id, success.build());
        if self.rules.silent_on_success {
            self.treat(id, |conduct| conduct.silent = true);
        }
        let routing = NodeBuilder::new("edge_routing").children([leaf("routing_info", ROUTING_INFO)]).build();
        self.send(
            id,
            NodeBuilder::new("ib").attr("from", crate::codec::stanza::server_jid()).children([routing]).build(),
        );
    }

    fn refuse(&mut self, id: LinkId, reason: u16, why: &str) {
        self.refuse_saying(id, reason, BTreeMap::new(), why);
    }

    fn refuse_saying(&mut self, id: LinkId, reason: u16, attrs: BTreeMap<String, String>, why: &str) {
        let address = self.links.get(&id).and_then(|link| link.address.clone());
        self.log(EventKind::LoginRefused, address, Some(id), json!({ "reason": reason, "why": why }));
        let mut failure = NodeBuilder::new("failure").attr("reason", reason).attr("location", "sim").build();
        for (name, value) in attrs {
            failure.attrs.insert(name, NodeValue::from(value));
        }
        self.send(id, failure);
        self.close(id, Closing::Polite);
    }
}
