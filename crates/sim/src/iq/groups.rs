//! What devices ask about groups and do in them.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::{not_found, with_child};
use crate::address::{Address, Phone};
use crate::codec::stanza::{attr, child_content, error_of, jid_attr, result_of};
use crate::groups::{Addressing, Group, GroupId, LONGEST_SUBJECT};
use crate::link::LinkId;
use crate::membership::{Change, News};
use crate::world::World;

type Outcome = (Node, Vec<News>);

impl World {
    pub(super) fn group_iq(&mut self, link: LinkId, address: &Address, node: &Node) {
        let group = jid_attr(node, "to").as_ref().and_then(GroupId::of);
        let kind = attr(node, "type").unwrap_or_default();
        let (answer, news) = match (group, kind.as_str()) {
            (None, "set") => self.groups_set(address, node),
            (None, _) => (self.groups_get(address, node), Vec::new()),
            (Some(id), kind) => match self.groups.get(&id) {
                None => (not_found(node), Vec::new()),
                Some(group) if !group.members.contains_key(&address.phone) => (forbidden(node), Vec::new()),
                Some(group) if kind == "get" => (group_get(group, node), Vec::new()),
                Some(_) => self.group_set(&id, address, node),
            },
        };
        self.send(link, answer);
        self.tell(news);
    }

    fn groups_get(&self, address: &Address, node: &Node) -> Node {
        if node.get_optional_child("participating").is_none() {
            return result_of(node).build();
        }
        let mine = self.groups.values().filter(|group| group.members.contains_key(&address.phone));
        with_child(node, NodeBuilder::new("groups").children(mine.map(Group::node).collect::<Vec<_>>()))
    }

    fn groups_set(&mut self, address: &Address, node: &Node) -> Outcome {
        if let Some(create) = node.get_optional_child("create") {
            return self.create_asked(address, node, create);
        }
        let Some(leave) = node.get_optional_child("leave") else {
            return (result_of(node).build(), Vec::new());
        };
        let mut news = Vec::new();
        let mut left = Vec::new();
        for group in leave.get_children_by_tag("group") {
            let name = attr(group, "id").unwrap_or_default();
            let id = name.parse::<Jid>().ok().as_ref().and_then(GroupId::of).or_else(|| GroupId::parse(&name));
            let refusal = match id {
                Some(id) => {
                    let leaving = std::slice::from_ref(&address.phone);
                    let (refusals, told) = self.change_members(&id, &address.phone, Change::Remove, leaving);
                    news.extend(told);
                    refusals.into_iter().flatten().next()
                }
                None => Some(404),
            };
            left.push(refused(NodeBuilder::new("group").attr("id", name), refusal));
        }
        (with_child(node, NodeBuilder::new("leave").children(left)), news)
    }

    fn create_asked(&mut self, address: &Address, node: &Node, create: &Node) -> Outcome {
        let subject = attr(create, "subject").unwrap_or_default();
        let asked: Vec<Jid> = participants(create).collect();
        let people: Vec<Phone> = asked.iter().filter_map(|jid| self.resolve(jid)).map(|known| known.phone).collect();
        match self.make_group(None, &subject, &address.phone, &people, Addressing::default()) {
            Ok((id, news)) => match self.groups.get(&id) {
                Some(group) => (result_of(node).children([group.node()]).build(), news),
                None => (not_found(node), news),
            },
            Err(problem) => (error_of(node, problem.status, "not-acceptable"), Vec::new()),
        }
    }

    fn group_set(&mut self, id: &GroupId, address: &Address, node: &Node) -> Outcome {
        if let Some(subject) = child_content(node, "subject") {
            let subject = String::from_utf8_lossy(subject).into_owned();
            if subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT {
                return (error_of(node, 406, "not-acceptable"), Vec::new());
            }
            let news = self.rename_group(id, &address.phone, &subject);
            return (result_of(node).build(), news.into_iter().collect());
        }
        let children = node.children().unwrap_or_default();
        let request = children.iter().find_map(|child| Some((Change::parse(child.tag.as_ref())?, child)));
        let Some((change, request)) = request else {
            return (result_of(node).build(), Vec::new());
        };
        let admin = self.groups.get(id).is_some_and(|group| group.is_admin(&address.phone));
        // Everybody may bring others in; the rest is for admins.
        if change != Change::Add && !admin {
            return (forbidden(node), Vec::new());
        }
        let asked: Vec<Jid> = participants(request).collect();
        let known: Vec<Option<Phone>> = asked.iter().map(|jid| self.resolve(jid).map(|known| known.phone)).collect();
        let phones: Vec<Phone> = known.iter().flatten().cloned().collect();
        let (refusals, news) = self.change_members(id, &address.phone, change, &phones);
        let mut refusals = refusals.into_iter();
        let answers = asked.iter().zip(&known).map(|(jid, known)| {
            let refusal = if known.is_some() { refusals.next().flatten() } else { Some(404) };
            refused(NodeBuilder::new("participant").attr("jid", jid), refusal)
        });
        let answer = NodeBuilder::new(change.tag()).children(answers.collect::<Vec<_>>());
        (with_child(node, answer), news)
    }
}

/// Everything about a group; nothing if the client shows by a hash that it knows who is in it.
fn group_get(group: &Group, node: &Node) -> Node {
    let query = node.get_optional_child("query");
    let known = query.and_then(|query| attr(query, "phash")).is_some_and(|hash| hash == group.members_hash());
    if query.is_none() || known {
        return result_of(node).build();
    }
    result_of(node).children([group.node()]).build()
}

fn participants(request: &Node) -> impl Iterator<Item = Jid> {
    request.get_children_by_tag("participant").filter_map(|participant| jid_attr(participant, "jid"))
}

fn refused(node: NodeBuilder, refusal: Option<u16>) -> Node {
    match refusal {
        Some(code) => node.attr("error", code).build(),
        None => node.build(),
    }
}

fn forbidden(request: &Node) -> Node {
    error_of(request, 403, "forbidden")
}
