//! How the server behaves when it is told to.

use std::collections::BTreeMap;

use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{
    Action, EventKind, EventQuery, FaultRequest, LoginFailure, MessageFailure, Options, Rules, Simulator,
};
use rand::rngs::StdRng;
use wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Link, PHONE, linked, static_key_in};
use crate::writing::{message, session_with, text};

fn rule(simulator: &Simulator, change: impl FnOnce(&mut Rules)) {
    let mut rules = simulator.rules();
    change(&mut rules);
    simulator.set_rules(rules).unwrap();
}

async fn first_word(simulator: &Simulator, client: &Client) -> (String, Option<String>) {
    let node = Link::log_in(simulator, client).await.next().await;
    (node.tag.to_string(), attr(&node, "reason"))
}

#[tokio::test]
async fn logins_are_refused_as_often_as_a_rule_says_with_all_that_it_says() {
    let (simulator, client) = linked().await;
    let attrs = BTreeMap::from([("code".to_owned(), "101".to_owned()), ("expire".to_owned(), "3600".to_owned())]);
    let failure = LoginFailure { reason: 402, count: Some(2), jid: None, attrs };
    rule(&simulator, |rules| rules.login_failure = Some(failure));
    let refusal = Link::log_in(&simulator, &client).await.next().await;
    let said = ["reason", "code", "expire"].map(|name| attr(&refusal, name).unwrap_or_default());
    assert_eq!(said, ["402", "101", "3600"]);
    assert_eq!(first_word(&simulator, &client).await.0, "failure");
    assert_eq!(first_word(&simulator, &client).await.0, "success");
    assert_eq!(simulator.rules(), Rules::default(), "used up");
}

#[tokio::test]
async fn a_refusal_meant_for_somebody_else_strikes_nobody_else() {
    let (simulator, client) = linked().await;
    let other =
        LoginFailure { reason: 503, count: None, jid: Some("5511777770001".to_owned()), attrs: BTreeMap::new() };
    rule(&simulator, |rules| rules.login_failure = Some(other));
    assert_eq!(first_word(&simulator, &client).await.0, "success");
    let mine = LoginFailure { reason: 503, count: None, jid: Some(PHONE.to_owned()), attrs: BTreeMap::new() };
    rule(&simulator, |rules| rules.login_failure = Some(mine.clone()));
    for _ in 0..3 {
        assert_eq!(first_word(&simulator, &client).await, ("failure".to_owned(), Some("503".to_owned())));
    }
    let nobody =
        Rules { login_failure: Some(LoginFailure { jid: Some("nobody".to_owned()), ..mine }), ..Rules::default() };
    assert_eq!(simulator.set_rules(nobody).unwrap_err().status, 400);
}

#[tokio::test]
async fn a_ban_ends_the_connection_and_refuses_logins_until_its_time_is_over() {
    let (simulator, client) = linked().await;
    let link = client.log_in(&simulator).await;
    let ban = |seconds| FaultRequest { target: PHONE.to_owned(), action: Action::Ban { seconds, code: None } };
    assert_eq!(simulator.fault(ban(0)).await.unwrap_err().status, 400);
    assert_eq!(simulator.fault(ban(1)).await.unwrap().hit, 1);
    link.until_closed().await;
    let refusal = Link::log_in(&simulator, &client).await.next().await;
    let said = ["reason", "code", "expire"].map(|name| attr(&refusal, name).unwrap_or_default());
    assert_eq!(said, ["402", "101", "1"]);
    let open = async { while first_word(&simulator, &client).await.0 != "success" {} };
    tokio::time::timeout(crate::client::PATIENCE, open).await.expect("the ban ends by itself");

    simulator.fault(ban(3600)).await.unwrap();
    assert_eq!(first_word(&simulator, &client).await.0, "failure");
    let clear = FaultRequest { target: PHONE.to_owned(), action: Action::Clear };
    simulator.fault(clear).await.unwrap();
    assert_eq!(first_word(&simulator, &client).await.0, "success");
}

#[tokio::test]
async fn a_client_gets_as_many_references_as_a_rule_says() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    rule(&simulator, |rules| rules.refs = 2);
    let offer = Link::register(&simulator, &Client::new()).await.next_tagged("iq").await;
    assert_eq!(offer.get_optional_child("pair-device").unwrap().children().unwrap().len(), 2);
}

#[tokio::test]
async fn a_phone_keeps_its_key_and_the_server_its_last_word_while_rules_say_so() {
    let (simulator, client) = linked().await;
    rule(&simulator, |rules| {
        rules.key_share = false;
        rules.send_offline = false;
    });
    let mut link = client.log_in(&simulator).await;
    link.upload(&client, &[]).await;
    link.send(&NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p").attr("id", "last").build()).await;
    let mut seen = Vec::new();
    loop {
        let node = link.next().await;
        if attr(&node, "id").as_deref() == Some("last") {
            break;
        }
        seen.push(node);
    }
    assert!(seen.iter().all(|node| node.tag != "message"), "no key share");
    assert!(seen.iter().all(|node| node.get_optional_child("offline").is_none()), "no end of the offline queue");
    assert_eq!(simulator.counters(Some(PHONE)).unwrap().queued, 0);
}

#[tokio::test]
async fn a_client_that_remembers_the_key_of_the_server_has_to_begin_again_when_told_so_or_when_the_key_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let simulator = Simulator::start(Options { state: Some(state.clone()), ..Options::default() }).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let key = static_key_in(&state);
    assert!(Link::log_in_ik(&simulator, &client, key).await.is_some());
    rule(&simulator, |rules| rules.decline_ik = true);
    assert!(Link::log_in_ik(&simulator, &client, key).await.is_none());
    simulator.set_rules(Rules::default()).unwrap();
    simulator.rotate_static().unwrap();
    assert!(Link::log_in_ik(&simulator, &client, key).await.is_none());
    // The new chain is signed by the same root, which the scripted client checks.
    assert_eq!(first_word(&simulator, &client).await.0, "success");
    let rotated = EventQuery { kind: Some(EventKind::StaticRotated), ..EventQuery::default() };
    simulator.wait(&rotated).await.unwrap();
}

#[tokio::test]
async fn messages_of_devices_are_refused_or_left_without_a_word_as_a_rule_says() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let (mut signal, contact) = session_with(&mut link, "5511888880001").await;
    let mut sealed = async |link: &mut Link, id: &str| {
        let sealed = signal.seal(&contact, &text(id), &mut rand::make_rng::<StdRng>()).unwrap();
        link.send(&message(id, &contact, sealed.kind, &sealed.bytes)).await;
    };
    let failure =
        |code, jid: Option<&str>| Some(MessageFailure { code, count: Some(1), jid: jid.map(ToOwned::to_owned) });

    rule(&simulator, |rules| rules.message_failure = failure(Some(463), Some(PHONE)));
    sealed(&mut link, "refused").await;
    let ack = link.next_tagged("ack").await;
    let said = ["class", "id", "error"].map(|name| attr(&ack, name).unwrap_or_default());
    assert_eq!(said, ["message", "refused", "463"]);
    assert!(simulator.messages().is_empty(), "nobody got it");
    assert_eq!(simulator.rules(), Rules::default(), "used up");

    rule(&simulator, |rules| rules.message_failure = failure(None, None));
    sealed(&mut link, "read").await;
    let receipt = link.next_tagged("receipt").await;
    assert_eq!(attr(&receipt, "id").as_deref(), Some("read"), "it has arrived");
    sealed(&mut link, "acknowledged").await;
    let ack = link.next_tagged("ack").await;
    assert_eq!((attr(&ack, "id").as_deref(), attr(&ack, "error")), (Some("acknowledged"), None));
    let texts: Vec<_> = simulator.messages().into_iter().filter_map(|message| message.text).collect();
    assert_eq!(texts, ["read", "acknowledged"]);

    rule(&simulator, |rules| rules.message_failure = failure(Some(403), Some("5511777770001")));
    sealed(&mut link, "mine").await;
    assert_eq!(attr(&link.next_tagged("ack").await, "error"), None, "the rule is about somebody else");
    let nobody = Rules { message_failure: failure(None, Some("nobody")), ..Rules::default() };
    assert_eq!(simulator.set_rules(nobody).unwrap_err().status, 400);
}
