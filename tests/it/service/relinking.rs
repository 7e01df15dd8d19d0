//! One instance and one device after the other.

use std::time::Instant;

use holdfast_sim::{MessageRequest, Options, ScanRequest, Simulator};
use serde_json::{Value, json};

use crate::harness::client::Api;
use crate::harness::engine::Home;
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";
const ROUNDS: usize = 100;
const TALKS_EVERY: usize = 10;

async fn state(api: &Api) -> Value {
    api.get("/instance/connectionState/shop").await.good()["instance"].take()
}

#[expect(clippy::disallowed_methods, reason = "what is measured is printed, and decides nothing")]
#[tokio::test(flavor = "multi_thread")]
async fn s55_a_hundred_logouts_and_pairings_each_begin_afresh() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url()).set("DIAL_RATE_PER_SECOND", "1000").set("RUST_LOG", "info");
    let engine = home.start().await;
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS",
                       "webhook": { "url": receiver.url(), "events": ["MESSAGES_UPSERT"] } });
    let (api, created) = (engine.api(), engine.api().post("/instance/create", body).await.good());
    let began = Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    for round in 1..=ROUNDS {
        let began = Instant::now();
        let shown = api.get("/instance/connect/shop").await.good();
        assert_eq!(shown["count"], 1, "round {round}: the codes are counted anew: {shown}");
        let qr = shown["code"].as_str().unwrap_or_else(|| panic!("round {round}: no code: {shown}")).to_owned();
        let scan = ScanRequest { qr, phone: Some(SHOP.to_owned()), ..ScanRequest::default() };
        sim.scan(&scan).await.expect("the phone links the device");
        let said = eventually("an open instance", || async {
            let said = state(&api).await;
            (said["state"] == "open").then_some(said)
        })
        .await;
        for trouble in ["code", "message", "userAction", "nextTryAt", "whatsappCode"] {
            assert!(said.get(trouble).is_none(), "round {round}: {said}");
        }
        assert_eq!(said["paired"], true, "round {round}");
        if round % TALKS_EVERY == 0 {
            // Each device has sessions of its own, and messages come to it.
            let text = format!("round {round}");
            let (from, to) = (ANA.to_owned(), SHOP.to_owned());
            let request = MessageRequest { from, to, text: text.clone(), id: None, group: None };
            sim.message(request).await.expect("the message is written");
            receiver.message(&text).await;
        }

        assert_eq!(api.delete("/instance/logout/shop").await.good()["status"], "SUCCESS", "round {round}");
        let said = state(&api).await;
        assert_eq!(
            (&said["state"], &said["phase"], &said["paired"], said.get("code")),
            (&json!("close"), &json!("unpaired"), &json!(false), None),
            "round {round}: {said}"
        );
        let account = sim.accounts().into_iter().find(|account| account.phone == SHOP).expect("the account");
        assert!(account.devices.is_empty(), "round {round}: {account:?}");
        slowest = slowest.max(began.elapsed());
    }
    println!("{ROUNDS} pairings and logouts in {:?}, the slowest in {slowest:?}", began.elapsed());
    let rows = api.get("/instance/fetchInstances").await.good();
    let row = &rows[0];
    assert_eq!((&row["id"], &row["token"]), (&created["instance"]["instanceId"], &created["hash"]));
    assert_eq!((&row["connectionStatus"], &row["disconnectionReasonCode"]), (&json!("close"), &Value::Null), "{row}");
    let tally = sim.counters(None).expect("counters").tally;
    assert_eq!((tally.nacked, tally.counters_reused, tally.static_mismatches, tally.overlapped), (0, 0, 0, false));
    assert_eq!(receiver.texts().len(), ROUNDS / TALKS_EVERY, "each message came once");
}
