//! Groups, receipts and presence.

use holdfast_sim::groups::Addressing;
use holdfast_sim::presence::State;
use holdfast_sim::reading::Reading;
use holdfast_sim::{
    Action, DirtyRequest, EventKind, EventQuery, GroupRequest, MessageRequest, Options, PingRequest, PresenceRequest,
    ReceiptRequest, Simulator,
};
use serde_json::{Value, json};

use crate::client::{Baileys, CONTACT, PHONE, arrived};

const OTHER: &str = "5511888880009";

async fn write(simulator: &Simulator, group: &str, text: &str) {
    let request = MessageRequest {
        from: CONTACT.to_owned(),
        text: text.to_owned(),
        group: Some(group.to_owned()),
        ..MessageRequest::default()
    };
    simulator.message(request).await.unwrap();
}

/// Exchanges a text in each direction in this group, in which three people are.
async fn talk(baileys: &mut Baileys, simulator: &Simulator, group: &str) {
    write(simulator, group, "hello everybody").await;
    let message = baileys.next("message").await;
    assert_eq!((&message["text"], &message["from"]), (&json!("hello everybody"), &json!(group)));
    say(baileys, simulator, group, "hello both of you").await;
}

async fn say(baileys: &mut Baileys, simulator: &Simulator, group: &str, text: &str) {
    let before = simulator.last_event();
    let sent = baileys.ask(json!({ "send": { "to": group, "text": text } }), "sent").await;
    arrived(simulator, before, &sent).await;
    let read: Vec<_> = simulator.messages().into_iter().filter(|message| json!(message.id) == sent["id"]).collect();
    let mut readers: Vec<String> = read.iter().map(|message| message.to.phone.to_string()).collect();
    readers.sort();
    assert_eq!(readers, [CONTACT, OTHER], "{read:?}");
    assert!(read.iter().all(|message| message.text.as_deref() == Some(text) && message.copies == 1), "{read:?}");
    assert!(read.iter().all(|message| message.group.as_ref().is_some_and(|name| name.to_string() == group)));
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_talks_in_groups_and_makes_them() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;
    for addressing_mode in [Addressing::Lid, Addressing::Pn] {
        let participants = [CONTACT, OTHER, PHONE].map(ToOwned::to_owned).to_vec();
        let group = GroupRequest { participants, addressing_mode, ..GroupRequest::default() };
        let group = simulator.group(&group).unwrap().jid.to_string();
        talk(&mut baileys, &simulator, &group).await;
        talk(&mut baileys, &simulator, &group).await;
    }

    let made = json!({ "group": { "subject": "ours", "with": [CONTACT, OTHER] } });
    let made = baileys.ask(made, "group").await;
    let group = made["jid"].as_str().unwrap().to_owned();
    assert_eq!((&made["subject"], made["members"].as_array().map(Vec::len)), (&json!("ours"), Some(3)));
    say(&mut baileys, &simulator, &group, "welcome").await;
    talk(&mut baileys, &simulator, &group).await;

    // What is written while it is away comes later, and its own key goes on.
    baileys.suffers(&simulator, Action::Rst).await;
    baileys.closes().await;
    for text in ["one", "two"] {
        write(&simulator, &group, text).await;
    }
    baileys.tell(json!({ "connect": true })).await;
    for text in ["one", "two"] {
        assert_eq!(baileys.next("message").await["text"], text);
    }
    baileys.next("open").await;
    talk(&mut baileys, &simulator, &group).await;
    baileys.is_blameless(&simulator, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_and_people_see_each_other_read_type_and_come_and_go() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;

    let sent = baileys.ask(json!({ "send": { "to": CONTACT, "text": "read me" } }), "sent").await;
    let id = sent["id"].as_str().unwrap().to_owned();
    let reached = EventQuery { kind: Some(EventKind::MessageIn), ..EventQuery::default() };
    simulator.wait(&reached).await.unwrap();
    let read = ReceiptRequest {
        from: CONTACT.to_owned(),
        to: PHONE.to_owned(),
        ids: Some(vec![id.clone()]),
        group: None,
        kind: Reading::Read,
    };
    simulator.receipt(&read).unwrap();
    // 4 is "read".
    while baileys.next("status").await != json!({ "event": "status", "id": id, "status": 4 }) {}

    baileys.receives(&simulator, "read this").await;
    let before = simulator.last_event();
    let message = simulator.events(&EventQuery { kind: Some(EventKind::MessageOut), ..EventQuery::default() }).unwrap();
    let id = message.last().unwrap().detail["id"].clone();
    baileys.ask(json!({ "read": id }), "marked").await;
    let receipt = seen(&simulator, EventKind::Receipt, before, "kind", "read").await;
    assert!(receipt.to_string().contains(id.as_str().unwrap()), "{receipt}");

    baileys.ask(json!({ "watch": CONTACT }), "watching").await;
    let stirs = |state, to: Option<&str>| {
        let request = PresenceRequest { from: CONTACT.to_owned(), to: to.map(ToOwned::to_owned), group: None, state };
        simulator.presence(&request).unwrap();
    };
    let known = async |baileys: &mut Baileys, state: &str| {
        loop {
            let of = baileys.next("presence").await["of"].clone();
            if of.as_object().unwrap().values().any(|presence| presence["lastKnownPresence"] == state) {
                return;
            }
        }
    };
    stirs(State::Available, None);
    known(&mut baileys, "available").await;
    stirs(State::Composing, Some(PHONE));
    known(&mut baileys, "composing").await;
    stirs(State::Unavailable, None);
    known(&mut baileys, "unavailable").await;

    let before = simulator.last_event();
    baileys.ask(json!({ "presence": { "type": "composing", "to": CONTACT } }), "announced").await;
    seen(&simulator, EventKind::ChatState, before, "state", "composing").await;
    baileys.ask(json!({ "presence": { "type": "unavailable" } }), "announced").await;
    seen(&simulator, EventKind::Presence, before, "state", "unavailable").await;
    // It looks at what has changed from the second time on that it is told.
    for _ in 0..2 {
        let target = PHONE.to_owned();
        simulator.dirty(&DirtyRequest { target, kind: "account_sync".to_owned() }).unwrap();
    }
    simulator.wait(&EventQuery { kind: Some(EventKind::Cleaned), ..EventQuery::default() }).await.unwrap();
    // It does not answer pings.
    simulator.ping(&PingRequest { target: PHONE.to_owned() }).unwrap();
    baileys.talks(&simulator).await;
    let pongs = simulator.events(&EventQuery { kind: Some(EventKind::Pong), ..EventQuery::default() }).unwrap();
    assert_eq!(pongs.len(), 0, "{pongs:?}");
    baileys.is_blameless(&simulator, 1);
}

/// Waits for an event with this detail, and returns all of its details.
async fn seen(simulator: &Simulator, kind: EventKind, mut since: u64, name: &str, value: &str) -> Value {
    loop {
        let next = EventQuery { kind: Some(kind), since: Some(since), ..EventQuery::default() };
        let event = simulator.wait(&next).await.unwrap_or_else(|problem| panic!("no {name} {value}: {problem}"));
        if event.detail[name] == value {
            return event.detail;
        }
        since = event.seq;
    }
}
