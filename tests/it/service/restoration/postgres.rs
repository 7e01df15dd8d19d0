//! The same on a database that nodes share.

use holdfast_sim::{Options, Simulator};

use super::moments::Fleet;
use super::places::Places;
use super::trial::Copy::{Corrupt, Fresh, None as Nowhere, Stale};
use super::trial::Database::{Damaged, Emptied, SetBack, Whole};
use super::trial::{Row, trials};
use super::{over, report_of, unharmed};
use crate::harness::cable::Cable;
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn s28_s30_s32_on_a_server_the_newest_goes_on_and_nobody_scans() {
    const ROWS: [Row; 7] = [
        (Whole, Stale, Fresh, "dial", "newest", Some("database")),
        (SetBack, Stale, Fresh, "adopt", "database-set-back", Some("files")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
        (Emptied, Corrupt, Stale, "adopt", "database-emptied", Some("files")),
        (Emptied, Corrupt, Nowhere, "park", "credentials-corrupt", None),
        (Damaged, Fresh, Fresh, "repair", "damage-repaired", Some("redis")),
        (Damaged, Nowhere, Stale, "adopt", "damage-replaced", Some("files")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let (redis, server) = (Redis::start().await.unwrap(), Server::start().await.unwrap());
    let cable = Cable::lay(server.port()).await.unwrap();
    let places = Places::beside(&redis).on(&server, &cable);
    let fleet = Fleet::prepared_on(&sim, &receiver, places, trials(&ROWS)).await;
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_in_just_before_it_was_claimed_does_not_wait_for_a_renewal() {
    const ROWS: [Row; 3] = [
        (SetBack, Fresh, Nowhere, "adopt", "database-set-back", Some("redis")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
        (Damaged, Fresh, Nowhere, "repair", "damage-repaired", Some("redis")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let (redis, server) = (Redis::start().await.unwrap(), Server::start().await.unwrap());
    let cable = Cable::lay(server.port()).await.unwrap();
    let places = Places::beside(&redis).on(&server, &cable);
    let mut fleet = Fleet::prepared_on(&sim, &receiver, places, trials(&ROWS)).await;
    // The next renewal comes when everybody's time to be open is long over.
    fleet.home = fleet.home.set("LEASE_TTL_SECONDS", "180").set("LEASE_RENEW_SECONDS", "60");
    fleet.home = fleet.home.set("RUST_LOG", "warn,holdfast=debug,holdfast::failpoint=trace");
    fleet.home.order("restore.judged=pause\nboot.restored=pause");
    let engine = fleet.home.spawn();
    let api = engine.api();
    eventually("the start to go on", || async { fleet.home.log().contains("Reached boot.restored").then_some(()) })
        .await;
    fleet.home.order("restore.judged=off");
    eventually("all to be taken in", || async {
        let report = api.try_call(reqwest::Method::GET, "/engine/restoration", None).await.ok()?.body;
        let taken = |name| report_of(&report, name)["outcome"] == "dialling";
        (report["instances"].is_array() && ["i0", "i1", "i2"].into_iter().all(taken)).then_some(())
    })
    .await;
    fleet.home.order("boot.restored=off");
    let report = over(&engine).await;
    assert_eq!((&report["progress"]["open"], &report["progress"]["late"]), (&3.into(), &0.into()), "{report}");
    fleet.is_as_expected(&report);
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}
