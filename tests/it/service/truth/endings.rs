//! What is said of an end, wherever it can be read, and still after a restart.

use std::collections::BTreeMap;

use diesel::sql_types::{Nullable, Text};
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use holdfast_sim::{Action, LoginFailure, Options, Rules, Simulator};
use serde_json::{Value, json};

use super::{connects, count, fault, figures, logins, measured, phone, says};
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

/// Instance, code, action, Evolution's number, and whether it is tried again by itself.
const PARKED: [(&str, &str, &str, u16, bool); 5] = [
    ("removed", "wa-logged-out", "relogin", 401, false),
    ("banned", "wa-temporary-ban", "open_phone", 402, true),
    ("outdated", "wa-client-outdated", "upgrade", 405, false),
    ("refused", "wa-refused", "open_phone", 411, false),
    ("replaced", "wa-replaced", "close_other", 440, true),
];

#[tokio::test(flavor = "multi_thread")]
async fn s09_s10_s11_an_end_that_parks_is_explained_everywhere_and_after_a_restart() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    for (number, (name, ..)) in PARKED.iter().enumerate() {
        engine.pair(&sim, name, &phone(number), Some(&receiver.url())).await;
    }
    fault(&sim, 0, Action::DeviceRemoved).await;
    fault(&sim, 1, Action::Ban { seconds: 3_600, code: None }).await;
    let outdated = LoginFailure { reason: 405, count: None, jid: Some(phone(2)), attrs: BTreeMap::default() };
    sim.set_rules(Rules { login_failure: Some(outdated), ..Rules::default() }).unwrap();
    fault(&sim, 2, Action::Rst).await;
    fault(&sim, 3, Action::Failure { reason: 411, times: None }).await;
    fault(&sim, 3, Action::Rst).await;
    fault(&sim, 4, Action::Replaced).await;

    for (name, code, action, number, again) in PARKED {
        let said = eventually(&format!("{name} to be parked"), || async {
            let said = engine.state(name).await;
            (said["code"] == code && said["state"] == "close").then_some(said)
        })
        .await;
        explained(&said, code, action, again);
        let mine = |data: &Value| data["instance"] == name && data["code"] == code;
        let closed = receiver.event("connection.update", |data| mine(data) && data["state"] == "close").await;
        explained(&closed.body["data"], code, action, again);
        let ended = receiver.event("status.instance", mine).await;
        explained(&ended.body["data"], code, action, again);
        assert_eq!(closed.body["data"]["statusReason"], number);
        assert_eq!(ended.body["data"]["disconnectionReasonCode"], number);
        let row = eventually("the row", || async {
            let row = row(&engine, name).await;
            (row["disconnectionReasonCode"] == number).then_some(row)
        })
        .await;
        assert_eq!(row["connectionStatus"], "close");
        assert!(row["disconnectionAt"].is_string() && row["disconnectionObject"].as_str().unwrap().contains(code));
    }
    let told = figures(&engine).await;
    for (_, code, ..) in PARKED {
        let series = format!(r#"holdfast_instances_not_open{{code="{code}"}}"#);
        assert_eq!(count(&told, &series), 1, "{told}");
    }
    assert_eq!(count(&told, r#"holdfast_instances{phase="parked"}"#), 5, "{told}");

    // The ban holds over a restart, and so does what is said of it; what may have changed meanwhile is tried anew.
    let tally = |number: usize| sim.counters(Some(&phone(number))).unwrap().tally;
    let (banned, tried) = (engine.state("banned").await, [tally(0).connects, tally(1).connects]);
    engine.kill_9().await;
    let engine = home.start().await;
    let said = says(&engine, "banned", "wa-temporary-ban").await;
    explained(&said, "wa-temporary-ban", "open_phone", true);
    assert_eq!(said["state"], "close", "{said}");
    let end = |told: &Value| chrono::DateTime::parse_from_rfc3339(told["expiresAt"].as_str().unwrap()).unwrap();
    assert!((end(&said) - end(&banned)).num_seconds().abs() <= 2, "the same end: {said} {banned}");
    let said = says(&engine, "removed", "wa-logged-out").await;
    explained(&said, "wa-logged-out", "relogin", false);
    says(&engine, "outdated", "wa-client-outdated").await;
    engine.reaches("refused", "open").await;
    assert_eq!(engine.state("refused").await.get("code"), None);
    assert_eq!([tally(0).connects, tally(1).connects], tried, "no attempt inside a ban, and none without a login");
}

/// A takeover is tried again slowly, never at once: whoever connects both ends of a duel loses both.
#[tokio::test(flavor = "multi_thread")]
async fn s06_five_takeovers_in_a_row_are_no_duel() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), None).await;
    let before = logins(&sim, 0);
    for round in 0..5 {
        engine.reaches("shop", "open").await;
        fault(&sim, 0, Action::Replaced).await;
        let said = says(&engine, "shop", "wa-replaced").await;
        assert_eq!((&said["state"], &said["userAction"]), (&json!("close"), &json!("close_other")), "{said}");
        // At least half a minute from now, by the engine's own clock.
        let at = |key: &str| chrono::DateTime::parse_from_rfc3339(said[key].as_str().unwrap()).unwrap();
        assert!((at("nextTryAt") - at("since")).num_seconds() >= 29, "{said}");
        assert_eq!(logins(&sim, 0), before + round, "only an operator has connected it");
        if round < 4 {
            engine.api().get("/instance/connect/shop").await.good();
        }
    }
    let told = figures(&engine).await;
    assert_eq!(count(&told, r#"holdfast_dials_total{reason="wa-replaced"}"#), 0, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_the_restart_after_a_pairing_is_no_failure() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    for number in 0..5 {
        let (name, before) = (format!("n{number}"), connects(&sim));
        engine.pair(&sim, &name, &phone(number), Some(&receiver.url())).await;
        receiver.event("connection.update", |data| data["instance"] == name.as_str() && data["state"] == "open").await;
        assert_eq!(connects(&sim), before + 2, "one connection to pair, one to log in");
    }
    let told = figures(&engine).await;
    assert_eq!(count(&told, r#"holdfast_dials_total{reason="wa-restart-required"}"#), 5, "{told}");
    assert_eq!(count(&told, "holdfast_recovery_seconds_count"), 0, "nothing was lost: {told}");
    let ended = receiver.all().into_iter().filter(|one| one.body["data"]["code"].is_string()).count();
    assert_eq!(ended, 0, "nobody is told of a failure");
}

/// A stream error that says nothing but wants an acknowledgement, on each connection.
#[tokio::test(flavor = "multi_thread")]
async fn s16_a_stream_error_on_each_connection_is_a_failure_each_time() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), None).await;
    for round in 1..=5 {
        let before = logins(&sim, 0);
        fault(&sim, 0, Action::StreamError { code: None, conflict: None, times: None }).await;
        eventually("another login", || async {
            (logins(&sim, 0) > before && engine.state("shop").await["state"] == "open").then_some(())
        })
        .await;
        let told = figures(&engine).await;
        // Without a code it ends nothing by itself: what is seen first of the end of the stream, its last stanza or its socket, is the reason.
        let dials: u64 = ["net-lost", "wa-unavailable"]
            .iter()
            .map(|code| count(&told, &format!(r#"holdfast_dials_total{{reason="{code}"}}"#)))
            .sum();
        assert_eq!(dials, round as u64, "{told}");
    }
    let tally = sim.counters(Some(&phone(0))).unwrap().tally;
    assert_eq!((tally.overlapped, tally.stale_frames), (false, 0));
}

/// The old connection goes on ending while the next one is made: late facts of it are nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn s14_an_end_that_is_told_35_times_is_one_end_and_one_new_connection() {
    const TIMES: u16 = 35;
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), Some(&receiver.url())).await;
    let told = |state: &str| {
        let all = receiver.all();
        let updates = all.iter().filter(|one| one.taken && one.event() == "connection.update");
        updates.filter(|one| one.body["data"]["state"] == state).count()
    };
    eventually("the first open to be told", || async { (told("open") == 1).then_some(()) }).await;
    for round in 1..=3 {
        let (opened, connecting) = (connects(&sim), told("connecting"));
        let slowly = Action::Delay { ms: 100 };
        fault(&sim, 0, slowly).await;
        fault(&sim, 0, Action::StreamError { code: Some(503), conflict: None, times: Some(TIMES) }).await;
        eventually("the next open to be told", || async { (told("open") == 1 + round).then_some(()) }).await;
        assert_eq!(connects(&sim), opened + 1, "one new connection");
        assert_eq!(told("connecting"), connecting + 1, "one loss is one event");
        let figures = figures(&engine).await;
        assert_eq!(count(&figures, r#"holdfast_dials_total{reason="wa-unavailable"}"#), round as u64, "{figures}");
        eventually("the old connection to be gone", || async { (sim.sessions().len() == 1).then_some(()) }).await;
    }
    let tally = sim.counters(Some(&phone(0))).unwrap().tally;
    assert_eq!((tally.overlapped, tally.stale_frames, tally.counters_reused), (false, 0, 0));
}

fn explained(told: &Value, code: &str, action: &str, again: bool) {
    assert_eq!((&told["code"], &told["userAction"]), (&json!(code), &json!(action)), "{told}");
    assert!(told["message"].as_str().is_some_and(|sentence| sentence.ends_with('.')), "{told}");
    assert_eq!(told["nextTryAt"].is_string(), again, "{told}");
    assert!(told.get("nextTryAt").is_some(), "it is said that none comes: {told}");
    assert_eq!(told["expiresAt"].is_string(), code == "wa-temporary-ban", "{told}");
}

async fn row(engine: &Engine<'_>, name: &str) -> Value {
    engine.api().get(&format!("/instance/fetchInstances?instanceName={name}")).await.good()[0].clone()
}

/// Reads what the database itself says, past the engine.
pub(super) fn stored_state(home: &Home, name: &str) -> Option<String> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        state: Option<String>,
    }
    let path = format!("file:{}?mode=ro", home.data_dir().join("holdfast.db").display());
    let mut database = SqliteConnection::establish(&path).expect("the database");
    let rows = r#"SELECT "connectionStatus" AS state FROM "Instance" WHERE name = ?"#;
    let found: Vec<Row> =
        diesel::sql_query(rows).bind::<Text, _>(name).load(&mut database).expect("the row of an instance");
    found.into_iter().next().and_then(|row| row.state)
}
