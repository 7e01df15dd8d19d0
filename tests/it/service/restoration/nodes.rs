//! Two nodes that come back at the same time and find their database emptied.

use std::collections::BTreeSet;

use futures_util::future::join;
use holdfast_sim::{Options, Simulator};
use reqwest::Method;

use super::moments::Fleet;
use super::places::Places;
use super::trial::Copy::{Fresh, None as Nowhere};
use super::trial::Database::Emptied;
use super::trial::{Row, trials};
use super::{over, report_of, unharmed};
use crate::harness::cable::Cable;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

/// What belongs to one process.
const ITS_OWN: [&str; 4] = ["SERVER_PORT", "DATA_DIR", "HOLDFAST_FAILPOINTS", "NODE_ID"];

#[tokio::test(flavor = "multi_thread")]
async fn what_two_nodes_take_in_at_once_is_open_on_one_and_elsewhere_for_the_other() {
    const ROWS: [Row; 4] = [(Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")); 4];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let (redis, server) = (Redis::start().await.unwrap(), Server::start().await.unwrap());
    let cable = Cable::lay(server.port()).await.unwrap();
    let places = Places::beside(&redis).on(&server, &cable);
    let mut fleet = Fleet::prepared_on(&sim, &receiver, places, trials(&ROWS)).await;
    let own = fleet.home.settings().into_iter().filter(|(name, _)| !ITS_OWN.contains(&name.as_str()));
    let other = own.fold(Home::new(sim.ws_url()), |home, (name, value)| home.set(&name, &value));
    let other = as_node(other, "other");
    let url = fleet.home.url();
    fleet.home = fleet.home.set("LEASE_TTL_SECONDS", "6").set("LEASE_RENEW_SECONDS", "1").set("NODE_URL", &url);
    receiver.drain();
    for home in [&fleet.home, &other] {
        home.order("restore.judged=pause");
    }
    let (one, two) = (fleet.home.spawn(), other.spawn());
    join(judged(&one), judged(&two)).await;
    for home in [&fleet.home, &other] {
        home.order("restore.judged=off");
    }
    let reports = join(over(&one), over(&two)).await;
    let reports = [reports.0, reports.1];
    for trial in &fleet.trials {
        let name = trial.name();
        let lines = [0, 1].map(|node| report_of(&reports[node], &name));
        let outcomes: BTreeSet<&str> = lines.iter().filter_map(|line| line["outcome"].as_str()).collect();
        assert_eq!(outcomes, BTreeSet::from(["elsewhere", "open"]), "{lines:?}");
        // Whoever had to try again has found the database whole.
        let actions: BTreeSet<&str> = lines.iter().filter_map(|line| line["action"].as_str()).collect();
        assert!(actions.contains("adopt") && actions.is_subset(&BTreeSet::from(["adopt", "dial"])), "{lines:?}");
    }
    fleet.talks(&one, &sim, &receiver).await;
    let told = receiver.all().into_iter().filter(|one| one.taken && one.event() == "application.startup").count();
    assert_eq!(told, 4, "by whoever has it");
    unharmed(&sim);
}

fn as_node(home: Home, name: &str) -> Home {
    let url = home.url();
    home.set("NODE_ID", name).set("NODE_URL", &url).set("LEASE_TTL_SECONDS", "6").set("LEASE_RENEW_SECONDS", "1")
}

/// Waits until a node has decided about all four.
async fn judged(engine: &Engine<'_>) {
    eventually("the judgement", || async {
        let report = engine.api().try_call(Method::GET, "/engine/restoration", None).await.ok()?.body;
        let adopted = |name| report_of(&report, name)["action"] == "adopt";
        (report["instances"].is_array() && ["i0", "i1", "i2", "i3"].into_iter().all(adopted)).then_some(())
    })
    .await;
}
