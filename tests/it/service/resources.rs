use holdfast_sim::{Action, FaultRequest, Options, Simulator};
use serde::Deserialize;

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;

const SHOP: &str = "5511999990001";
/// Log lines that one lost connection and its redial may cost at the level that a service runs at.
const LINES_PER_RECONNECT: usize = 12;
/// By how much the memory may grow between reconnect 100 and 1,000, in KiB.
const MOST_GROWTH: u64 = 2_048;

/// `cargo xtask drill reconnects` runs a thousand.
#[tokio::test(flavor = "multi_thread")]
async fn s49_reconnects_leave_nothing_behind() {
    let rounds: usize = std::env::var("HOLDFAST_RECONNECTS").map_or(200, |number| number.parse().unwrap());
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url())
        .set("RECONNECT_BASE_MS", "10")
        .set("RECONNECT_STABLE_SECONDS", "3600")
        .set("DIAL_RATE_PER_SECOND", "1000")
        .set("RUST_LOG", "info,whatsapp_rust=warn,wacore=warn");
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    // The first ones fill what is kept for all later ones.
    for round in 0..20 {
        reconnect(&engine, &sim, round).await;
    }
    let before = usage(&engine).await;
    let lines = home.log().lines().count();
    let mut early = before;
    for round in 1..=rounds {
        reconnect(&engine, &sim, round).await;
        if round == rounds / 10 {
            early = usage(&engine).await;
        }
    }
    let lines = home.log().lines().count() - lines;
    let after = eventually("as few descriptors, threads and tasks as before", || async {
        let now = usage(&engine).await;
        let kept = now.open_files <= before.open_files && now.threads <= before.threads && now.tasks <= before.tasks;
        kept.then_some(now)
    })
    .await;
    println!("{rounds} reconnects: before {before:?}, after a tenth {early:?}, after all {after:?}, {lines} log lines");
    assert_eq!(sim.sessions().len(), 1, "one connection");
    // In fewer the allocator is still finding its size.
    let grown = after.resident_kib.saturating_sub(early.resident_kib);
    assert!(rounds < 1_000 || grown <= MOST_GROWTH, "{grown} KiB more than after a tenth");
    assert!(lines <= rounds * LINES_PER_RECONNECT, "{lines} log lines for {rounds} reconnects");
}

#[tokio::test(flavor = "multi_thread")]
async fn s53_a_limit_of_open_files_that_is_too_low_is_said_with_what_is_needed() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start_with_open_files(128, 128).await;
    engine.create("shop", None).await;
    engine.kill_9().await;
    let _engine = home.start_with_open_files(128, 128).await;
    let log = home.log();
    assert!(log.contains("1 instances may need 259 open files, and the host allows 128"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s53_a_low_limit_of_open_files_is_raised_to_what_the_host_allows_and_nobody_is_warned() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start_with_open_files(100, 1024).await;
    engine.create("shop", None).await;
    engine.kill_9().await;
    let engine = home.start_with_open_files(100, 1024).await;
    assert_eq!(engine.open_files_allowed(), (1024, 1024));
    let log = home.log();
    assert_eq!(log.matches("The limit of open files was raised to what the host allows").count(), 2, "{log}");
    assert!(!log.contains("open files, and the host allows"), "{log}");
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    resident_kib: u64,
    pub(super) open_files: u64,
    pub(super) threads: u64,
    pub(super) tasks: u64,
}

/// Reads what the engine uses.
pub(super) async fn usage(engine: &Engine<'_>) -> Usage {
    let answer = engine.api().get("/engine/process").await.good();
    serde_json::from_value(answer).expect("the usage")
}

/// One reconnect: after a reset by the network, or because an operator asks. They alternate, for an operator also ends the waits that grow
/// with each reset.
async fn reconnect(engine: &Engine<'_>, sim: &Simulator, round: usize) {
    let logins = || sim.counters(Some(SHOP)).expect("the counters").tally.logins;
    let before = logins();
    if round.is_multiple_of(2) {
        let answer = sim.fault(FaultRequest { target: SHOP.to_owned(), action: Action::Rst }).await.expect("the fault");
        assert_eq!(answer.hit, 1);
    } else {
        engine.api().post("/instance/restart/shop", serde_json::json!({})).await.good();
    }
    eventually("another login", || async {
        (logins() > before && engine.state("shop").await["state"] == "open").then_some(())
    })
    .await;
}
