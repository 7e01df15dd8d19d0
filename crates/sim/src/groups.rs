//! Groups: who is in them, and by which of their two names people are known there.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, Server};

use crate::address::{Address, Phone};
use crate::person::Person;

/// The most people in a group, as with WhatsApp.
pub const MOST_MEMBERS: usize = 1024;
/// The longest name of a group, in characters.
pub const LONGEST_SUBJECT: usize = 100;
const ID_CHARACTERS: std::ops::RangeInclusive<usize> = 5..=32;

/// Names a group: what stands before `@g.us`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(String);

impl GroupId {
    /// Accepts the digits of a group's JID; the oldest groups have a dash among them.
    #[must_use]
    pub fn parse(user: &str) -> Option<Self> {
        let fits =
            ID_CHARACTERS.contains(&user.len()) && user.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        fits.then(|| Self(user.to_owned()))
    }

    /// The group that a JID names.
    #[must_use]
    pub fn of(jid: &Jid) -> Option<Self> {
        if jid.server == Server::Group { Self::parse(&jid.user) } else { None }
    }

    /// What stands before `@g.us`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group's JID.
    #[must_use]
    pub fn jid(&self) -> Jid {
        Jid::group(self.as_str())
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.jid(), formatter)
    }
}

impl FromStr for GroupId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let jid = Jid::from_str(text).ok();
        jid.as_ref().and_then(Self::of).ok_or_else(|| format!("'{text}' is no JID of a group"))
    }
}

impl Serialize for GroupId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GroupId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for GroupId {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for GroupId {}

/// By which of their names the members of a group are called in its stanzas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// By their hidden identities, as in WhatsApp's groups of today.
    #[default]
    Lid,
    /// By their phone numbers.
    Pn,
}

impl Addressing {
    /// As it stands in `addressing_mode`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lid => "lid",
            Self::Pn => "pn",
        }
    }

    /// What a device is called.
    #[must_use]
    pub fn name(self, address: &Address) -> Jid {
        match self {
            Self::Lid => address.lid_jid(),
            Self::Pn => address.jid(),
        }
    }

    /// Says in a stanza who did something, by both names.
    #[must_use]
    pub fn participant(self, stanza: NodeBuilder, who: &Address) -> NodeBuilder {
        let stanza = stanza.attr("participant", self.name(who)).attr("addressing_mode", self.as_str());
        match self {
            Self::Lid => stanza.attr("participant_pn", who.phone.jid()),
            Self::Pn => stanza.attr("participant_lid", who.phone.lid_jid()),
        }
    }
}

/// What somebody may do in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Write.
    #[default]
    Member,
    /// Remove others as well.
    Admin,
    /// The same; this is who made the group.
    SuperAdmin,
}

impl Role {
    /// As it stands in `type`, which is left out for a plain member.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Member => None,
            Self::Admin => Some("admin"),
            Self::SuperAdmin => Some("superadmin"),
        }
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// What it is called in stanzas.
    #[serde(rename = "jid")]
    pub id: GroupId,
    /// What people call it.
    pub subject: String,
    /// Who gave it that name.
    pub subject_owner: Phone,
    /// When, in seconds since 1970.
    pub subject_at: u64,
    /// Who made it.
    pub owner: Phone,
    /// When, in seconds since 1970.
    pub created_at: u64,
    /// How its members are called.
    pub addressing: Addressing,
    /// Who is in it.
    pub members: BTreeMap<Phone, Role>,
}

impl Group {
    /// Whether somebody may remove others.
    #[must_use]
    pub fn is_admin(&self, phone: &Phone) -> bool {
        self.members.get(phone).is_some_and(|role| role.as_str().is_some())
    }

    /// Everything about the group, as clients read it.
    #[must_use]
    pub fn node(&self) -> Node {
        let name = |phone: &Phone| self.addressing.name(&Address::new(phone.clone(), 0));
        let mut group = NodeBuilder::new("group")
            .attr("id", self.id.as_str())
            .attr("subject", self.subject.as_str())
            .attr("s_t", self.subject_at)
            .attr("s_o", name(&self.subject_owner))
            .attr("creation", self.created_at)
            .attr("creator", name(&self.owner))
            .attr("addressing_mode", self.addressing.as_str())
            .attr("size", self.members.len());
        if self.addressing == Addressing::Lid {
            group = group.attr("s_o_pn", self.subject_owner.jid()).attr("creator_pn", self.owner.jid());
        }
        let members = self.members.iter().map(|(phone, role)| {
            let member = self.member(phone);
            match role.as_str() {
                Some(role) => member.attr("type", role).build(),
                None => member.build(),
            }
        });
        group.children(members.collect::<Vec<_>>()).build()
    }

    /// A member, by both names.
    #[must_use]
    pub fn member(&self, phone: &Phone) -> NodeBuilder {
        let (other, jid) = match self.addressing {
            Addressing::Lid => ("phone_number", phone.jid()),
            Addressing::Pn => ("lid", phone.lid_jid()),
        };
        let name = self.addressing.name(&Address::new(phone.clone(), 0));
        NodeBuilder::new("participant").attr("jid", name).attr(other, jid)
    }

    /// The hash by which a client says whom it believes to be in the group.
    #[must_use]
    pub fn members_hash(&self) -> String {
        hash(self.members.keys().map(|phone| self.addressing.name(&Address::new(phone.clone(), 0))))
    }

    /// The hash by which a client says for which devices a message is: all those of the members.
    #[must_use]
    pub fn devices_hash(&self, people: &BTreeMap<Phone, Person>) -> String {
        let devices = self.members.keys().flat_map(|phone| {
            let linked = people.get(phone).into_iter().flat_map(Person::linked);
            std::iter::once(Address::new(phone.clone(), 0)).chain(linked)
        });
        hash(devices.map(|device| self.addressing.name(&device)))
    }
}

/// The second version of WhatsApp's hash over names.
fn hash(names: impl Iterator<Item = Jid>) -> String {
    let mut names: Vec<String> = names
        .map(|jid| {
            let mut name = String::new();
            jid.push_phash_form_to(&mut name);
            name
        })
        .collect();
    names.sort_unstable();
    let digest = Sha256::digest(names.concat().as_bytes());
    format!("2:{}", STANDARD_NO_PAD.encode(&digest[..6]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(addressing: Addressing) -> Group {
        let phone = |text| Phone::parse(text).unwrap();
        let (owner, other) = (phone("5511999990001"), phone("5511999990002"));
        Group {
            id: GroupId::parse("120363000000000001").unwrap(),
            subject: "Friends".to_owned(),
            subject_owner: owner.clone(),
            subject_at: 1,
            owner: owner.clone(),
            created_at: 1,
            addressing,
            members: BTreeMap::from([(owner, Role::SuperAdmin), (other, Role::Member)]),
        }
    }

    #[test]
    fn only_the_jids_of_groups_name_groups() {
        assert_eq!("120363000000000001@g.us".parse::<GroupId>().unwrap().to_string(), "120363000000000001@g.us");
        assert!("5511999990001-1600000000@g.us".parse::<GroupId>().is_ok());
        for wrong in ["120363000000000001@s.whatsapp.net", "@g.us", "12036x@g.us", "status@broadcast", ""] {
            assert!(wrong.parse::<GroupId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_group_survives_the_state_file() {
        let group = group(Addressing::Pn);
        let back: Group = serde_json::from_str(&serde_json::to_string(&group).unwrap()).unwrap();
        assert_eq!(back, group);
    }

    #[test]
    fn the_hash_is_that_of_whatsapps_clients() {
        // sha256("5511999990001.0:0@s.whatsapp.net5511999990002.0:0@s.whatsapp.net"), computed apart from this.
        assert_eq!(group(Addressing::Pn).members_hash(), "2:+SUVyuvA");
        assert_ne!(group(Addressing::Lid).members_hash(), group(Addressing::Pn).members_hash());
        assert_eq!(group(Addressing::Pn).devices_hash(&BTreeMap::new()), group(Addressing::Pn).members_hash());
    }
}
