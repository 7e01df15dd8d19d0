//! Pairing by a code that is typed on the phone.

use holdfast_sim::{EventKind, EventQuery, Options, PairingCodeRequest, Simulator};
use serde_json::{Value, json};

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;

const SHOP: &str = "5511999990001";

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_code_links_the_instance_for_good() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS" });
    let created = engine.api().post("/instance/create", body).await.good();
    assert_eq!(created["instance"]["status"], "close");

    let code = shown(&connect(&engine, SHOP).await);
    // Whoever asks again, however often, reads the code that may be half typed by now.
    for _ in 0..3 {
        assert_eq!(shown(&connect(&engine, SHOP).await), code);
    }
    assert_eq!(requests(&sim), 1, "another request would have voided the code");

    type_code(&sim, SHOP, &code).await;
    engine.reaches("shop", "open").await;
    engine.kill_9().await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;

    let counters = sim.counters(None).unwrap();
    assert_eq!((counters.tally.static_mismatches, counters.tally.counters_reused), (0, 0), "{counters:?}");
    assert!(!counters.tally.overlapped, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_can_be_created_with_its_code() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "qrcode": true, "number": SHOP });
    let created = engine.api().post("/instance/create", body).await.good();
    assert_eq!(created["instance"]["status"], "connecting");
    let code = shown(&created["qrcode"]);
    assert_eq!(shown(&connect(&engine, SHOP).await), code);
    type_code(&sim, SHOP, &code).await;
    engine.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shown_qr_code_gives_way_to_a_typed_one_on_the_same_socket() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    let created = engine.create("shop", None).await;
    assert_eq!(created["qrcode"]["pairingCode"], Value::Null);
    let code = shown(&connect(&engine, SHOP).await);
    assert_eq!(sim.counters(None).unwrap().tally.connects, 1);
    type_code(&sim, SHOP, &code).await;
    engine.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_code_can_be_typed_again() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.create("shop", None).await;
    let code = shown(&connect(&engine, SHOP).await);
    let wrong = if code.starts_with('A') { code.replacen('A', "B", 1) } else { format!("A{}", &code[1..]) };
    let request = PairingCodeRequest { phone: SHOP.to_owned(), code: wrong };
    assert_eq!(sim.pairing_code(&request).await.unwrap_err().status, 409);
    assert_eq!(shown(&connect(&engine, SHOP).await), code);
    type_code(&sim, SHOP, &code).await;
    engine.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_gets_a_code_of_its_own() {
    const RIGHT: &str = "5511999990002";
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.create("shop", None).await;
    let first = shown(&connect(&engine, SHOP).await);
    let second = shown(&connect(&engine, RIGHT).await);
    assert_ne!(first, second);
    assert_eq!(shown(&connect(&engine, RIGHT).await), second);
    // Without a number, whatever is shown is read.
    assert_eq!(shown(&engine.api().get("/instance/connect/shop").await.good()), second);
    type_code(&sim, RIGHT, &second).await;
    let said = engine.reaches("shop", "open").await;
    assert_eq!(said["state"], "open");
    assert_eq!(sim.counters(Some(SHOP)).unwrap().tally.logins, 0);
}

async fn connect(engine: &Engine<'_>, number: &str) -> Value {
    eventually("a pairing code", || async {
        let answer = engine.api().get(&format!("/instance/connect/shop?number={number}")).await.good();
        answer["pairingCode"].is_string().then_some(answer)
    })
    .await
}

/// Returns the code of an answer, which has to be one that a phone takes.
fn shown(answer: &Value) -> String {
    let code = answer["pairingCode"].as_str().unwrap_or_else(|| panic!("no code: {answer}"));
    assert!(code.len() == 8 && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()), "{code}");
    code.to_owned()
}

async fn type_code(sim: &Simulator, phone: &str, code: &str) {
    let request = PairingCodeRequest { phone: phone.to_owned(), code: code.to_owned() };
    sim.pairing_code(&request).await.expect("the phone links the device");
}

/// Counts how often a code was asked for.
fn requests(sim: &Simulator) -> usize {
    sim.events(&EventQuery { kind: Some(EventKind::CodeRequested), ..EventQuery::default() })
        .expect("the event log")
        .len()
}
