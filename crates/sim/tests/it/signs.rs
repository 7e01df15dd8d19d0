//! Signs of life: what people read, who is there, what is to be looked at again, and pings of the server.

use holdfast_sim::address::{Address, Phone};
use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{
    CallRequest, DirtyRequest, Event, EventKind, EventQuery, PingRequest, PresenceRequest, Reading, ReceiptRequest,
    Ringing, Simulator, State,
};
use rand::rngs::StdRng;
use serde_json::json;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Link, PHONE, linked};
use crate::writing::{message, session_with, text};

const CONTACT: &str = "5511888880001";

fn contact() -> Address {
    Address::new(Phone::parse(CONTACT).unwrap(), 0)
}

async fn happens(simulator: &Simulator, kind: EventKind) -> Event {
    let query = EventQuery { kind: Some(kind), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap()
}

fn receipt(kind: Reading, ids: Option<&[&str]>) -> ReceiptRequest {
    let ids = ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    ReceiptRequest { from: CONTACT.to_owned(), to: PHONE.to_owned(), ids, group: None, kind }
}

fn presence(state: State, to: Option<&str>) -> PresenceRequest {
    PresenceRequest { from: CONTACT.to_owned(), to: to.map(str::to_owned), group: None, state }
}

async fn send_presence(link: &mut Link, kind: &'static str, to: Option<&Address>) {
    let mut node = NodeBuilder::new("presence").attr("type", kind).attr("name", "Shop");
    if let Some(to) = to {
        node = node.attr("to", to.lid_jid());
    }
    link.send(&node.build()).await;
}

fn inside(node: &Node) -> (String, Option<String>) {
    let child = &node.children().unwrap()[0];
    (child.tag.to_string(), attr(child, "media"))
}

/// What a device is told to look at again, and since when.
async fn told(link: &mut Link) -> (Option<String>, Option<String>) {
    loop {
        let information = link.next_tagged("ib").await;
        if let Some(dirty) = information.get_optional_child("dirty") {
            return (attr(dirty, "type"), attr(dirty, "timestamp"));
        }
    }
}

#[tokio::test]
async fn a_person_calls_gives_up_and_is_rejected() {
    let (simulator, client) = linked().await;
    let request = |id: Option<&str>, state: Ringing| CallRequest {
        from: CONTACT.to_owned(),
        to: PHONE.to_owned(),
        id: id.map(str::to_owned),
        state,
        video: true,
        offline: false,
    };
    assert_eq!(simulator.call(&request(None, Ringing::Offer)).unwrap().hit, 0, "nobody is connected");
    assert_eq!(simulator.call(&request(Some("not/one"), Ringing::Offer)).unwrap_err().status, 400);
    let mut link = client.log_in(&simulator).await;
    let called = simulator.call(&request(None, Ringing::Offer)).unwrap();
    assert_eq!(called.hit, 1);
    let call = link.next_tagged("call").await;
    assert_eq!(attr(&call, "from"), Some(contact().lid_jid().to_string()));
    let offer = &call.children().unwrap()[0];
    assert_eq!((offer.tag.as_ref(), attr(offer, "call-id")), ("offer", Some(called.id.clone())));
    assert!(offer.get_optional_child("video").is_some());

    let creator = contact().lid_jid();
    let reject = NodeBuilder::new("reject").attr("call-id", called.id.as_str()).attr("call-creator", &creator).build();
    let reject = NodeBuilder::new("call").attr("to", &creator).attr("id", "R1").children([reject]).build();
    link.send(&reject).await;
    let rejected = happens(&simulator, EventKind::CallRejected).await;
    assert_eq!(rejected.detail, json!({ "id": called.id, "to": contact().phone.jid().to_string() }));
    assert_eq!(attr(&link.next_tagged("ack").await, "class").as_deref(), Some("call"));

    simulator.call(&request(Some("C2"), Ringing::Terminate)).unwrap();
    let call = link.next_tagged("call").await;
    assert_eq!(inside(&call).0, "terminate");
}

#[tokio::test]
async fn people_say_that_they_read_the_last_message_or_those_that_are_named() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    assert_eq!(simulator.receipt(&receipt(Reading::Read, None)).unwrap_err().status, 404);
    let (mut signal, to) = session_with(&mut link, CONTACT).await;
    for id in ["M1", "M2"] {
        let sealed = signal.seal(&to, &text("hello"), &mut rand::make_rng::<StdRng>()).unwrap();
        link.send(&message(id, &to, sealed.kind, &sealed.bytes)).await;
        assert_eq!(attr(&link.next_tagged("receipt").await, "type"), None, "the delivery");
    }
    assert_eq!(simulator.receipt(&receipt(Reading::Read, None)).unwrap().ids, ["M2"]);
    let read = link.next_tagged("receipt").await;
    assert_eq!((attr(&read, "id").as_deref(), attr(&read, "type").as_deref()), (Some("M2"), Some("read")));
    assert_eq!(attr(&read, "from"), Some(contact().to_string()));

    simulator.receipt(&receipt(Reading::Played, Some(&["M1", "M2"]))).unwrap();
    let played = link.next_tagged("receipt").await;
    assert_eq!((attr(&played, "id").as_deref(), attr(&played, "type").as_deref()), (Some("M1"), Some("played")));
    let items = played.get_optional_child("list").unwrap().children().unwrap();
    assert_eq!(items.iter().filter_map(|item| attr(item, "id")).collect::<Vec<_>>(), ["M2"]);
    assert_eq!(simulator.receipt(&receipt(Reading::Read, Some(&[]))).unwrap_err().status, 400);
}

#[tokio::test]
async fn a_device_that_asked_hears_when_a_person_comes_and_goes() {
    let (simulator, client) = linked().await;
    simulator.presence(&presence(State::Available, None)).unwrap();
    let mut link = client.log_in(&simulator).await;
    send_presence(&mut link, "subscribe", Some(&contact())).await;
    let there = link.next_tagged("presence").await;
    assert_eq!((attr(&there, "from"), attr(&there, "type")), (Some(contact().lid_jid().to_string()), None));
    assert_eq!(simulator.presence(&presence(State::Unavailable, None)).unwrap().hit, 1);
    let gone = link.next_tagged("presence").await;
    assert_eq!(attr(&gone, "type").as_deref(), Some("unavailable"));
    assert!(attr(&gone, "last").unwrap().parse::<u64>().is_ok());
    send_presence(&mut link, "unsubscribe", Some(&contact())).await;
    link.ping().await;
    assert_eq!(simulator.presence(&presence(State::Available, None)).unwrap().hit, 0);
    assert_eq!(simulator.presence(&presence(State::Available, Some(PHONE))).unwrap_err().status, 400);
}

#[tokio::test]
async fn what_a_device_says_of_itself_is_shown_and_told_and_ends_with_its_connection() {
    let (simulator, client) = linked().await;
    let mut other = Client::new();
    other.pair(&simulator, CONTACT).await;
    let mut others = other.log_in(&simulator).await;
    send_presence(&mut others, "subscribe", Some(&Address::new(client.address().phone, 0))).await;
    let unknown = others.next_tagged("presence").await;
    assert_eq!(attr(&unknown, "last").as_deref(), Some("deny"));

    let mut link = client.log_in(&simulator).await;
    // A new name alone is told to nobody.
    link.send(&NodeBuilder::new("presence").attr("name", "Shop").build()).await;
    link.ping().await;
    others.ping().await;
    send_presence(&mut link, "available", None).await;
    assert_eq!(attr(&others.next_tagged("presence").await, "type"), None);
    let said = simulator.events(&EventQuery { kind: Some(EventKind::Presence), ..EventQuery::default() }).unwrap();
    assert_eq!(said.last().unwrap().detail, json!({ "state": "available", "name": "Shop" }));
    let available = |simulator: &Simulator| {
        let accounts = simulator.accounts();
        accounts.iter().flat_map(|account| &account.devices).filter(|device| device.available).count()
    };
    assert_eq!(available(&simulator), 1);
    link.close().await;
    assert_eq!(attr(&others.next_tagged("presence").await, "type").as_deref(), Some("unavailable"));
    assert_eq!(available(&simulator), 0);
}

#[tokio::test]
async fn typing_is_told_in_both_directions() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    for (state, expected) in [
        (State::Composing, ("composing".to_owned(), None)),
        (State::Recording, ("composing".to_owned(), Some("audio".to_owned()))),
        (State::Paused, ("paused".to_owned(), None)),
    ] {
        assert_eq!(simulator.presence(&presence(state, Some(PHONE))).unwrap().hit, 1);
        let typing = link.next_tagged("chatstate").await;
        assert_eq!((attr(&typing, "from"), inside(&typing)), (Some(contact().to_string()), expected));
    }
    assert_eq!(simulator.presence(&presence(State::Composing, None)).unwrap_err().status, 400);

    let composing = NodeBuilder::new("composing").attr("media", "audio").build();
    link.send(&NodeBuilder::new("chatstate").attr("to", contact().jid()).children([composing]).build()).await;
    let typing = happens(&simulator, EventKind::ChatState).await;
    assert_eq!(typing.detail, json!({ "state": "recording", "to": contact().to_string() }));
}

#[tokio::test]
async fn what_changed_is_told_at_once_and_at_each_login_until_the_device_has_looked() {
    let (simulator, client) = linked().await;
    let dirty = |kind: &str| DirtyRequest { target: PHONE.to_owned(), kind: kind.to_owned() };
    assert_eq!(simulator.dirty(&dirty("groups")).unwrap().hit, 1);
    let mut since = None;
    for _ in 0..2 {
        // Whoever activates waits for the answer only, so this is read stanza by stanza.
        let mut link = Link::log_in(&simulator, &client).await;
        let active = NodeBuilder::new("active").build();
        let request = NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "passive").attr("id", "a");
        link.send(&request.children([active]).build()).await;
        let (kind, stamp) = told(&mut link).await;
        assert_eq!(kind.as_deref(), Some("groups"));
        since = stamp;
        link.close().await;
    }
    let mut link = client.log_in(&simulator).await;
    simulator.dirty(&dirty("account_sync")).unwrap();
    while told(&mut link).await.0.as_deref() != Some("account_sync") {}
    let clean = |kind: &str| NodeBuilder::new("clean").attr("type", kind);
    let cleans = [clean("groups").attr("timestamp", since.unwrap()).build(), clean("account_sync").build()];
    let request = NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "urn:xmpp:whatsapp:dirty");
    assert_eq!(attr(&link.ask(request.children(cleans)).await, "type").as_deref(), Some("result"));
    happens(&simulator, EventKind::Cleaned).await;
    link.close().await;

    let mut link = Link::log_in(&simulator, &client).await;
    let active = NodeBuilder::new("active").build();
    let request = NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "passive").attr("id", "a");
    link.send(&request.children([active]).build()).await;
    loop {
        let information = link.next_tagged("ib").await;
        assert!(information.get_optional_child("dirty").is_none());
        if information.get_optional_child("offline").is_some() {
            break;
        }
    }
    for (wrong, status) in [(dirty("NOT one"), 400), (DirtyRequest { target: CONTACT.to_owned(), ..dirty("x") }, 409)] {
        assert_eq!(simulator.dirty(&wrong).unwrap_err().status, status, "{wrong:?}");
    }
}

#[tokio::test]
async fn the_answer_to_a_ping_of_the_server_is_logged_and_no_other_answer_is() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let target = || PingRequest { target: PHONE.to_owned() };
    assert_eq!(simulator.ping(&target()).unwrap().hit, 1);
    let ping = loop {
        let question = link.next_tagged("iq").await;
        if attr(&question, "xmlns").as_deref() == Some("urn:xmpp:ping") {
            break question;
        }
    };
    assert_eq!(attr(&ping, "from").as_deref(), Some("s.whatsapp.net"));
    for id in ["another".to_owned(), attr(&ping, "id").unwrap(), attr(&ping, "id").unwrap()] {
        link.send(&NodeBuilder::new("iq").attr("type", "result").attr("id", id).build()).await;
    }
    link.ping().await;
    let pongs = simulator.events(&EventQuery { kind: Some(EventKind::Pong), ..EventQuery::default() }).unwrap();
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].detail["answer"], "result");
    assert!(pongs[0].detail["ms"].is_u64());
}
