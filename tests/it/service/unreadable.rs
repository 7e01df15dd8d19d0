//! Rows that hold something that cannot be read cost the instance that they belong to what depends on them, and no other anything.

use holdfast_sim::{Options, Simulator};
use serde_json::{Value, json};

use crate::harness::engine::{Engine, Home};

const NAMES: [(&str, &str); 3] = [("shop", "5511999990001"), ("cafe", "5511999990002"), ("bar", "5511999990003")];

/// What `fetchInstances` says of an instance.
async fn row(engine: &Engine<'_>, name: &str) -> Value {
    let rows = engine.api().get("/instance/fetchInstances").await.good();
    let found = rows.as_array().into_iter().flatten().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not listed: {rows}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_row_keeps_nobody_else_from_coming_back() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    for (name, phone) in NAMES {
        engine.pair(&sim, name, phone, None).await;
    }
    engine.kill_9().await;
    let setting = |name: &str, date: &str| {
        let id = format!(r#"(SELECT "id" FROM "Instance" WHERE "name" = '{name}')"#);
        format!(r#"UPDATE "Setting" SET "createdAt" = {date} WHERE "instanceId" = {id}"#)
    };
    assert_eq!(home.execute(&setting("shop", "'the day before'")), 1);
    home.execute(
        r#"INSERT INTO "Chatwoot" ("id", "ignoreJids", "updatedAt", "instanceId")
           SELECT 'c', '["half', CURRENT_TIMESTAMP, "id" FROM "Instance" WHERE "name" = 'cafe'"#,
    );

    let engine = home.start().await;
    engine.reaches("bar", "open").await;
    engine.reaches("cafe", "open").await;
    let bar = row(&engine, "bar").await;
    assert!(bar.get("unreadable").is_none(), "{bar}");
    let cafe = row(&engine, "cafe").await;
    assert_eq!(
        (&cafe["unreadable"], &cafe["Chatwoot"]["id"]),
        (&json!(["Chatwoot.ignoreJids"]), &json!("c")),
        "{cafe}"
    );
    // Nobody knows what its settings are, so it is not dialled with others.
    let shop = row(&engine, "shop").await;
    assert_eq!(
        (&shop["unreadable"], &shop["connectionStatus"]),
        (&json!(["Instance"]), &json!("connecting")),
        "{shop}"
    );
    assert_eq!(engine.state("shop").await["code"], "store-unavailable");
    assert!(home.log().contains("Of instance shop the database holds something that cannot be read"));

    // Such an instance can be deleted, and it can be mended.
    assert_eq!(home.execute(&setting("bar", "'the day before'")), 1);
    engine.api().delete("/instance/delete/bar").await.good();
    assert_eq!(home.execute(&setting("shop", "CURRENT_TIMESTAMP")), 1);
    engine.reaches("shop", "open").await;
    assert!(row(&engine, "shop").await.get("unreadable").is_none());
    let tally = sim.counters(None).unwrap().tally;
    assert_eq!((tally.counters_reused, tally.static_mismatches), (0, 0));
}
