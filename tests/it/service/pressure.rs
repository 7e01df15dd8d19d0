//! A store that does not take what comes: the process does not grow, and nothing is lost when it does.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use holdfast_sim::{MessageRequest, Options, Simulator};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";

/// What `docs/operating.md` promises of an instance whose messages wait for the store, in KiB.
const MOST_GROWTH: u64 = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_for_a_blocked_instance_wait_at_whatsapp() {
    const MESSAGES: usize = 10_000;
    let sim = Simulator::start(Options::default()).await.unwrap();
    // So long that neither the Seal nor a missing answer to a ping ends the link while it is blocked.
    let home = Home::new(sim.ws_url())
        .set("STORE_GRACE_SECONDS", "60")
        .set("HEALTH_CHECK_INTERVAL_SECONDS", "300")
        .set("HEALTH_PING_TIMEOUT_SECONDS", "120");
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    write(&sim, 0..100).await;
    nothing_waits(&sim).await;
    let before = engine.resident_kib();
    let accepted_before = accepted(&home);

    let mut database = open(&home);
    database.batch_execute("BEGIN IMMEDIATE").unwrap();
    write(&sim, 100..MESSAGES).await;
    // The engine is given time to read on, if it would.
    let mut highest = 0;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        highest = highest.max(engine.resident_kib().saturating_sub(before));
    }
    assert!(waiting(&sim) > MESSAGES - 200, "{} of them wait", waiting(&sim));
    assert!(highest < MOST_GROWTH, "the process has grown by {highest} KiB from {before}");

    database.batch_execute("ROLLBACK").unwrap();
    nothing_waits(&sim).await;
    assert_eq!(accepted(&home) - accepted_before, (MESSAGES - 100) as i64);
    assert_eq!(engine.state("shop").await["state"], "open");
    harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_a_full_disk_closes_the_link_and_loses_nothing() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url()).set("STORE_GRACE_SECONDS", "1");
    let engine = home.start_with_full_disks_told().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    write(&sim, 0..1).await;
    receiver.message("text 0").await;
    nothing_waits(&sim).await;

    // No file may grow from here on.
    limit_files(&engine, Some(0));
    write(&sim, 1..40).await;
    let told = eventually("the reason", || async {
        let told = engine.state("shop").await;
        (told["code"] == "store-unavailable").then_some(told)
    })
    .await;
    assert_eq!(told["state"], "connecting");
    assert!(told["codeSince"].is_string(), "{told}");
    assert_eq!(sim.counters(None).unwrap().tally.nacked, 0);
    assert!(waiting(&sim) > 0);

    limit_files(&engine, None);
    engine.reaches("shop", "open").await;
    for number in 1..40 {
        receiver.message(&format!("text {number}")).await;
    }
    nothing_waits(&sim).await;
    let mut texts = receiver.texts();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 40);
    harmless(&sim);
}

fn limit_files(engine: &Engine<'_>, bytes: Option<u64>) {
    let pid = Pid::from_raw(engine.id().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("the limit is set");
}

async fn write(sim: &Simulator, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (from, to, text) = (format!("55118888{:05}", number % 50), SHOP.to_owned(), format!("text {number}"));
        sim.message(MessageRequest { from, to, text, id: None, group: None }).await.expect("it is written");
    }
}

fn waiting(sim: &Simulator) -> usize {
    sim.counters(None).expect("the counters of everybody").queued
}

async fn nothing_waits(sim: &Simulator) {
    let mut least = usize::MAX;
    // As long as it goes on, it goes on.
    while waiting(sim) > 0 {
        eventually("the queue to shrink", || async { (waiting(sim) < least).then_some(()) }).await;
        least = waiting(sim);
    }
}

fn harmless(sim: &Simulator) {
    let tally = sim.counters(None).expect("the counters of everybody").tally;
    assert_eq!((tally.nacked, tally.counters_reused, tally.stale_frames, tally.overlapped), (0, 0, 0, false));
}

fn open(home: &Home) -> SqliteConnection {
    let path = home.data_dir().join("holdfast.db");
    let mut connection = SqliteConnection::establish(&path.display().to_string()).expect("the database");
    connection.batch_execute("PRAGMA busy_timeout = 5000").expect("a patient connection");
    connection
}

fn accepted(home: &Home) -> i64 {
    diesel::dsl::sql::<BigInt>("SELECT count(*) FROM holdfast_accepted").get_result(&mut open(home)).expect("a count")
}
