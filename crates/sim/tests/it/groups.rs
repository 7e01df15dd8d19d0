//! Groups: their making, what people write in them, and what devices do.

use holdfast_sim::address::{Address, Phone};
use holdfast_sim::api::CountersView;
use holdfast_sim::codec::stanza::{attr, content};
use holdfast_sim::groups::{Addressing, GroupId};
use holdfast_sim::signal::SignalIdentity;
use holdfast_sim::{EventKind, EventQuery, GroupRequest, MessageRequest, Options, SentMessage, Simulator};
use rand::rngs::StdRng;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::message::SenderKeyDistributionMessage;

use crate::client::{Client, Link, PHONE, linked};
use crate::writing::{read_bundle, text};

const ANA: &str = "5511888880001";
const BOB: &str = "5511888880002";

fn group_of(simulator: &Simulator, participants: &[&str]) -> GroupId {
    let participants = participants.iter().map(|name| (*name).to_owned()).collect();
    simulator.group(&GroupRequest { participants, ..GroupRequest::default() }).unwrap().jid
}

fn counters(simulator: &Simulator) -> CountersView {
    simulator.counters(Some(PHONE)).unwrap()
}

fn person(number: &str) -> Address {
    Address::new(Phone::parse(number).unwrap(), 0)
}

async fn write(simulator: &Simulator, group: &GroupId, text: &str) -> String {
    let request = MessageRequest {
        from: ANA.to_owned(),
        text: text.to_owned(),
        group: Some(group.to_string()),
        ..MessageRequest::default()
    };
    simulator.message(request).await.unwrap().id
}

fn kinds(message: &Node) -> Vec<String> {
    message.get_children_by_tag("enc").filter_map(|enc| attr(enc, "type")).collect()
}

async fn group_iq(link: &mut Link, to: &Jid, kind: &'static str, child: Node) -> Node {
    let id = format!("g{}", rand::random::<u32>());
    let request =
        NodeBuilder::new("iq").attr("id", id.as_str()).attr("to", to).attr("type", kind).attr("xmlns", "w:g2");
    link.send(&request.children([child]).build()).await;
    loop {
        let answer = link.next_tagged("iq").await;
        if attr(&answer, "id").as_deref() == Some(&id) {
            return answer;
        }
    }
}

/// The next notification about a group, confirmed.
async fn notified(link: &mut Link, tag: &str) -> Node {
    loop {
        let notification = link.next_tagged("notification").await;
        let id = attr(&notification, "id").unwrap();
        link.send(&NodeBuilder::new("ack").attr("id", id).attr("class", "notification").build()).await;
        if attr(&notification, "type").as_deref() == Some("w:gp2") && notification.get_optional_child(tag).is_some() {
            return notification;
        }
    }
}

/// A device's part in a group: its sender key, and its sessions with the people in it.
struct Device {
    signal: SignalIdentity,
    own: Address,
    group: GroupId,
}

impl Device {
    async fn new(link: &mut Link, client: &Client, group: &GroupId, people: &[&str]) -> Self {
        let rng = &mut rand::make_rng::<StdRng>();
        let mut signal = SignalIdentity::generate(0, rng).unwrap();
        for number in people {
            let bundle = link.bundle(&person(number).lid_jid()).await;
            signal.begin_session(&person(number), &bundle, rng).unwrap();
        }
        Self { signal, own: client.address(), group: group.clone() }
    }

    fn key_for(&mut self, number: &str) -> Node {
        let rng = &mut rand::make_rng::<StdRng>();
        let key = self.signal.group_key(&self.group, &self.own, rng).unwrap();
        let key = SenderKeyDistributionMessage {
            group_id: Some(self.group.to_string()),
            axolotl_sender_key_distribution_message: Some(key),
        };
        let message = waproto::whatsapp::Message {
            sender_key_distribution_message: MessageField::some(key),
            ..waproto::whatsapp::Message::default()
        };
        let sealed = self.signal.seal(&person(number), &message.encode_to_vec(), rng).unwrap();
        NodeBuilder::new("to").attr("jid", person(number).lid_jid()).children([enc(sealed.kind, &sealed.bytes)]).build()
    }

    fn seal(&mut self, words: &str) -> Vec<u8> {
        let rng = &mut rand::make_rng::<StdRng>();
        self.signal.group_key(&self.group, &self.own, rng).unwrap();
        self.signal.seal_for_group(&self.group, &self.own, &text(words), rng).unwrap()
    }

    fn message(&self, id: &str, keys: Vec<Node>, sealed: &[u8]) -> NodeBuilder {
        let keys = NodeBuilder::new("participants").children(keys).build();
        NodeBuilder::new("message")
            .attr("id", id)
            .attr("to", self.group.jid())
            .attr("type", "text")
            .children([keys, enc("skmsg", sealed)])
    }
}

fn enc(kind: &str, bytes: &[u8]) -> Node {
    NodeBuilder::new("enc").attr("v", "2").attr("type", kind).bytes(bytes).build()
}

fn readers(messages: &[SentMessage], id: &str) -> Vec<(String, Option<String>, u32)> {
    let read = messages.iter().filter(|message| message.id == id);
    read.map(|message| (message.to.phone.to_string(), message.text.clone(), message.copies)).collect()
}

#[tokio::test]
async fn devices_make_groups_change_who_is_in_them_and_leave() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let nowhere = "@g.us".parse::<Jid>().unwrap_or_else(|_| Jid::group(""));
    let participant = |number: &str| NodeBuilder::new("participant").attr("jid", person(number).jid()).build();
    let create = NodeBuilder::new("create").attr("subject", "Friends").children([participant(ANA)]).build();
    let answer = group_iq(&mut link, &nowhere, "set", create).await;
    let made = answer.get_optional_child("group").unwrap();
    let group = GroupId::parse(&attr(made, "id").unwrap()).unwrap();
    assert_eq!(attr(made, "addressing_mode").as_deref(), Some("lid"));
    let news = notified(&mut link, "create").await;
    assert_eq!(attr(&news, "from"), Some(group.to_string()));
    assert_eq!(attr(&news, "participant_pn"), Some(format!("{PHONE}@s.whatsapp.net")));

    let add = NodeBuilder::new("add").children([participant(BOB), participant(ANA)]).build();
    let answer = group_iq(&mut link, &group.jid(), "set", add).await;
    let refusals: Vec<_> =
        answer.get_optional_child("add").unwrap().children().unwrap().iter().map(|node| attr(node, "error")).collect();
    assert_eq!(refusals, [None, Some("409".to_owned())]);
    let news = notified(&mut link, "add").await;
    assert_eq!(news.get_optional_child("add").unwrap().children().unwrap().len(), 1);

    let query = NodeBuilder::new("query").attr("request", "interactive").build();
    let answer = group_iq(&mut link, &group.jid(), "get", query).await;
    let members = answer.get_optional_child("group").unwrap().children().unwrap();
    let admins: Vec<_> = members.iter().filter(|member| attr(member, "type").is_some()).collect();
    assert_eq!((members.len(), admins.len()), (3, 1));
    assert_eq!(attr(admins[0], "jid"), Some(client.address().phone.lid_jid().to_string()));
    assert_eq!(attr(admins[0], "phone_number"), Some(client.address().phone.jid().to_string()));

    let remove = NodeBuilder::new("remove").children([participant(ANA)]).build();
    group_iq(&mut link, &group.jid(), "set", remove).await;
    notified(&mut link, "remove").await;
    let subject = NodeBuilder::new("subject").bytes("Others".as_bytes()).build();
    group_iq(&mut link, &group.jid(), "set", subject).await;
    notified(&mut link, "subject").await;
    let participating = NodeBuilder::new("participating").build();
    let answer = group_iq(&mut link, &nowhere, "get", participating.clone()).await;
    let groups = answer.get_optional_child("groups").unwrap().children().unwrap();
    assert_eq!(groups.iter().map(|group| attr(group, "subject")).collect::<Vec<_>>(), [Some("Others".to_owned())]);

    let leaving = NodeBuilder::new("group").attr("id", group.to_string()).build();
    group_iq(&mut link, &nowhere, "set", NodeBuilder::new("leave").children([leaving]).build()).await;
    notified(&mut link, "remove").await;
    let answer = group_iq(&mut link, &nowhere, "get", participating).await;
    assert!(answer.get_optional_child("groups").unwrap().children().unwrap_or_default().is_empty());
    let query = NodeBuilder::new("query").attr("request", "interactive").build();
    let refused = group_iq(&mut link, &group.jid(), "get", query).await;
    assert_eq!(attr(&refused, "type").as_deref(), Some("error"));
    assert_eq!(simulator.groups()[0].participants.len(), 1);
}

#[tokio::test]
async fn somebody_who_is_no_admin_cannot_put_others_out() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[ANA, BOB, PHONE]);
    let mut link = client.log_in(&simulator).await;
    let participant = NodeBuilder::new("participant").attr("jid", person(BOB).jid()).build();
    let remove = NodeBuilder::new("remove").children([participant]).build();
    let refused = group_iq(&mut link, &group.jid(), "set", remove).await;
    let error = refused.get_optional_child("error").unwrap();
    assert_eq!(attr(error, "code").as_deref(), Some("403"));
    assert_eq!(simulator.groups()[0].participants.len(), 3);
}

#[tokio::test]
async fn the_key_of_a_sender_comes_once_per_device_and_again_with_a_new_session() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[ANA, BOB, PHONE]);
    let mut link = client.log_in(&simulator).await;
    let mut texts = Vec::new();
    for number in 1..=3 {
        let id = write(&simulator, &group, &format!("text {number}")).await;
        texts.push(id);
    }
    let mut seen = Vec::new();
    for id in &texts {
        let message = link.next_tagged("message").await;
        assert_eq!(attr(&message, "id").as_ref(), Some(id));
        assert_eq!(attr(&message, "from"), Some(group.to_string()));
        assert_eq!(attr(&message, "participant"), Some(person(ANA).lid_jid().to_string()));
        assert_eq!(attr(&message, "participant_pn"), Some(person(ANA).jid().to_string()));
        seen.push(kinds(&message));
    }
    assert_eq!(seen, [vec!["pkmsg", "skmsg"], vec!["skmsg"], vec!["skmsg"]]);

    // It asks again: that message comes for it alone, in a new session, and the key with the next one.
    let retry = NodeBuilder::new("retry").attr("count", "1").attr("id", texts[2].as_str()).build();
    let receipt = NodeBuilder::new("receipt")
        .attr("id", texts[2].as_str())
        .attr("type", "retry")
        .attr("to", group.jid())
        .attr("participant", person(ANA).lid_jid());
    link.send(&receipt.children([retry]).build()).await;
    let ack = link.next_tagged("ack").await;
    assert_eq!(attr(&ack, "participant"), Some(person(ANA).lid_jid().to_string()));
    let again = link.next_tagged("message").await;
    assert_eq!((attr(&again, "id").as_ref(), attr(&again, "from")), (Some(&texts[2]), Some(group.to_string())));
    assert_eq!(kinds(&again), ["pkmsg"]);
    assert_eq!(attr(again.get_optional_child("enc").unwrap(), "count").as_deref(), Some("1"));
    write(&simulator, &group, "text 4").await;
    let next = link.next_tagged("message").await;
    assert_eq!(kinds(&next), ["pkmsg", "skmsg"]);
    assert_eq!(counters(&simulator).tally.retry_receipts, 1);
}

#[tokio::test]
async fn each_message_of_a_person_has_its_own_place_in_the_chain_of_their_key() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[ANA, PHONE]);
    let mut link = client.log_in(&simulator).await;
    let ids = [write(&simulator, &group, "one").await, write(&simulator, &group, "two").await];
    let first = link.next_tagged("message").await;
    let second = link.next_tagged("message").await;
    assert_eq!([attr(&first, "id").unwrap(), attr(&second, "id").unwrap()], ids);
    let sealed = |message: &Node| content(message.get_children_by_tag("enc").last().unwrap()).unwrap().to_vec();
    assert_ne!(sealed(&first), sealed(&second));
    let kind = |message: &Node| holdfast_sim::signal::chain_position("skmsg", &sealed(message)).unwrap();
    assert_eq!(kind(&first).ratchet, kind(&second).ratchet);
    assert_eq!((kind(&first).counter, kind(&second).counter), (0, 1));
}

#[tokio::test]
async fn a_refused_message_of_a_group_is_lost_like_any_confirmed_one_and_counted() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[ANA, PHONE]);
    let id = write(&simulator, &group, "unreadable").await;
    assert_eq!(counters(&simulator).queued, 1);
    let mut link = client.log_in(&simulator).await;
    let message = link.next_tagged("message").await;
    assert_eq!((attr(&message, "id"), attr(&message, "offline").is_some()), (Some(id.clone()), true));
    let nack = NodeBuilder::new("ack")
        .attr("id", id)
        .attr("class", "message")
        .attr("to", group.jid())
        .attr("participant", person(ANA).lid_jid())
        .attr("error", "500");
    link.send(&nack.build()).await;
    link.ping().await;
    let counts = counters(&simulator);
    assert_eq!((counts.queued, counts.tally.nacked), (0, 1));
}

#[tokio::test]
async fn every_member_reads_what_a_device_writes_and_says_so() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[PHONE, ANA, BOB]);
    let mut link = client.log_in(&simulator).await;
    let everybody = [PHONE, ANA, BOB];
    let mut device = Device::new(&mut link, &client, &group, &everybody).await;
    let keys = everybody.map(|number| device.key_for(number)).to_vec();
    let sealed = device.seal("hello all");
    link.send(&device.message("M1", keys, &sealed).build()).await;
    let ack = link.next_tagged("ack").await;
    assert_eq!((attr(&ack, "from"), attr(&ack, "phash"), attr(&ack, "error")), (Some(group.to_string()), None, None));
    let mut from = Vec::new();
    for _ in 0..2 {
        let receipt = link.next_tagged("receipt").await;
        assert_eq!((attr(&receipt, "id").as_deref(), attr(&receipt, "type")), (Some("M1"), None));
        from.push(attr(&receipt, "participant").unwrap());
    }
    assert_eq!(from, [ANA, BOB].map(|number| person(number).lid_jid().to_string()));
    // The key is known by now.
    let sealed = device.seal("and again");
    link.send(&device.message("M2", Vec::new(), &sealed).build()).await;
    link.ping().await;
    let messages = simulator.messages();
    assert!(messages.iter().all(|message| message.group.as_ref() == Some(&group)));
    for (id, words) in [("M1", "hello all"), ("M2", "and again")] {
        let read = |number: &str| (number.to_owned(), Some(words.to_owned()), 1);
        assert_eq!(readers(&messages, id), [read(ANA), read(BOB)]);
    }
    let counts = counters(&simulator);
    assert_eq!((counts.tally.undecryptable, counts.tally.counters_reused), (0, 0));
}

#[tokio::test]
async fn a_member_who_lacks_the_key_asks_again_and_reads_what_is_sealed_for_them() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[PHONE, ANA, BOB]);
    let mut link = client.log_in(&simulator).await;
    let mut device = Device::new(&mut link, &client, &group, &[PHONE, ANA, BOB]).await;
    let keys = [PHONE, ANA].map(|number| device.key_for(number)).to_vec();
    let sealed = device.seal("hello");
    link.send(&device.message("M1", keys, &sealed).build()).await;
    let retry = loop {
        let receipt = link.next_tagged("receipt").await;
        if attr(&receipt, "type").as_deref() == Some("retry") {
            break receipt;
        }
    };
    assert_eq!(attr(&retry, "from"), Some(group.to_string()));
    assert_eq!(attr(&retry, "participant"), Some(person(BOB).lid_jid().to_string()));
    assert_eq!(counters(&simulator).tally.undecryptable, 1);
    assert_eq!(readers(&simulator.messages(), "M1").len(), 1);

    let rng = &mut rand::make_rng::<StdRng>();
    let bundle = read_bundle(&retry, retry.get_optional_child("keys").unwrap());
    device.signal.begin_session(&person(BOB), &bundle, rng).unwrap();
    let again = device.signal.seal(&person(BOB), &text("hello"), rng).unwrap();
    let message = NodeBuilder::new("message")
        .attr("id", "M1")
        .attr("to", group.jid())
        .attr("participant", person(BOB).lid_jid())
        .attr("type", "text");
    link.send(&message.children([enc(again.kind, &again.bytes)]).build()).await;
    link.ping().await;
    let read = |number: &str| (number.to_owned(), Some("hello".to_owned()), 1);
    assert_eq!(readers(&simulator.messages(), "M1"), [read(ANA), read(BOB)]);
}

#[tokio::test]
async fn a_sender_key_used_for_two_messages_is_counted_and_a_repeated_message_is_told_apart() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[PHONE, ANA]);
    let mut link = client.log_in(&simulator).await;
    let mut device = Device::new(&mut link, &client, &group, &[PHONE, ANA]).await;
    let keys = [PHONE, ANA].map(|number| device.key_for(number)).to_vec();
    let restored_from_backup = device.signal.clone();
    let sealed = device.seal("one");
    link.send(&device.message("M1", keys, &sealed).build()).await;
    link.send(&device.message("M1", Vec::new(), &sealed).build()).await;
    link.ping().await;
    let counts = counters(&simulator);
    assert_eq!((counts.tally.counters_reused, counts.tally.counters_repeated), (0, 1));

    device.signal = restored_from_backup;
    let sealed = device.seal("two");
    link.send(&device.message("M2", Vec::new(), &sealed).build()).await;
    link.ping().await;
    let counts = counters(&simulator);
    assert_eq!((counts.tally.counters_reused, counts.tally.counters_repeated), (1, 1));
    let query = EventQuery { kind: Some(EventKind::CounterReused), ..EventQuery::default() };
    let reused = simulator.wait(&query).await.unwrap();
    assert_eq!(reused.detail["to"], serde_json::json!(group));
    assert_eq!(readers(&simulator.messages(), "M2"), []);
}

#[tokio::test]
async fn an_acknowledgement_says_which_devices_there_are_when_the_client_believes_otherwise() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[PHONE, ANA]);
    let mut link = client.log_in(&simulator).await;
    let mut device = Device::new(&mut link, &client, &group, &[PHONE, ANA]).await;
    let keys = [PHONE, ANA].map(|number| device.key_for(number)).to_vec();
    let sealed = device.seal("one");
    link.send(&device.message("M1", keys, &sealed).attr("phash", "2:wrong").build()).await;
    let right = attr(&link.next_tagged("ack").await, "phash").expect("the server's own hash");
    assert!(right.starts_with("2:"), "{right}");
    let sealed = device.seal("two");
    link.send(&device.message("M2", Vec::new(), &sealed).attr("phash", right).build()).await;
    assert_eq!(attr(&link.next_tagged("ack").await, "phash"), None);
    assert_eq!(readers(&simulator.messages(), "M1").len(), 1, "it is delivered all the same");
}

#[tokio::test]
async fn linked_devices_of_members_get_the_message_with_their_own_key_and_their_receipts_come_back() {
    let (simulator, client) = linked().await;
    let mut other = Client::new();
    other.pair(&simulator, ANA).await;
    let group = group_of(&simulator, &[PHONE, ANA]);
    let mut link = client.log_in(&simulator).await;
    let mut others = other.log_in(&simulator).await;
    let key = NodeBuilder::new("to").attr("jid", other.address().lid_jid()).children([enc("pkmsg", &[0x33; 40])]);
    let mut device = Device::new(&mut link, &client, &group, &[PHONE, ANA]).await;
    let mut keys = [PHONE, ANA].map(|number| device.key_for(number)).to_vec();
    keys.push(key.build());
    let sealed = device.seal("hello");
    link.send(&device.message("M1", keys, &sealed).build()).await;
    let message = others.next_tagged("message").await;
    assert_eq!(attr(&message, "participant"), Some(client.address().lid_jid().to_string()));
    assert_eq!(kinds(&message), ["pkmsg", "skmsg"]);
    assert_eq!(content(message.get_children_by_tag("enc").last().unwrap()), Some(&sealed[..]));

    let receipt = NodeBuilder::new("receipt")
        .attr("id", "M1")
        .attr("to", group.jid())
        .attr("participant", client.address().lid_jid())
        .attr("type", "read");
    others.send(&receipt.build()).await;
    loop {
        let receipt = link.next_tagged("receipt").await;
        if attr(&receipt, "type").as_deref() == Some("read") {
            assert_eq!(attr(&receipt, "from"), Some(group.to_string()));
            assert_eq!(attr(&receipt, "participant"), Some(other.address().lid_jid().to_string()));
            break;
        }
    }
}

#[tokio::test]
async fn who_is_not_in_a_group_cannot_write_there() {
    let (simulator, client) = linked().await;
    let group = group_of(&simulator, &[ANA, BOB]);
    let mut link = client.log_in(&simulator).await;
    let mut device = Device::new(&mut link, &client, &group, &[]).await;
    let sealed = device.seal("let me in");
    link.send(&device.message("M1", Vec::new(), &sealed).build()).await;
    assert_eq!(attr(&link.next_tagged("ack").await, "error").as_deref(), Some("403"));
    assert!(simulator.messages().is_empty());

    let request = |from: &str, to: &str, group: &str| MessageRequest {
        from: from.to_owned(),
        to: to.to_owned(),
        text: "x".to_owned(),
        id: None,
        group: Some(group.to_owned()),
    };
    let name = group.to_string();
    for (request, status) in [
        (request(PHONE, "", &name), 409),
        (request(ANA, PHONE, &name), 409),
        (request(ANA, "", &name), 409),
        (request(ANA, "", "nowhere"), 404),
        (request(ANA, PHONE, "x@s.whatsapp.net"), 400),
        (request(ANA, BOB, "nobody here can get a message"), 409),
    ] {
        assert_eq!(simulator.message(request.clone()).await.unwrap_err().status, status, "{request:?}");
    }
    assert_eq!(simulator.groups().len(), 1, "a refusal makes no group");
}

#[tokio::test]
async fn a_group_that_is_named_for_the_first_time_is_made_and_then_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { state: Some(folder.path().join("state.json")), ..Options::default() };
    let simulator = Simulator::start(options()).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let request = MessageRequest {
        from: ANA.to_owned(),
        to: PHONE.to_owned(),
        text: "hello".to_owned(),
        id: None,
        group: Some("Friends".to_owned()),
    };
    let first = simulator.message(request.clone()).await.unwrap().group;
    simulator.stop().await.unwrap();

    let simulator = Simulator::start(options()).await.unwrap();
    assert_eq!(simulator.message(request).await.unwrap().group, first);
    let mut link = client.log_in(&simulator).await;
    notified(&mut link, "create").await;
    let messages = [link.next_tagged("message").await, link.next_tagged("message").await];
    assert_eq!(messages.map(|message| kinds(&message).len()), [2, 1], "the sender's key is kept as well");
}

#[tokio::test]
async fn members_can_be_called_by_their_numbers() {
    let (simulator, client) = linked().await;
    let participants = vec![ANA.to_owned(), PHONE.to_owned()];
    let request = GroupRequest { participants, addressing_mode: Addressing::Pn, ..GroupRequest::default() };
    let group = simulator.group(&request).unwrap().jid;
    write(&simulator, &group, "hello").await;
    let mut link = client.log_in(&simulator).await;
    let message = link.next_tagged("message").await;
    assert_eq!(attr(&message, "addressing_mode").as_deref(), Some("pn"));
    assert_eq!(attr(&message, "participant"), Some(person(ANA).jid().to_string()));
    assert_eq!(attr(&message, "participant_lid"), Some(person(ANA).lid_jid().to_string()));
}
