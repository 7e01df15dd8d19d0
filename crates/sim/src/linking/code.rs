//! Linking a device by a code that is typed on the phone: what passes between client, server and phone.
//!
//! The server never sees the code. It knows which client asked for which number, and passes on what the two say to each other.

use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::codec::stanza::{attr, child_content, error_of, jid_attr, leaf, result_of, server_jid};
use crate::encoding::hex;
use crate::events::EventKind;
use crate::link::{LinkId, Stage};
use crate::pairing::Registration;
use crate::pairing::code::{TypedCode, WrappedKey};
use crate::world::World;

/// How long WhatsApp lets a code be typed, in milliseconds.
const VALID: u64 = 180_000;

/// What a client asks for that wants to be linked by a code.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// The phone on which the code is to be typed.
    pub phone: Phone,
    /// Names the request between client, server and phone.
    pub reference: Vec<u8>,
    /// The client's ephemeral key.
    pub ephemeral: WrappedKey,
    /// When it was made, in milliseconds since 1970.
    pub asked_at: u64,
    /// What the phone made of the code that was typed last.
    pub typed: Option<TypedCode>,
}

impl World {
    /// A client that is not linked yet says something about a code.
    pub(crate) fn link_code(&mut self, id: LinkId, node: &Node, request: &Node) {
        let Some(Stage::Offering(registration)) = self.links.get(&id).map(|link| link.stage.clone()) else {
            return self.send(id, bad_request(node));
        };
        match attr(request, "stage").as_deref() {
            Some("companion_hello") => self.code_requested(id, node, request, &registration),
            Some("companion_finish") => self.code_answered(id, node, request, &registration),
            _ => self.send(id, bad_request(node)),
        }
    }

    /// The client shows a code for a number. A second request replaces the first.
    fn code_requested(&mut self, id: LinkId, node: &Node, request: &Node, registration: &Registration) {
        let phone = jid_attr(request, "jid").and_then(|jid| Phone::parse(&jid.user));
        let ephemeral =
            child_content(request, "link_code_pairing_wrapped_companion_ephemeral_pub").and_then(WrappedKey::parse);
        let (Some(phone), Some(ephemeral), true) = (phone, ephemeral, well_formed(request, registration)) else {
            return self.send(id, bad_request(node));
        };
        let reference = format!("3@{}", hex(&self.random_bytes::<16>())).into_bytes();
        let answer = NodeBuilder::new("link_code_companion_reg")
            .attr("stage", "companion_hello")
            .children([leaf("link_code_pairing_ref", reference.clone())]);
        self.send(id, result_of(node).children([answer.build()]).build());
        self.log(EventKind::CodeRequested, Some(Address::new(phone.clone(), 0)), Some(id), serde_json::Value::Null);
        let asked_at = self.now;
        if let Some(link) = self.links.get_mut(&id) {
            link.code = Some(Box::new(CodeRequest { phone, reference, ephemeral, asked_at, typed: None }));
        }
    }

    /// The connection on which a client shows a code for this number, and what it asked for; the newest if there are several.
    ///
    /// # Errors
    /// When there is none, or its code is too old.
    pub fn code_request(&self, phone: &Phone) -> Result<(LinkId, CodeRequest), Problem> {
        let requests = self.links.iter().filter(|(_, link)| matches!(link.stage, Stage::Offering(_)));
        let mut requests = requests.filter_map(|(id, link)| Some((*id, link.code.as_deref()?)));
        let newest = requests.rfind(|(_, request)| request.phone == *phone);
        let (id, request) =
            newest.ok_or_else(|| Problem::not_found(format!("no connected client shows a code for {phone}")))?;
        if self.now.saturating_sub(request.asked_at) > VALID {
            return Err(Problem::conflict("the code is older than three minutes; the client has to make a new one"));
        }
        Ok((id, request.clone()))
    }

    /// The phone has read the client's key with the code that was typed, and tells the client its own.
    ///
    /// # Errors
    /// When the client is gone, or has made a new code meanwhile.
    pub fn code_typed(
        &mut self,
        id: LinkId,
        reference: &[u8],
        typed: TypedCode,
        ephemeral: &WrappedKey,
    ) -> Result<(), Problem> {
        let current = self.links.get_mut(&id).and_then(|link| link.code.as_deref_mut());
        let request = current
            .filter(|request| request.reference == reference)
            .ok_or_else(|| Problem::not_found("the client that showed the code is gone, or has made a new one"))?;
        request.typed = Some(typed);
        let phone = request.phone.clone();
        let identity = self.person(&phone)?.signal.identity();
        let hello = NodeBuilder::new("link_code_companion_reg").attr("stage", "primary_hello").children([
            leaf("link_code_pairing_wrapped_primary_ephemeral_pub", ephemeral.as_bytes()),
            leaf("primary_identity_pub", identity),
            leaf("link_code_pairing_ref", reference),
        ]);
        let notification = NodeBuilder::new("notification")
            .attr("from", server_jid())
            .attr("type", "link_code_companion_reg")
            .attr("id", self.new_stanza_id())
            .attr("t", self.seconds());
        self.send(id, notification.children([hello.build()]).build());
        Ok(())
    }

    /// The client sends its keys to the phone, which links it if it can read them.
    fn code_answered(&mut self, id: LinkId, node: &Node, answer: &Node, registration: &Registration) {
        let request = self.links.get(&id).and_then(|link| link.code.clone());
        let reference = child_content(answer, "link_code_pairing_ref");
        let fits = |request: &CodeRequest| Some(&request.reference[..]) == reference;
        let bundle = child_content(answer, "link_code_pairing_wrapped_key_bundle");
        let identity = child_content(answer, "companion_identity_public");
        let request = request.filter(|request| fits(request) && identity == Some(&registration.identity));
        let typed = request.as_ref().and_then(|request| request.typed.as_ref());
        let (Some(request), Some(typed), Some(bundle)) = (&request, typed, bundle) else {
            return self.send(id, bad_request(node));
        };
        // The server cannot tell whether the phone will be content.
        self.send(id, result_of(node).build());
        let Some(person) = self.people.get(&request.phone) else {
            return;
        };
        let linked =
            typed.open(bundle, &registration.identity, &person.signal).map_err(|error| error.to_string()).and_then(
                |secret| self.vouch(id, registration, &request.phone, &secret).map_err(|error| error.to_string()),
            );
        if let Err(why) = linked {
            // To the client a phone that gives up is silent; the code may be typed again.
            let address = Address::new(request.phone.clone(), 0);
            self.tally(&address).pairings_refused += 1;
            self.log(EventKind::PairRefused, Some(address), Some(id), json!({ "why": why }));
        }
    }
}

/// What WhatsApp looks at before it lets a client ask for a code.
fn well_formed(request: &Node, registration: &Registration) -> bool {
    let display = child_content(request, "companion_platform_display").unwrap_or_default();
    // "Chrome (Linux)": who shows another form than this is refused.
    let display = std::str::from_utf8(display).ok().and_then(|text| text.strip_suffix(')')?.split_once(" ("));
    display.is_some_and(|(browser, system)| !browser.is_empty() && !system.is_empty())
        && child_content(request, "companion_server_auth_key_pub") == Some(&registration.noise_key)
        && ["companion_platform_id", "link_code_pairing_nonce"]
            .iter()
            .all(|tag| child_content(request, tag).is_some_and(|content| !content.is_empty()))
}

fn bad_request(node: &Node) -> Node {
    error_of(node, 400, "bad-request")
}
