//! Codes that nobody scans.

use std::time::Instant;

use futures_util::future::join_all;
use holdfast_sim::{Action, FaultRequest, Options, Simulator};
use serde_json::{Value, json};

use super::resources::usage;
use crate::harness::client::Api;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const LIMIT: u64 = 2;

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

/// Lets a number of instances show codes that nobody scans, until each has given up.
async fn nobody_scans(engine: &Engine<'_>, sim: &Simulator, names: &[String]) {
    let api = engine.api();
    for name in names {
        let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS" });
        api.post("/instance/create", body).await.good();
    }
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
    nobody_scans(&engine, &sim, &names(0, 3)).await;
    for name in names(0, 3) {
        engine.api().delete(&format!("/instance/delete/{name}")).await.good();
    }
    let before = usage(&engine).await;
    let names = names(3, 103);
    let began = Instant::now();
    nobody_scans(&engine, &sim, &names).await;
    let took = began.elapsed();
    eventually("the end of every connection, and nobody who wants one", || async {
        let fleet = engine.api().get("/engine/fleet").await.good();
        let none = ["inFlight", "waiting", "held", "wanting", "up"].iter().all(|key| fleet[*key] == 0);
        (none && sim.sessions().is_empty()).then_some(())
    })
    .await;
    let deleting = join_all(names.iter().map(|name| {
        let (api, path) = (engine.api(), format!("/instance/delete/{name}"));
        async move { api.delete(&path).await }
    }));
    let idle = usage(&engine).await;
    for answer in deleting.await {
        answer.good();
    }
    let after = eventually("as few descriptors and tasks as before", || async {
        let now = usage(&engine).await;
        (now.open_files <= before.open_files && now.tasks <= before.tasks).then_some(now)
    })
    .await;
    println!("100 instances gave up in {took:?}: before {before:?}, idle {idle:?}, deleted {after:?}");
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
    engine.reaches("shop", "close").await;
    receiver.event("connection.update", |data| data["state"] == "close").await;
    let told = |name: &str, passes: fn(&Value) -> bool| {
        receiver.all().iter().filter(|one| one.event() == name && passes(&one.body["data"])).count() as u64
    };
    assert_eq!(told("qrcode.updated", |data| data["qrcode"]["code"].is_string()), LIMIT);
    assert_eq!(told("qrcode.updated", |data| data["statusCode"] == 500), 1);
    assert_eq!(told("connection.update", |data| data["state"] == "refused" && data["statusReason"] == 428), 1);
    assert_eq!(told("connection.update", |data| data["state"] == "close"), 1);
    let connects = sim.counters(None).expect("counters").tally.connects;
    assert_eq!(connects, LIMIT + 1);
    eventually("the end of the last connection", || async { sim.sessions().is_empty().then_some(()) }).await;

    // It is left alone, also over a restart, until somebody asks.
    engine.kill_9().await;
    let engine = home.start().await;
    assert_eq!(engine.state("shop").await["state"], "close");
    assert_eq!(sim.counters(None).expect("counters").tally.connects, connects);
    shows(&engine, "shop", 1).await;
    engine.scan(&sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
}
