//! `DEL_INSTANCE` over restarts: the next process counts on from when an instance was made.

use std::collections::BTreeSet;

use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_types::Text};
use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;

const KEPT: &str = "5511999990001";
const UNLINKED: &str = "5511999990002";
const LATE: &str = "5511999990003";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    name: String,
}

fn database(home: &Home) -> SqliteConnection {
    let path = home.data_dir().join("holdfast.db").display().to_string();
    let mut database = SqliteConnection::establish(&path).expect("the database");
    diesel::sql_query("PRAGMA busy_timeout = 5000").execute(&mut database).expect("a patient connection");
    database
}

/// The instances that have rows.
fn stored(home: &Home) -> BTreeSet<String> {
    let rows = diesel::sql_query(r#"SELECT name FROM "Instance""#).load::<Row>(&mut database(home));
    rows.expect("the instances").into_iter().map(|row| row.name).collect()
}

/// Makes all but the young one two hours old.
fn age(home: &Home) {
    let sql =
        r#"UPDATE "Instance" SET "createdAt" = strftime('%Y-%m-%d %H:%M:%f', 'now', '-2 hours') WHERE name <> 'young'"#;
    diesel::sql_query(sql).execute(&mut database(home)).expect("older instances");
}

async fn made(engine: &Engine<'_>, name: &str) {
    let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": false });
    engine.api().post("/instance/create", body).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn s35_what_nobody_paired_is_deleted_by_the_next_process_and_nothing_else() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let home = Home::new(sim.ws_url()).set("DEL_INSTANCE", "60");
    let engine = home.start().await;
    for name in ["old", "asked", "young"] {
        made(&engine, name).await;
    }
    engine.pair(&sim, "paired", KEPT, None).await;
    // Nobody ever looks at the credentials that it had.
    engine.pair(&sim, "unlinked", UNLINKED, None).await;
    engine.api().delete("/instance/logout/unlinked").await.good();
    engine.kill_9().await;
    age(&home);

    let engine = home.start().await;
    let shown = engine.api().get("/instance/connect/asked").await.good();
    assert!(shown["code"].is_string(), "{shown}");
    gone(&engine, &home, "old").await;
    let others = ["asked", "paired", "unlinked", "young"].map(str::to_owned);
    assert_eq!(stored(&home), BTreeSet::from(others));
    engine.reaches("paired", "open").await;
    assert_eq!(engine.state("asked").await["phase"], "pairing");
    // Whoever has looked so long pairs it after all.
    engine.scan(&sim, "asked", LATE).await;
    engine.reaches("asked", "open").await;

    // The same after a stop in order, and the young one is old now.
    made(&engine, "next").await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    age(&home);
    diesel::sql_query(r#"UPDATE "Instance" SET "createdAt" = '2020-01-01 00:00:00.000' WHERE name = 'young'"#)
        .execute(&mut database(&home))
        .expect("an older instance");
    let engine = home.start().await;
    for name in ["young", "next"] {
        gone(&engine, &home, name).await;
    }
    assert_eq!(stored(&home), BTreeSet::from(["asked", "paired", "unlinked"].map(str::to_owned)));
    for name in ["asked", "paired"] {
        engine.reaches(name, "open").await;
    }
    assert_eq!(engine.state("unlinked").await["state"], "close");
    assert_eq!(sim.counters(None).expect("counters").tally.counters_reused, 0);
}

/// Waits until the instance is deleted, for those who ask and in the database.
async fn gone(engine: &Engine<'_>, home: &Home, name: &str) {
    eventually(&format!("instance {name} to be deleted"), || async {
        let asked = engine.api().get(&format!("/instance/connectionState/{name}")).await;
        (asked.status == 404 && !stored(home).contains(name)).then_some(())
    })
    .await;
}
