//! The same with an HTTP session provider in the place of the directory.

use holdfast_sim::{Options, Simulator};

use super::moments::Fleet;
use super::places::Places;
use super::trial::Copy::{Corrupt, Fresh, None as Nowhere, Stale};
use super::trial::Database::{Damaged, Emptied, SetBack, Whole};
use super::trial::{Row, trials};
use super::{comes_back, over, report_of, unharmed};
use crate::harness::engine::KEY;
use crate::harness::eventually::eventually;
use crate::harness::provider::Provider;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn s28_s30_s32_with_a_session_provider_the_newest_goes_on_and_nobody_scans() {
    const ROWS: [Row; 12] = [
        (Whole, Fresh, Fresh, "dial", "newest", Some("database")),
        (Whole, Stale, Corrupt, "dial", "newest", Some("database")),
        (Whole, Nowhere, Nowhere, "dial", "newest", Some("database")),
        (SetBack, Nowhere, Fresh, "adopt", "database-set-back", Some("files")),
        (SetBack, Stale, Fresh, "adopt", "database-set-back", Some("files")),
        (SetBack, Fresh, Corrupt, "adopt", "database-set-back", Some("redis")),
        (Emptied, Nowhere, Fresh, "adopt", "database-emptied", Some("files")),
        (Emptied, Fresh, Stale, "adopt", "database-emptied", Some("redis")),
        (Emptied, Corrupt, Stale, "adopt", "database-emptied", Some("files")),
        (Damaged, Stale, Fresh, "repair", "damage-repaired", Some("files")),
        (Damaged, Nowhere, Stale, "adopt", "damage-replaced", Some("files")),
        (Emptied, Nowhere, Corrupt, "park", "credentials-corrupt", None),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let (redis, provider) = (Redis::start().await.unwrap(), Provider::start_for(KEY).unwrap());
    let places = Places::beside(&redis).with(&provider);
    let fleet = Fleet::prepared_on(&sim, &receiver, places, trials(&ROWS)).await;
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    for trial in &fleet.trials {
        let aside = usize::from(trial.files == Corrupt);
        assert_eq!(places.set_aside_at_the_provider(fleet.id(trial)), aside, "{trial:?}");
    }
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_what_only_a_session_provider_holds_that_is_down_comes_back_when_it_answers() {
    let (provider, sim) = (Provider::start_for(KEY).unwrap(), Simulator::start(Options::default()).await.unwrap());
    waits_for(&sim, &provider, "down", async || provider.stop().await, || provider.resume().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_what_only_a_session_provider_holds_that_is_slow_comes_back_when_it_answers() {
    let (provider, sim) = (Provider::start_for(KEY).unwrap(), Simulator::start(Options::default()).await.unwrap());
    waits_for(&sim, &provider, "slow", async || provider.refuse(u32::MAX, 0), || provider.refuse(0, 0)).await;
}

/// Starts an engine whose provider says nothing, and lets it speak when everybody else is back.
async fn waits_for(
    sim: &Simulator,
    provider: &Provider,
    silence: &str,
    fall_silent: impl AsyncFnOnce(),
    speak: impl FnOnce(),
) {
    const ROWS: [Row; 6] = [
        (Whole, Nowhere, Fresh, "dial", "newest", Some("database")),
        (SetBack, Fresh, Stale, "adopt", "database-set-back", Some("redis")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
        (Damaged, Fresh, Nowhere, "repair", "damage-repaired", Some("redis")),
        (Emptied, Nowhere, Fresh, "adopt", "database-emptied", Some("files")),
        (Damaged, Nowhere, Fresh, "repair", "damage-repaired", Some("files")),
    ];
    let (receiver, redis) = (Receiver::start(), Redis::start().await.expect("a Redis"));
    let fleet = Fleet::prepared_on(sim, &receiver, Places::beside(&redis).with(provider), trials(&ROWS)).await;
    fall_silent().await;
    let engine = fleet.home.start().await;
    for name in ["i0", "i1", "i2", "i3"] {
        comes_back(&engine, name).await;
    }
    let early = engine.api().get("/engine/restoration").await.good();
    let places = early["places"].as_array().expect("the places");
    let place = places.iter().find(|place| place["source"] == "files").expect("the files");
    assert!(place["problem"].is_string(), "{place}");
    assert_eq!(report_of(&early, "i4"), &serde_json::Value::Null, "nobody knows of it: {early}");
    let waits = fleet.line(&early, &fleet.trials[5]);
    assert_eq!((&waits["verdict"], &waits["action"]), (&"layers-unavailable".into(), &"wait".into()), "{early}");
    assert_eq!(waits["silent"], serde_json::json!([{ "source": "files", "why": silence }]), "{early}");
    assert_eq!(sim.counters(None).expect("the counters").current, 4, "what waits does not dial");
    speak();
    for name in ["i4", "i5"] {
        comes_back(&engine, name).await;
    }
    let report = eventually("all of them to be told of as open", || async {
        let report = engine.api().get("/engine/restoration").await.good();
        (report["progress"]["open"] == 6).then_some(report)
    })
    .await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, sim, &receiver).await;
    unharmed(sim);
}
