//! The settings of an instance, on the wire: from its creation on, changed while it is connected, and after a restart.

use std::sync::Mutex;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use holdfast_sim::{
    Action, CallRequest, Event, EventKind, EventQuery, FaultRequest, MessageRequest, Options, Ringing, Simulator,
};
use serde_json::{Value, json};

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";

/// Creates the instance with these settings and pairs it.
async fn pair(engine: &Engine<'_>, sim: &Simulator, receiver: Option<&Receiver>, settings: Value) {
    let mut body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "qrcode": true });
    for (key, value) in settings.as_object().expect("settings") {
        body[key] = value.clone();
    }
    if let Some(receiver) = receiver {
        body["webhook"] = json!({ "url": receiver.url(), "events": [] });
    }
    engine.api().post("/instance/create", body).await.good();
    engine.scan(sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
}

/// Sets the settings to what they are by default, but for these.
async fn set(engine: &Engine<'_>, changes: Value) {
    let mut body = json!({ "rejectCall": false, "groupsIgnore": false, "alwaysOnline": false, "readMessages": false,
                           "readStatus": false, "syncFullHistory": false });
    for (key, value) in changes.as_object().expect("settings") {
        body[key] = value.clone();
    }
    let answer = engine.api().post("/settings/set/shop", body.clone()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.body, json!({ "settings": { "instanceName": "shop", "settings": body } }));
}

fn logins(sim: &Simulator) -> u64 {
    sim.counters(Some(SHOP)).expect("the shop's counters").tally.logins
}

fn events(sim: &Simulator, kind: EventKind) -> Vec<Event> {
    sim.events(&EventQuery { kind: Some(kind), ..EventQuery::default() }).expect("the event log")
}

/// Waits until the last that the shop has said of itself is this, on the connection that it has.
async fn shows(sim: &Simulator, state: &str) {
    eventually(&format!("the shop to be {state}"), || async {
        let last = events(sim, EventKind::Presence).pop()?;
        let accounts = sim.accounts();
        let device = accounts.iter().find(|account| account.phone == SHOP)?.devices.first()?;
        let there = device.available == (state == "available");
        let here = sim.sessions().iter().any(|session| Some(session.link) == last.link);
        (here && last.detail["state"] == state && device.connected && there).then_some(())
    })
    .await;
}

/// The messages that were marked as read.
fn read(sim: &Simulator) -> Vec<String> {
    let receipts = events(sim, EventKind::Receipt).into_iter().filter(|event| event.detail["kind"] == "read");
    let ids = receipts.flat_map(|event| event.detail["ids"].as_array().cloned().unwrap_or_default());
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

async fn reads(sim: &Simulator, id: &str) {
    eventually(&format!("message {id} to be read"), || async { read(sim).iter().any(|read| read == id).then_some(()) })
        .await;
}

async fn write(sim: &Simulator, text: &str, group: Option<&str>) -> String {
    let request = MessageRequest {
        from: ANA.to_owned(),
        to: SHOP.to_owned(),
        text: text.to_owned(),
        id: None,
        group: group.map(str::to_owned),
    };
    sim.message(request).await.expect("the message is written").id
}

/// Waits until the shop has acknowledged everything.
async fn acknowledged(sim: &Simulator) {
    eventually("everything to be acknowledged", || async {
        (sim.counters(Some(SHOP)).expect("the shop's counters").queued == 0).then_some(())
    })
    .await;
}

/// Waits until the key of the group's sender is on disk. The library writes it a moment after the message with which it came, and a crash
/// before that costs a question at the next one.
async fn has_the_key_of_the_group(home: &Home) {
    let path = home.data_dir().join("holdfast.db").display().to_string();
    let mut database = SqliteConnection::establish(&path).expect("the database");
    database.batch_execute("PRAGMA busy_timeout = 5000").expect("a patient connection");
    let database = Mutex::new(database);
    let kept = sql::<BigInt>("SELECT count(*) FROM holdfast_session_value WHERE category = 'sender-key'");
    eventually("the key of the group's sender on disk", || async {
        let count: i64 = kept.clone().get_result(&mut *database.lock().expect("its connection")).expect("a count");
        (count > 0).then_some(())
    })
    .await;
}

fn call(sim: &Simulator, id: &str, offline: bool) {
    let request = CallRequest {
        from: ANA.to_owned(),
        to: SHOP.to_owned(),
        id: Some(id.to_owned()),
        offline,
        ..CallRequest::default()
    };
    assert_eq!(sim.call(&request).expect("the call").hit, 1);
}

/// The ids of the calls that were rejected, and the texts that the caller got.
fn rejected(sim: &Simulator) -> (Vec<String>, Vec<String>) {
    let calls = events(sim, EventKind::CallRejected).into_iter();
    let ids = calls.filter_map(|event| event.detail["id"].as_str().map(str::to_owned)).collect();
    (ids, sim.messages().into_iter().filter_map(|message| message.text).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_shows_itself_as_its_settings_say_on_every_connection_and_at_once() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    pair(&engine, &sim, None, json!({})).await;
    shows(&sim, "unavailable").await;

    let before = logins(&sim);
    set(&engine, json!({ "alwaysOnline": true })).await;
    shows(&sim, "available").await;
    set(&engine, json!({})).await;
    shows(&sim, "unavailable").await;
    set(&engine, json!({ "alwaysOnline": true })).await;
    shows(&sim, "available").await;
    let answer = engine.api().post("/instance/setPresence/shop", json!({ "presence": "unavailable" })).await;
    assert_eq!((answer.status, answer.body), (201, json!({ "presence": "unavailable" })));
    shows(&sim, "unavailable").await;
    assert_eq!(logins(&sim), before, "none of it takes another connection");

    // What somebody has asked for in between ends with the connection.
    sim.fault(FaultRequest { target: SHOP.to_owned(), action: Action::Rst }).await.expect("the fault strikes");
    eventually("another login", || async { (logins(&sim) > before).then_some(()) }).await;
    shows(&sim, "available").await;

    engine.kill_9().await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    shows(&sim, "available").await;
    let before = logins(&sim);
    set(&engine, json!({})).await;
    shows(&sim, "unavailable").await;
    assert_eq!(logins(&sim), before);
    sim.fault(FaultRequest { target: SHOP.to_owned(), action: Action::Rst }).await.expect("the fault strikes");
    eventually("another login", || async { (logins(&sim) > before).then_some(()) }).await;
    shows(&sim, "unavailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_marked_as_read_while_that_is_wanted() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    pair(&engine, &sim, Some(&receiver), json!({ "readMessages": true })).await;
    let before = logins(&sim);
    let first = write(&sim, "first", None).await;
    reads(&sim, &first).await;
    let told = write(&sim, "to all", Some("120363000000000001@g.us")).await;
    reads(&sim, &told).await;
    let groups = events(&sim, EventKind::Receipt);
    assert!(
        groups.iter().any(|event| event.detail["kind"] == "read" && event.detail["group"].is_string()),
        "{groups:?}"
    );

    set(&engine, json!({})).await;
    let unread = write(&sim, "second", None).await;
    receiver.message("second").await;
    set(&engine, json!({ "readMessages": true })).await;
    let third = write(&sim, "third", None).await;
    reads(&sim, &third).await;
    assert!(!read(&sim).contains(&unread), "it was not to be read");
    assert_eq!(logins(&sim), before);

    engine.kill_9().await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    let fourth = write(&sim, "fourth", None).await;
    reads(&sim, &fourth).await;
    assert_eq!(sim.counters(None).expect("counters").tally.nacked, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_told_and_rejected_once_with_a_text_while_that_is_wanted() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    pair(&engine, &sim, Some(&receiver), json!({ "rejectCall": true, "msgCall": "we only write" })).await;
    let before = logins(&sim);
    let told = |id: &'static str, status: &'static str| {
        let receiver = &receiver;
        async move {
            receiver.event("call", move |data| data["id"] == id && data["status"] == status).await.body["data"].clone()
        }
    };

    call(&sim, "C1", false);
    let data = told("C1", "offer").await;
    assert_eq!((&data["isVideo"], &data["isGroup"], &data["offline"]), (&json!(false), &json!(false), &json!(false)));
    assert!(data["chatId"].as_str().is_some_and(|chat| chat.ends_with("@lid")), "{data}");
    eventually("the rejection and the text", || async {
        (rejected(&sim) == (vec!["C1".to_owned()], vec!["we only write".to_owned()])).then_some(())
    })
    .await;
    let texts = sim.messages();
    assert!(texts[0].to.to_string().contains(ANA), "{texts:?}");

    // It rings again, and one comes that rang before: both are told, and nothing else.
    call(&sim, "C1", false);
    call(&sim, "C2", true);
    let missed = told("C2", "offer").await;
    assert_eq!(missed["offline"], true);
    let ends = CallRequest {
        from: ANA.to_owned(),
        to: SHOP.to_owned(),
        id: Some("C1".to_owned()),
        state: Ringing::Terminate,
        ..CallRequest::default()
    };
    sim.call(&ends).expect("the end of the call");
    told("C1", "timeout").await;

    set(&engine, json!({ "msgCall": "we only write" })).await;
    call(&sim, "C3", false);
    told("C3", "offer").await;
    set(&engine, json!({ "rejectCall": true, "msgCall": "" })).await;
    call(&sim, "C4", false);
    eventually("the rejection", || async { rejected(&sim).0.last().is_some_and(|last| last == "C4").then_some(()) })
        .await;
    assert_eq!(
        rejected(&sim),
        (vec!["C1".to_owned(), "C4".to_owned()], vec!["we only write".to_owned()]),
        "each call is rejected once, while it rings and while that is wanted"
    );
    assert_eq!(logins(&sim), before);

    engine.kill_9().await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    call(&sim, "C5", false);
    eventually("the rejection", || async { rejected(&sim).0.last().is_some_and(|last| last == "C5").then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_ignored_are_accepted_and_not_told() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    pair(&engine, &sim, Some(&receiver), json!({ "groupsIgnore": true, "readMessages": true })).await;
    let before = logins(&sim);
    let group = Some("120363000000000001@g.us");
    let ignored = write(&sim, "in the group", group).await;
    write(&sim, "direct", None).await;
    receiver.message("direct").await;
    acknowledged(&sim).await;
    assert_eq!(receiver.texts(), ["direct"]);

    set(&engine, json!({ "readMessages": true })).await;
    let heard = write(&sim, "in the group again", group).await;
    receiver.message("in the group again").await;
    reads(&sim, &heard).await;
    assert!(!read(&sim).contains(&ignored), "what is ignored is not read either");
    set(&engine, json!({ "groupsIgnore": true })).await;
    write(&sim, "not this", group).await;
    acknowledged(&sim).await;
    assert_eq!(logins(&sim), before);

    has_the_key_of_the_group(&home).await;
    engine.kill_9().await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    write(&sim, "nor this", group).await;
    write(&sim, "direct again", None).await;
    receiver.message("direct again").await;
    acknowledged(&sim).await;
    assert_eq!(receiver.texts(), ["direct", "in the group again", "direct again"]);
    let tally = sim.counters(None).expect("counters").tally;
    assert_eq!((tally.nacked, tally.retry_receipts), (0, 0), "the ratchets went on");
}

/// What the devices that wanted to be paired have asked for, one after the other.
fn asked_for_all(sim: &Simulator) -> Vec<Value> {
    events(sim, EventKind::PairOffer).into_iter().map(|event| event.detail["requireFullSync"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_asks_for_the_whole_history_if_the_settings_say_so_when_it_is_paired() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    pair(&engine, &sim, None, json!({ "syncFullHistory": true })).await;
    assert_eq!(asked_for_all(&sim), [true]);
    // The next device of the same instance does not, nor one that is made without a word about it.
    set(&engine, json!({})).await;
    engine.api().delete("/instance/logout/shop").await.good();
    engine.scan(&sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
    assert_eq!(asked_for_all(&sim), [true, false]);
    engine.pair(&sim, "other", ANA, None).await;
    assert_eq!(asked_for_all(&sim), [true, false, false]);
    engine.api().delete("/instance/delete/other").await.good();

    // Set while a code is shown it counts from the next connection on, also after a crash.
    engine.api().delete("/instance/logout/shop").await.good();
    engine.api().get("/instance/connect/shop").await.good();
    assert_eq!(asked_for_all(&sim).len(), 4);
    set(&engine, json!({ "syncFullHistory": true })).await;
    let request = FaultRequest { target: "all".to_owned(), action: Action::Rst };
    sim.fault(request).await.expect("the fault strikes");
    eventually("the next offer", || async { (asked_for_all(&sim).len() == 5).then_some(()) }).await;
    engine.kill_9().await;
    let engine = home.start().await;
    engine.scan(&sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
    assert_eq!(asked_for_all(&sim), [true, false, false, false, true, true]);
}
