//! Who joins and leaves groups, and how the others hear of it.

use std::collections::BTreeMap;

use rand::RngExt as _;
use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::address::{Address, Phone};
use crate::api::Problem;
use crate::api::groups::{GroupRequest, GroupView, MemberView};
use crate::events::EventKind;
use crate::groups::{Addressing, Group, GroupId, LONGEST_SUBJECT, MOST_MEMBERS, Role};
use crate::queue::Class;
use crate::world::World;

/// More groups than any test needs.
const MOST_GROUPS: usize = 10_000;
/// The numbers of new groups begin here, as those of WhatsApp do.
const FIRST_GROUP: u64 = 120_363_000_000_000_000;

/// What happens to members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They come in.
    Add,
    /// They are put out, or leave.
    Remove,
    /// They become admins.
    Promote,
    /// They become plain members.
    Demote,
}

impl Change {
    /// Reads the tag of a request.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        [Self::Add, Self::Remove, Self::Promote, Self::Demote].into_iter().find(|change| change.tag() == tag)
    }

    /// The tag in requests, answers and notifications.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Promote => "promote",
            Self::Demote => "demote",
        }
    }
}

/// What the devices of some people are to be told about a group.
pub(crate) struct News {
    group: GroupId,
    addressing: Addressing,
    actor: Phone,
    to: Vec<Phone>,
    what: Node,
}

impl World {
    /// Somebody makes a group; they are in it, and its first admin.
    pub(crate) fn make_group(
        &mut self,
        id: Option<GroupId>,
        subject: &str,
        owner: &Phone,
        others: &[Phone],
        addressing: Addressing,
    ) -> Result<(GroupId, Vec<News>), Problem> {
        if subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT {
            return Err(Problem::bad_request(format!("a group's subject has 1 to {LONGEST_SUBJECT} characters")));
        }
        if self.groups.len() >= MOST_GROUPS {
            return Err(Problem::conflict(format!("there are {MOST_GROUPS} groups already, the most there can be")));
        }
        let id = match id {
            Some(id) => id,
            None => self.unused_group()?,
        };
        if self.groups.contains_key(&id) {
            return Err(Problem::conflict(format!("there is a group {id} already")));
        }
        let mut members: BTreeMap<Phone, Role> = others.iter().map(|phone| (phone.clone(), Role::Member)).collect();
        members.insert(owner.clone(), Role::SuperAdmin);
        if members.len() > MOST_MEMBERS {
            return Err(Problem::bad_request(format!("a group has at most {MOST_MEMBERS} members")));
        }
        for phone in members.keys() {
            self.person(phone)?;
        }
        let now = self.seconds();
        let group = Group {
            id: id.clone(),
            subject: subject.to_owned(),
            subject_owner: owner.clone(),
            subject_at: now,
            owner: owner.clone(),
            created_at: now,
            addressing,
            members,
        };
        let create = NodeBuilder::new("create").attr("type", "new").children([group.node()]).build();
        let news = News {
            group: id.clone(),
            addressing,
            actor: owner.clone(),
            to: group.members.keys().cloned().collect(),
            what: create,
        };
        self.groups.insert(id.clone(), group);
        self.touch();
        self.log(
            EventKind::Group,
            Some(Address::new(owner.clone(), 0)),
            None,
            json!({ "group": id, "change": "create", "who": others }),
        );
        Ok((id, vec![news]))
    }

    /// Changes who is in a group. Says for each person what the refusal is, if there is one.
    pub(crate) fn change_members(
        &mut self,
        id: &GroupId,
        actor: &Phone,
        change: Change,
        whom: &[Phone],
    ) -> (Vec<Option<u16>>, Vec<News>) {
        // A person is made before they can be a member; a number that is none has no phone here at all.
        let real: Vec<bool> = whom.iter().map(|phone| self.person(phone).is_ok()).collect();
        let Some(group) = self.groups.get_mut(id) else {
            return (vec![Some(404); whom.len()], Vec::new());
        };
        let before: Vec<Phone> = group.members.keys().cloned().collect();
        let mut done = Vec::new();
        let mut refusals = Vec::new();
        for (phone, real) in whom.iter().zip(real) {
            let known = group.members.contains_key(phone);
            let refusal = match change {
                Change::Add if known => Some(409),
                Change::Add if !real || group.members.len() >= MOST_MEMBERS => Some(403),
                Change::Remove | Change::Promote | Change::Demote if !known => Some(404),
                Change::Add | Change::Remove | Change::Promote | Change::Demote => None,
            };
            refusals.push(refusal);
            if refusal.is_some() {
                continue;
            }
            match change {
                Change::Add | Change::Demote => group.members.insert(phone.clone(), Role::Member),
                Change::Promote => group.members.insert(phone.clone(), Role::Admin),
                Change::Remove => group.members.remove(phone),
            };
            done.push(phone.clone());
        }
        if done.is_empty() {
            return (refusals, Vec::new());
        }
        let participants = done.iter().map(|phone| group.member(phone).build());
        let what = NodeBuilder::new(change.tag()).children(participants.collect::<Vec<_>>()).build();
        let create = NodeBuilder::new("create").attr("reason", "invite").children([group.node()]).build();
        let addressing = group.addressing;
        let news = |to: Vec<Phone>, what| News { group: id.clone(), addressing, actor: actor.clone(), to, what };
        let mut told = vec![news(before, what)];
        if change == Change::Add {
            // Who comes in learns of the whole group.
            told.push(news(done.clone(), create));
        }
        if change == Change::Remove {
            self.rotate_group_keys(id);
        }
        self.touch();
        let detail = json!({ "group": id, "change": change.tag(), "who": done });
        self.log(EventKind::Group, Some(Address::new(actor.clone(), 0)), None, detail);
        (refusals, told)
    }

    /// Gives a group another name.
    pub(crate) fn rename_group(&mut self, id: &GroupId, actor: &Phone, subject: &str) -> Option<News> {
        let now = self.seconds();
        let group = self.groups.get_mut(id)?;
        subject.clone_into(&mut group.subject);
        group.subject_owner = actor.clone();
        group.subject_at = now;
        let name = group.addressing.name(&Address::new(actor.clone(), 0));
        let what = NodeBuilder::new("subject").attr("subject", subject).attr("s_o", name).attr("s_t", now).build();
        let to = group.members.keys().cloned().collect();
        let news = News { group: id.clone(), addressing: group.addressing, actor: actor.clone(), to, what };
        self.touch();
        Some(news)
    }

    /// The devices of those concerned are notified.
    pub(crate) fn tell(&mut self, news: Vec<News>) {
        for News { group, addressing, actor, to, what } in news {
            for device in self.devices_of(to.iter()) {
                let id = self.new_stanza_id();
                let notification = NodeBuilder::new("notification")
                    .attr("from", group.jid())
                    .attr("type", "w:gp2")
                    .attr("id", id.as_str())
                    .attr("t", self.seconds());
                let notification = addressing.participant(notification, &Address::new(actor.clone(), 0));
                self.enqueue(&device, id, Class::Notification, &notification.children([what.clone()]).build());
            }
        }
    }

    /// The linked devices of some people.
    pub(crate) fn devices_of<'p>(&self, people: impl Iterator<Item = &'p Phone>) -> Vec<Address> {
        people.filter_map(|phone| self.people.get(phone)).flat_map(crate::person::Person::linked).collect()
    }

    /// Whoever left must not read on, so everybody gets themselves a new key.
    fn rotate_group_keys(&mut self, id: &GroupId) {
        let Some(group) = self.groups.get(id) else { return };
        for phone in group.members.keys() {
            if let Some(person) = self.people.get_mut(phone) {
                person.signal.forget_group_key(id, &Address::new(phone.clone(), 0));
            }
        }
    }

    /// People make a group.
    ///
    /// # Errors
    /// When a name is wrong, or the group exists.
    pub fn create_group(&mut self, request: &GroupRequest) -> Result<GroupId, Problem> {
        let id = request.jid.as_deref().map(str::parse).transpose().map_err(|why: String| Problem::bad_request(why))?;
        let people = request.participants.iter().map(|name| self.somebody(name).map(|address| address.phone));
        let people = people.collect::<Result<Vec<_>, _>>()?;
        let owner = match request.owner.as_deref() {
            Some(name) => self.somebody(name)?.phone,
            None => people.first().cloned().ok_or_else(|| Problem::bad_request("a group needs somebody in it"))?,
        };
        let subject = request.subject.as_deref().unwrap_or("Group");
        let (id, news) = self.make_group(id, subject, &owner, &people, request.addressing_mode)?;
        self.tell(news);
        Ok(id)
    }

    /// The groups there are.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        let member = |(phone, role): (&Phone, &Role)| MemberView {
            jid: phone.jid().to_string(),
            lid: phone.lid_jid().to_string(),
            role: *role,
        };
        let view = |group: &Group| GroupView {
            jid: group.id.clone(),
            subject: group.subject.clone(),
            owner: group.owner.jid().to_string(),
            created_at: group.created_at,
            addressing_mode: group.addressing,
            participants: group.members.iter().map(member).collect(),
        };
        self.groups.values().map(view).collect()
    }

    fn unused_group(&mut self) -> Result<GroupId, Problem> {
        let number = |world: &mut Self| FIRST_GROUP + world.rng.random_range(0..1_000_000_000_000_u64);
        let ids: Vec<GroupId> = (0..64).filter_map(|_| GroupId::parse(&number(self).to_string())).collect();
        let unused = ids.into_iter().find(|id| !self.groups.contains_key(id));
        unused.ok_or_else(|| Problem::conflict("could not find an unused JID for the group; give one"))
    }
}
