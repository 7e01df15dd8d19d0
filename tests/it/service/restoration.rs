//! The matrix of restoration against real servers: what the database, Redis and the directory hold of each instance is put together by hand,
//! then the engine starts, and every instance goes on as the core says it must. Nobody is asked for a QR code, and no key is used twice.

mod moments;
mod nodes;
mod places;
mod postgres;
mod provider;
mod terminal;
mod told;
mod trial;

use std::time::Duration;

use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;
use serde_json::Value;

use self::moments::{Fleet, forget_logins};
use self::places::Places;
use self::trial::{Copy, Database, Row, Trial, trials};
use crate::harness::cable::{Cable, State};
use crate::harness::client::Answer;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

use Copy::{Corrupt, Fresh, None as Nowhere, Stale};
use Database::{Damaged, Emptied, SetBack, Whole};

#[tokio::test(flavor = "multi_thread")]
async fn s28_s30_s32_with_all_places_up_the_newest_goes_on_and_nobody_scans() {
    const ROWS: [Row; 24] = [
        (Whole, Fresh, Fresh, "dial", "newest", Some("database")),
        (Whole, Fresh, Corrupt, "dial", "newest", Some("database")),
        (Whole, Stale, Fresh, "dial", "newest", Some("database")),
        (Whole, Stale, Stale, "dial", "newest", Some("database")),
        (Whole, Nowhere, Nowhere, "dial", "newest", Some("database")),
        (Whole, Nowhere, Stale, "dial", "newest", Some("database")),
        (Whole, Corrupt, Corrupt, "dial", "newest", Some("database")),
        (SetBack, Fresh, Fresh, "adopt", "database-set-back", Some("redis")),
        (SetBack, Fresh, Nowhere, "adopt", "database-set-back", Some("redis")),
        (SetBack, Fresh, Corrupt, "adopt", "database-set-back", Some("redis")),
        (SetBack, Stale, Fresh, "adopt", "database-set-back", Some("files")),
        (SetBack, Nowhere, Fresh, "adopt", "database-set-back", Some("files")),
        (SetBack, Corrupt, Fresh, "adopt", "database-set-back", Some("files")),
        (Emptied, Fresh, Fresh, "adopt", "database-emptied", Some("redis")),
        (Emptied, Nowhere, Fresh, "adopt", "database-emptied", Some("files")),
        (Emptied, Stale, Fresh, "adopt", "database-emptied", Some("files")),
        (Emptied, Stale, Nowhere, "adopt", "database-emptied", Some("redis")),
        (Emptied, Corrupt, Stale, "adopt", "database-emptied", Some("files")),
        (Emptied, Corrupt, Nowhere, "park", "credentials-corrupt", None),
        (Damaged, Fresh, Fresh, "repair", "damage-repaired", Some("redis")),
        (Damaged, Stale, Fresh, "repair", "damage-repaired", Some("files")),
        (Damaged, Nowhere, Stale, "adopt", "damage-replaced", Some("files")),
        (Damaged, Corrupt, Corrupt, "park", "credentials-corrupt", None),
        (Damaged, Nowhere, Nowhere, "park", "credentials-corrupt", None),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    // What is damaged lies aside, by name.
    for trial in &fleet.trials {
        let line = fleet.line(&report, trial);
        let damaged = line["damaged"].as_array().map_or(0, Vec::len);
        let corrupt = [trial.redis, trial.files].iter().filter(|copy| **copy == Corrupt).count();
        assert_eq!(damaged, corrupt, "{trial:?}: {line}");
    }
    let aside = redis.ask(0, &["KEYS", "evolution-cache:holdfast:corrupt:*"]).await.unwrap();
    let in_redis = ROWS.iter().filter(|row| row.1 == Corrupt).count();
    assert_eq!(aside.iter().filter(|key| !key.is_empty()).count(), in_redis, "{aside:?}");
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_without_redis_the_database_and_the_files_are_enough() {
    const ROWS: [Row; 6] = [
        (Whole, Nowhere, Fresh, "dial", "newest", Some("database")),
        (Whole, Nowhere, Nowhere, "dial", "newest", Some("database")),
        (Emptied, Nowhere, Fresh, "adopt", "database-emptied", Some("files")),
        (SetBack, Nowhere, Fresh, "adopt", "database-set-back", Some("files")),
        (Damaged, Nowhere, Fresh, "repair", "damage-repaired", Some("files")),
        (Damaged, Nowhere, Nowhere, "wait", "layers-unavailable", None),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    redis.kill();
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    let redis = &report["places"].as_array().unwrap()[0];
    assert!(redis["source"] == "redis" && redis["problem"].is_string(), "{redis}");
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_what_only_a_silent_redis_holds_comes_back_when_it_speaks() {
    const ROWS: [Row; 6] = [
        (Whole, Fresh, Nowhere, "dial", "newest", Some("database")),
        (Whole, Stale, Fresh, "dial", "newest", Some("database")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
        (Emptied, Stale, Fresh, "adopt", "database-emptied", Some("files")),
        (Damaged, Fresh, Nowhere, "repair", "damage-repaired", Some("redis")),
        (Damaged, Nowhere, Fresh, "repair", "damage-repaired", Some("files")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    redis.freeze().unwrap();
    let engine = fleet.home.start().await;
    let early = engine.api().get("/engine/restoration").await.good();
    let spoken = ["i3", "i5"].map(|name| report_of(&early, name)["verdict"].clone());
    assert_eq!(spoken, ["database-emptied", "damage-repaired"], "files were enough: {early}");
    assert_eq!(report_of(&early, "i4")["verdict"], "layers-unavailable", "{early}");
    redis.thaw().unwrap();
    for name in ["i2", "i4"] {
        comes_back(&engine, name).await;
    }
    let report = eventually("all of them to be told of as open", || async {
        let report = engine.api().get("/engine/restoration").await.good();
        (report["progress"]["open"] == 6).then_some(report)
    })
    .await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}

/// A database that was set back to before the pairing has the row, and knows of no login.
#[tokio::test(flavor = "multi_thread")]
async fn s54_a_login_that_only_a_silent_redis_has_comes_back_though_somebody_pairs_meanwhile() {
    const ROWS: [Row; 3] = [
        (Whole, Fresh, Nowhere, "adopt", "database-set-back", Some("redis")),
        (Whole, Fresh, Nowhere, "adopt", "database-set-back", Some("redis")),
        (Whole, Nowhere, Nowhere, "nothing", "no-login", None),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    forget_logins(&fleet.home);
    redis.freeze().unwrap();
    let engine = fleet.home.start().await;
    for name in ["i0", "i1", "i2"] {
        assert_eq!(engine.state(name).await["phase"], "unpaired", "nobody is asked for a code");
    }
    // Two want to be paired, and nobody has scanned yet.
    for name in ["i1", "i2"] {
        let shown = engine.api().get(&format!("/instance/connect/{name}")).await.good();
        assert!(shown["code"].is_string(), "{shown}");
    }
    redis.thaw().unwrap();
    for name in ["i0", "i1"] {
        comes_back(&engine, name).await;
    }
    let report = engine.api().get("/engine/restoration").await.good();
    fleet.is_as_expected(&report);
    assert_eq!(engine.state("i2").await["phase"], "pairing", "no place has a login of it");
    fleet.all_talk(&engine, &sim, &receiver, "third", Trial::comes_back).await;
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_copies_that_are_still_being_written_keep_nobody_else_waiting() {
    const ROWS: [Row; 3] = [
        (Whole, Fresh, Nowhere, "dial", "newest", Some("database")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
        (SetBack, Fresh, Nowhere, "adopt", "database-set-back", Some("redis")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    fleet.home.order("restore.adopting=pause");
    let engine = fleet.home.start().await;
    engine.reaches("i0", "open").await;
    let api = engine.api();
    for (name, action) in [("i1", "adopt"), ("i2", "adopt")] {
        let report = api.get("/engine/restoration").await.good();
        let line = report_of(&report, name);
        assert_eq!((&line["action"], &line["outcome"]), (&action.into(), &"waiting".into()), "{line}");
        for path in ["/instance/connectionState/", "/instance/connect/"] {
            let answer = api.get(&format!("{path}{name}")).await;
            assert_eq!(
                (answer.status, &answer.body["response"]["code"]),
                (503, &"instance-returning".into()),
                "{name}"
            );
        }
        let form = serde_json::json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS" });
        let made = api.post("/instance/create", form).await;
        assert_eq!((made.status, &made.body["response"]["code"]), (403, &"instance-name-taken".into()), "{name}");
    }
    let listed = api.get("/instance/fetchInstances?instanceName=i1").await;
    assert_eq!((listed.status, &listed.body["response"]["code"]), (503, &"instance-returning".into()));
    assert_eq!(api.get("/instance/fetchInstances?instanceName=i9").await.status, 404);
    assert_eq!(sim.counters(None).unwrap().current, 1, "what is older than its copy does not dial");
    fleet.home.order("restore.adopting=off");
    let report = over(&engine).await;
    assert_eq!(report["progress"]["open"], 3, "{report}");
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_a_server_that_was_set_back_is_not_dialled_from_by_whoever_keeps_the_leases() {
    const ROWS: [Row; 2] = [
        (Whole, Fresh, Nowhere, "dial", "newest", Some("database")),
        (SetBack, Fresh, Nowhere, "adopt", "database-set-back", Some("redis")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let (redis, server) = (Redis::start().await.unwrap(), Server::start().await.unwrap());
    let cable = Cable::lay(server.port()).await.unwrap();
    let mut fleet =
        Fleet::prepared_on(&sim, &receiver, Places::beside(&redis).on(&server, &cable), trials(&ROWS)).await;
    fleet.home = fleet.home.set("LEASE_TTL_SECONDS", "6").set("LEASE_RENEW_SECONDS", "1");
    fleet.home.order("restore.adopting=pause");
    let engine = fleet.home.start().await;
    engine.reaches("i0", "open").await;
    // It is this node's by now, and every renewal finds that nobody serves it.
    let rows = "SELECT seen_ms::text FROM holdfast_node n JOIN holdfast_session s ON s.lease_node = n.name GROUP BY 1 HAVING count(*) = 2";
    let renewed =
        async || eventually("both to be owned", || async { server.ask("postgres", rows).await.ok()?.pop() }).await;
    let mut last = renewed().await;
    for _renewal in 0..2 {
        let before = last.clone();
        eventually("a renewal", || async { Some(renewed().await).filter(|seen| *seen != before) }).await;
        last = renewed().await;
    }
    assert_eq!(engine.api().get("/instance/connectionState/i1").await.status, 503);
    assert_eq!(sim.counters(None).unwrap().current, 1, "what is older than its copy does not dial");
    fleet.home.order("restore.adopting=off");
    comes_back(&engine, "i1").await;
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_a_copy_that_proves_that_the_database_was_set_back_cannot_be_unseen() {
    const ROWS: [Row; 2] = [
        (SetBack, Fresh, Nowhere, "renew", "database-set-back", Some("database")),
        (SetBack, Fresh, Stale, "renew", "database-set-back", Some("database")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    fleet.home.order("restore.judged=pause");
    let engine = fleet.home.spawn();
    let api = engine.api();
    eventually("the judgement", || async {
        let report = api.try_call(reqwest::Method::GET, "/engine/restoration", None).await.ok()?.body;
        (report_of(&report, "i0")["action"] == "adopt").then_some(())
    })
    .await;
    redis.freeze().unwrap();
    fleet.home.order("restore.judged=off");
    eventually("another round", || async {
        let report = api.get("/engine/restoration").await.body;
        (report["places"][0]["problem"].is_string() && report_of(&report, "i0")["action"] == "wait").then_some(())
    })
    .await;
    assert_eq!(sim.counters(None).unwrap().current, 0, "a place that falls silent takes nothing back");
    redis.thaw().unwrap();
    redis.ask(0, &["FLUSHALL"]).await.unwrap();
    for name in ["i0", "i1"] {
        comes_back(&engine, name).await;
    }
    let report = eventually("all of them to be told of as open", || async {
        let report = api.get("/engine/restoration").await.good();
        (report["progress"]["open"] == 2).then_some(report)
    })
    .await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_without_the_database_the_instances_are_known_and_wait_until_it_is_back() {
    const ROWS: [Row; 4] = [
        (Whole, Fresh, Nowhere, "dial", "newest", Some("database")),
        (Whole, Nowhere, Fresh, "dial", "newest", Some("database")),
        (Whole, Stale, Stale, "dial", "newest", Some("database")),
        (Whole, Nowhere, Nowhere, "dial", "newest", Some("database")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let (redis, server) = (Redis::start().await.unwrap(), Server::start().await.unwrap());
    let cable = Cable::lay(server.port()).await.unwrap();
    let fleet = Fleet::prepared_on(&sim, &receiver, Places::beside(&redis).on(&server, &cable), trials(&ROWS)).await;
    cable.be(State::Unplugged);
    let engine = fleet.home.spawn();
    let api = engine.api();
    eventually("an engine that waits", || async {
        let ready = api.try_call(reqwest::Method::GET, "/health/ready", None).await.ok()?;
        (ready.status == 503 && ready.body["restoration"]["stage"] == "awaiting-database").then_some(())
    })
    .await;
    eventually("the instances that copies know", || async {
        let rows = api.get("/instance/fetchInstances").await;
        (rows.status == 200 && rows.body.as_array().is_some_and(|rows| rows.len() == 3)).then_some(())
    })
    .await;
    let state = engine.state("i0").await;
    assert_eq!((&state["state"], &state["code"]), (&"connecting".into(), &"store-unavailable".into()), "{state}");
    let refused = engine.send("i0", "5511977770001", "too early").await;
    assert_eq!((refused.status, &refused.body["response"]["code"]), (503, &"store-unavailable".into()));
    assert_eq!(api.get("/instance/connectionState/i3").await.status, 503, "nobody knows that it is not there");
    let waiting = api.get("/engine/restoration").await.good();
    assert_eq!(report_of(&waiting, "i0")["verdict"], "store-unavailable", "{waiting}");
    assert_eq!(sim.counters(None).unwrap().current, 0, "nothing dials");
    cable.be(State::Carries);
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    assert!(!fleet.home.log().contains("s3cret"));
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_its_database_ends_when_it_is_told_to_and_tells_no_secret() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("DATABASE_CONNECTION_URI", "postgresql://me:s3cret@127.0.0.1:1/db");
    let engine = home.spawn();
    let api = engine.api();
    eventually("an engine that waits", || async {
        let ready = api.try_call(reqwest::Method::GET, "/health/ready", None).await.ok()?;
        (ready.status == 503).then_some(())
    })
    .await;
    let waits = || async { home.log().contains("The database does not answer").then_some(()) };
    eventually("a word about it", waits).await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    assert!(!home.log().contains("s3cret"), "{}", home.log());
}

/// Waits until the restoration is over, and returns the report.
async fn over(engine: &Engine<'_>) -> Value {
    let api = engine.api();
    eventually("the restoration to be over", || async {
        let report = api.try_call(reqwest::Method::GET, "/engine/restoration", None).await.ok()?.body;
        (report["progress"]["stage"] == "over").then_some(report)
    })
    .await
}

/// Waits until one is open that was not known at first.
async fn comes_back(engine: &Engine<'_>, name: &str) {
    eventually("an instance to be back", || async {
        let answer: Answer = engine.api().get(&format!("/instance/connectionState/{name}")).await;
        (answer.body["instance"]["state"] == "open").then_some(())
    })
    .await;
}

fn report_of<'r>(report: &'r Value, name: &str) -> &'r Value {
    let lines = report["instances"].as_array().expect("the lines");
    lines.iter().find(|line| line["instanceName"] == name).unwrap_or(&Value::Null)
}

/// No key was used twice, nothing was refused, and every device was who it says it is.
fn unharmed(sim: &Simulator) {
    let counters = sim.counters(None).expect("the counters");
    let tally = &counters.tally;
    assert_eq!((tally.counters_reused, tally.static_mismatches, tally.nacked), (0, 0, 0), "{counters:?}");
    assert!(!tally.overlapped, "{counters:?}");
}

/// How long an engine may take that has to wait for layers, in these tests.
const LOGIN: Duration = Duration::from_secs(6);
