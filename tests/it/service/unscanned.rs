//! Codes that nobody scans.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast_sim::{Action, FaultRequest, Options, Rules, Simulator};
use serde_json::{Value, json};

use super::resources::usage;
use crate::harness::client::Api;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::{PATIENCE, eventually, eventually_within};
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const LIMIT: u64 = 2;
/// How long the library shows the first code of a connection. No switch shortens it.
const A_CODE_LIVES: Duration = Duration::from_secs(60);

/// A code of the library lives for a minute; the server ends the connection sooner, after which the next code is shown.
async fn end_every_connection(sim: &Simulator) {
    let request = FaultRequest { target: "all".to_owned(), action: Action::WsClose { code: None } };
    sim.fault(request).await.expect("the connections are closed");
}

async fn shows(engine: &Engine<'_>, name: &str, count: u64) -> Value {
    eventually(&format!("code {count} of instance {name}"), || async {
        let shown = engine.api().get(&format!("/instance/connect/{name}")).await.good();
        (shown["count"] == count && shown["code"].is_string()).then_some(shown)
    })
    .await
}

async fn states(api: &Api, names: &[String]) -> Vec<Value> {
    let asked = names.iter().map(|name| {
        let (api, path) = (api.clone(), format!("/instance/connectionState/{name}"));
        async move { api.get(&path).await.good()["instance"].clone() }
    });
    join_all(asked).await
}

async fn made(api: &Api, names: &[String]) {
    for name in names {
        let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS" });
        api.post("/instance/create", body).await.good();
    }
}

/// Lets a number of instances show codes that nobody scans, until each has given up.
async fn nobody_scans(engine: &Engine<'_>, sim: &Simulator, names: &[String]) {
    let api = engine.api();
    let asked = join_all(names.iter().map(|name| {
        let (api, path) = (api.clone(), format!("/instance/connect/{name}"));
        async move { api.get(&path).await }
    }));
    for answer in asked.await {
        assert_eq!(answer.good()["count"], 1);
    }
    // One round for each code, and none is ended before it shows one.
    for _ in 1..=LIMIT {
        eventually("a code of each", || async {
            states(&api, names).await.iter().all(|said| said["phase"] == "pairing").then_some(())
        })
        .await;
        let lost: Vec<_> = sim.sessions().into_iter().map(|session| session.link).collect();
        end_every_connection(sim).await;
        eventually("the next connection of each", || async {
            let links = sim.sessions();
            let news = links.iter().filter(|session| !lost.contains(&session.link)).count();
            let over = || async { states(&api, names).await.iter().all(|said| said["state"] == "close") };
            (news == names.len() || over().await).then_some(())
        })
        .await;
    }
    for name in names {
        let said = engine.reaches(name, "close").await;
        assert_eq!((&said["phase"], &said["paired"]), (&json!("unpaired"), &json!(false)), "{said}");
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is printed, and decides nothing")]
#[tokio::test(flavor = "multi_thread")]
async fn s12_a_hundred_instances_that_nobody_scans_give_up_and_leave_nothing_open() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let home = Home::new(sim.ws_url())
        .set("QRCODE_LIMIT", &LIMIT.to_string())
        .set("DIAL_CONCURRENCY", "100")
        .set("DIAL_RATE_PER_SECOND", "1000")
        .set("RUST_LOG", "info");
    let engine = home.start().await;
    let names = |from: usize, to: usize| (from..to).map(|n| format!("shop-{n}")).collect::<Vec<_>>();
    // What all share is made once.
    made(&engine.api(), &names(0, 3)).await;
    nobody_scans(&engine, &sim, &names(0, 3)).await;
    for name in names(0, 3) {
        engine.api().delete(&format!("/instance/delete/{name}")).await.good();
    }
    let before = usage(&engine).await;
    let names = names(3, 103);
    made(&engine.api(), &names).await;
    let unasked = usage(&engine).await;
    let began = Instant::now();
    nobody_scans(&engine, &sim, &names).await;
    let took = began.elapsed();
    eventually("the end of every connection, and nobody who wants one", || async {
        let fleet = engine.api().get("/engine/fleet").await.good();
        let none = ["inFlight", "waiting", "held", "wanting", "up"].iter().all(|key| fleet[*key] == 0);
        (none && sim.sessions().is_empty()).then_some(())
    })
    .await;
    let refused = eventually("as few descriptors and tasks as before anybody asked for a code", || async {
        let now = usage(&engine).await;
        (now.open_files <= unasked.open_files && now.tasks <= unasked.tasks).then_some(now)
    })
    .await;
    let deleting = join_all(names.iter().map(|name| {
        let (api, path) = (engine.api(), format!("/instance/delete/{name}"));
        async move { api.delete(&path).await }
    }));
    for answer in deleting.await {
        answer.good();
    }
    let after = eventually("as few descriptors and tasks as before", || async {
        let now = usage(&engine).await;
        (now.open_files <= before.open_files && now.tasks <= before.tasks).then_some(now)
    })
    .await;
    println!(
        "100 instances gave up in {took:?}: before {before:?}, unasked {unasked:?}, refused {refused:?}, deleted {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s45_the_limit_of_codes_is_told_once_and_a_later_connect_starts_over() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url()).set("QRCODE_LIMIT", &LIMIT.to_string());
    let engine = home.start().await;
    engine.create("shop", Some(&receiver.url())).await;
    for count in 1..=LIMIT {
        shows(&engine, "shop", count).await;
        end_every_connection(&sim).await;
    }
    gave_up(&engine, &sim, &receiver, LIMIT).await;
    let connects = sim.counters(None).expect("counters").tally.connects;
    assert_eq!(connects, LIMIT + 1);

    // It is left alone, also over a restart, until somebody asks.
    engine.kill_9().await;
    let engine = home.start().await;
    assert_eq!(engine.state("shop").await["state"], "close");
    assert_eq!(sim.counters(None).expect("counters").tally.connects, connects);
    begins_afresh(&engine, &sim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s45_references_that_are_used_up_are_followed_by_new_ones_until_the_limit_of_codes() {
    // Both take the minute for which the library shows the only reference of a connection.
    tokio::join!(used_up_at_the_limit(), used_up_before_the_limit());
}

async fn used_up_at_the_limit() {
    let sim = with_one_reference().await;
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url()).set("QRCODE_LIMIT", "1");
    let engine = home.start().await;
    engine.create("shop", Some(&receiver.url())).await;
    shows(&engine, "shop", 1).await;
    eventually_within(A_CODE_LIVES + PATIENCE, "the end of the codes", || async {
        (engine.state("shop").await["state"] == "close").then_some(())
    })
    .await;
    gave_up(&engine, &sim, &receiver, 1).await;
    assert_eq!(sim.counters(None).expect("counters").tally.connects, 1, "no other for a code that is not shown");
    begins_afresh(&engine, &sim).await;
}

async fn used_up_before_the_limit() {
    let sim = with_one_reference().await;
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url()).set("QRCODE_LIMIT", &LIMIT.to_string());
    let engine = home.start().await;
    engine.create("shop", Some(&receiver.url())).await;
    let first = shows(&engine, "shop", 1).await;
    let link = sim.sessions()[0].link;
    let second = eventually_within(A_CODE_LIVES + PATIENCE, "a code of another connection", || async {
        let shown = engine.api().get("/instance/connect/shop").await.good();
        (shown["count"] == LIMIT && shown["code"].is_string()).then_some(shown)
    })
    .await;
    assert_ne!(first["code"], second["code"]);
    let links = sim.sessions();
    assert!(links.len() == 1 && links[0].link != link, "the socket whose references were used up is left: {links:?}");
    let said = engine.state("shop").await;
    assert_eq!((&said["state"], &said["phase"], said.get("code")), (&json!("connecting"), &json!("pairing"), None));
    end_every_connection(&sim).await;
    gave_up(&engine, &sim, &receiver, LIMIT).await;
    begins_afresh(&engine, &sim).await;
}

async fn with_one_reference() -> Simulator {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    sim.set_rules(Rules { refs: 1, ..Rules::default() }).expect("the rules");
    sim
}

/// Waits until the instance has given up after so many codes: it says why in its state and in one event of each kind, and has no socket.
async fn gave_up(engine: &Engine<'_>, sim: &Simulator, receiver: &Receiver, codes: u64) {
    let said = engine.reaches("shop", "close").await;
    let wanted = json!({ "phase": "unpaired", "paired": false, "code": "wa-qr-exhausted", "userAction": "relogin", "nextTryAt": null });
    for (key, value) in wanted.as_object().expect("keys") {
        assert_eq!(said.get(key), Some(value), "{said}");
    }
    let closed = receiver.event("connection.update", |data| data["state"] == "close").await;
    for key in ["code", "message", "userAction", "nextTryAt"] {
        assert_eq!(closed.body["data"].get(key), said.get(key), "{:?}", closed.body);
    }
    let told = |name: &str, passes: fn(&Value) -> bool| {
        receiver.all().iter().filter(|one| one.event() == name && passes(&one.body["data"])).count() as u64
    };
    assert_eq!(told("qrcode.updated", |data| data["qrcode"]["code"].is_string()), codes);
    assert_eq!(told("qrcode.updated", |data| data["statusCode"] == 500), 1);
    assert_eq!(told("connection.update", |data| data["state"] == "refused" && data["statusReason"] == 428), 1);
    assert_eq!(told("connection.update", |data| data["state"] == "close"), 1);
    eventually("the end of the last connection", || async { sim.sessions().is_empty().then_some(()) }).await;
}

async fn begins_afresh(engine: &Engine<'_>, sim: &Simulator) {
    shows(engine, "shop", 1).await;
    engine.scan(sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
}
