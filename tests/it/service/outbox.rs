//! Webhooks whose target is down, slow or mad: nothing is lost, nothing is slowed, nothing grows.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;

use futures_util::future::join_all;
use holdfast_sim::{MessageRequest, Options, Simulator, TrafficRequest};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::client::Api;
use crate::harness::engine::Home;
use crate::harness::eventually::eventually;
use crate::harness::misbehaving::{Manner, Misbehaving};
use crate::harness::receiver::{Received, Receiver};

const ANA: &str = "5511977770001";
/// How much the process may grow while everything waits, in KiB.
const MOST_GROWTH: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn s47_a_target_that_is_down_during_five_thousand_messages_and_three_restarts_gets_all_of_them_in_order() {
    const INSTANCES: usize = 8;
    const MESSAGES: u64 = 5_000;
    let sim = Simulator::start(Options::default()).await.unwrap();
    // Nobody listens there yet.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let url = format!("http://{address}/hook");
    // So few attempts that an outage which used them up would show.
    let home = Home::new(sim.ws_url()).set("WEBHOOK_RETRY_MAX_ATTEMPTS", "3");
    let mut engine = home.start().await;
    join_all((0..INSTANCES).map(|number| {
        let (engine, sim, url) = (&engine, &sim, url.as_str());
        async move { engine.pair(sim, &format!("n{number}"), &phone(number), Some(url)).await }
    }))
    .await;
    let load = TrafficRequest {
        seed: 47,
        to: Some((0..INSTANCES).map(phone).collect()),
        // One chat for each instance: its order is the order of the instance.
        contacts: 1,
        per_second: 500.0,
        messages: Some(MESSAGES),
        ..TrafficRequest::default()
    };
    sim.start_traffic(&load).unwrap();
    for (written, signal) in [(1_000, Signal::TERM), (2_000, Signal::KILL), (3_000, Signal::TERM)] {
        progress(&format!("{written} messages to be written"), written, || sim.traffic().written).await;
        engine.signal(signal);
        let code = engine.end().await;
        assert_eq!(code, (signal == Signal::TERM).then_some(0));
        engine = home.start().await;
    }

    // The links are not slowed by what waits behind them.
    for number in 0..INSTANCES {
        engine.reaches(&format!("n{number}"), "open").await;
    }
    let before = engine.resident_kib();
    progress("all messages to be written", MESSAGES, || sim.traffic().written).await;
    eventually("WhatsApp's queue to be empty", || async {
        let queued: usize = sim.accounts().iter().flat_map(|account| &account.devices).map(|one| one.pending).sum();
        (queued == 0).then_some(())
    })
    .await;
    let outbox = behind(&engine.api(), MESSAGES).await;
    for number in 0..INSTANCES {
        assert_eq!(engine.state(&format!("n{number}")).await["state"], "open");
    }
    let grown = engine.resident_kib().saturating_sub(before);
    assert!(grown < MOST_GROWTH, "the process has grown by {grown} KiB from {before}");
    assert_eq!(outbox["dead"], 0, "{outbox}");
    let target = &outbox["targets"][0];
    assert_eq!((&target["target"], &target["breaker"]["state"]), (&json!(format!("http://{address}")), &json!("open")));
    let lines =
        home.log().lines().filter(|line| line.contains("A delivery is tried again") && line.contains("INFO")).count();
    let paused = home.log().lines().filter(|line| line.contains("pause until it answers again")).count();
    assert!(lines < 60 && (1..=4).contains(&paused), "{lines} and {paused} lines");

    let receiver = Receiver::at(address);
    progress("all messages to arrive", MESSAGES, || messages(&receiver).len() as u64).await;
    eventually("an empty outbox", || async {
        let outbox = engine.api().get("/engine/outbox").await.good();
        (outbox["pending"] == 0).then_some(())
    })
    .await;
    let mut arrived: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for one in messages(&receiver) {
        arrived.entry(one.body["instance"].to_string()).or_default().push(which(&one));
    }
    assert_eq!(arrived.len(), INSTANCES);
    for (instance, numbers) in &arrived {
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(*numbers, expected, "in order, for {instance}");
    }
    assert_eq!(arrived.values().map(Vec::len).sum::<usize>() as u64, MESSAGES);
    assert_eq!(engine.api().get("/engine/outbox").await.good()["dead"], 0);
    let counters = sim.counters(None).unwrap();
    assert_eq!((counters.tally.nacked, counters.tally.counters_reused), (0, 0), "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_misbehave_do_not_hold_the_others_up() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    // Longer than this test, so that whoever holds a lane does not let go of it.
    let home = Home::new(sim.ws_url()).set("WEBHOOK_REQUEST_TIMEOUT_MS", "120000");
    let engine = home.start().await;
    let manners = [Manner::Silent, Manner::Crumbs, Manner::Garbage, Manner::Endless, Manner::Redirects];
    let mut targets = Vec::new();
    for manner in manners {
        let target = Misbehaving::start(manner).await;
        for number in 0..20 {
            let webhook = json!({ "url": format!("{}/{number}", target.url()), "events": [] });
            let name = format!("{manner:?}{number}");
            let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS", "webhook": webhook });
            engine.api().post("/instance/create", body).await.good();
        }
        targets.push(target);
    }
    eventually("every one of them to be called", || async {
        targets.iter().all(|target| target.connections() > 0).then_some(())
    })
    .await;

    let receiver = Receiver::start();
    engine.pair(&sim, "shop", &phone(0), Some(&receiver.url())).await;
    let expected: Vec<String> = (0..50).map(|number| format!("m{number}")).collect();
    for text in &expected {
        let request = MessageRequest { from: ANA.to_owned(), to: phone(0), text: text.clone(), id: None, group: None };
        sim.message(request).await.unwrap();
    }
    receiver.message("m49").await;
    assert_eq!(receiver.texts(), expected);
    assert_eq!(engine.state("shop").await["state"], "open");

    // Who answers with garbage is left alone, and told of; who holds lanes has its share of them and no more.
    let breaker = |outbox: &Value, target: &str| {
        let targets = outbox["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().find(|one| one["target"] == target).unwrap_or_default()
    };
    eventually("the target of garbage to be left alone", || async {
        let outbox = engine.api().get("/engine/outbox").await.good();
        (breaker(&outbox, targets[2].url())["breaker"]["state"] == "open").then_some(())
    })
    .await;
    let outbox = engine.api().get("/engine/outbox").await.good();
    assert_eq!(breaker(&outbox, targets[0].url())["breaker"]["state"], "closed");
    assert!(
        breaker(&outbox, targets[0].url())["underWay"].as_u64().is_some_and(|held| (1..=16).contains(&held)),
        "{outbox}"
    );
    assert_eq!(
        breaker(&outbox, targets[3].url())["pending"],
        Value::Null,
        "whoever has answered well has it: {outbox}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_delivered_after_all_when_it_is_redriven() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    receiver.refuse_with(1, 404);
    engine.create("shop", Some(&receiver.url())).await;
    let letter = eventually("a dead letter", || async {
        engine.api().get("/engine/dead-letters?data=true").await.good()["deadLetters"].get(0).cloned()
    })
    .await;
    assert_eq!((&letter["event"], &letter["attempts"]), (&json!("instance.create"), &json!(1)), "{letter}");
    assert_eq!(letter["why"], "the receiver answered 404, which is not retried");
    let redriven = engine.api().post("/engine/dead-letters/redrive", json!({ "ids": [letter["id"]] })).await.good();
    assert_eq!(redriven["redriven"], 1);
    let event = receiver.event("instance.create", |_| true).await;
    assert_eq!((json!(event.event_id), event.attempt.as_str()), (letter["eventId"].clone(), "2"));
    assert_eq!(engine.api().get("/engine/dead-letters").await.good()["deadLetters"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_it_is_allowed_no_webhook_goes_into_this_host() {
    let receiver = Receiver::start();
    let home = Home::new("ws://127.0.0.1:1/").unset("WEBHOOK_ALLOWED_NETWORKS");
    let body = |url: &str| json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "webhook": { "url": url, "events": [] } });
    let engine = home.start().await;
    let refused = engine.api().post("/instance/create", body(&receiver.url())).await;
    assert_eq!((refused.status, &refused.body["response"]["code"]), (400, &json!("webhook-address-refused")));
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));

    // One that was set before: it waits, is never called, and goes out once its network is allowed.
    let home = home.set("WEBHOOK_ALLOWED_NETWORKS", "private");
    let engine = home.start().await;
    receiver.refuse(u32::MAX);
    engine.api().post("/instance/create", body(&receiver.url())).await.good();
    eventually("a refused delivery", || async { (!receiver.all().is_empty()).then_some(()) }).await;
    engine.signal(Signal::TERM);
    engine.end().await;
    receiver.refuse(0);
    let called = receiver.all().len();
    let home = home.unset("WEBHOOK_ALLOWED_NETWORKS");
    let engine = home.start().await;
    eventually("the reason in the log", || async {
        home.log().contains("which WEBHOOK_ALLOWED_NETWORKS does not allow").then_some(())
    })
    .await;
    assert_eq!(engine.api().get("/engine/outbox").await.good()["pending"], 1);
    engine.signal(Signal::TERM);
    engine.end().await;
    assert_eq!(receiver.all().len(), called);
    let home = home.set("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1");
    let _engine = home.start().await;
    receiver.event("instance.create", |_| true).await;
}

/// The messages of the load that were taken, each once. A repetition has the id that it had.
fn messages(receiver: &Receiver) -> Vec<Received> {
    let mut ids: HashMap<String, String> = HashMap::new();
    let taken = receiver.all().into_iter().filter(|one| one.taken && one.event() == "messages.upsert");
    taken
        .filter(|one| {
            let key = one.body["data"]["key"]["id"].to_string();
            let known = ids.entry(key).or_default();
            assert!(known.is_empty() || *known == one.event_id, "a message came under two event ids");
            let new = known.is_empty();
            known.clone_from(&one.event_id);
            new
        })
        .collect()
}

/// Which message of the load to its account it is.
fn which(one: &Received) -> u64 {
    let number = one.text().rsplit_once('(').and_then(|(_, number)| number.trim_end_matches(')').parse().ok());
    number.unwrap_or_else(|| panic!("no message of the load: {one:?}"))
}

/// Waits until so many deliveries wait.
async fn behind(api: &Api, least: u64) -> Value {
    eventually(&format!("{least} deliveries that wait"), || async {
        let outbox = api.get("/engine/outbox").await.good();
        outbox["pending"].as_u64().is_some_and(|pending| pending >= least).then_some(outbox)
    })
    .await
}

/// Waits for a count to be reached, as long as it grows.
async fn progress(what: &str, goal: u64, count: impl Fn() -> u64) {
    let mut last = count();
    while last < goal {
        let now = || async { (count() > last).then(&count) };
        last = eventually(&format!("{what}; there were {last} of {goal}"), now).await;
    }
}

fn phone(number: usize) -> String {
    format!("55119999{number:05}")
}
