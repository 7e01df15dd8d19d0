use std::collections::HashMap;

use holdfast_sim::{MessageRequest, Options, Simulator};
use serde_json::json;

use crate::harness::engine::Home;
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";

#[tokio::test(flavor = "multi_thread")]
async fn a_paired_instance_survives_kill_9_and_misses_nothing() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());

    let engine = home.start().await;
    let created = engine.create("shop", Some(&receiver.url())).await;
    assert_eq!(created["instance"]["status"], "connecting");
    assert!(created["qrcode"]["base64"].as_str().is_some_and(|picture| picture.starts_with("data:image/png;base64,")));
    engine.scan(&sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
    receiver
        .event("connection.update", |data| data["state"] == "open" && data["wuid"] == format!("{SHOP}@s.whatsapp.net"))
        .await;

    // In, then out.
    write(&sim, "hello").await;
    let hello = receiver.message("hello").await;
    assert_eq!(hello.body["instance"], "shop");
    assert_eq!(hello.body["data"]["key"]["fromMe"], false);
    assert_eq!(hello.body["data"]["messageType"], "conversation");
    let sent = engine.send("shop", ANA, "welcome").await;
    assert_eq!(sent.status, 201, "{sent:?}");
    assert_eq!(sent.body["message"]["conversation"], "welcome");
    eventually("the text, decrypted by its recipient", || async {
        sim.messages().iter().any(|message| message.text.as_deref() == Some("welcome")).then_some(())
    })
    .await;

    // Gone without a word, and a message comes meanwhile.
    engine.kill_9().await;
    write(&sim, "while you were away").await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    receiver.message("while you were away").await;
    write(&sim, "and after").await;
    receiver.message("and after").await;
    let sent = engine.send("shop", ANA, "still here").await;
    assert_eq!(sent.status, 201, "{sent:?}");
    eventually("the second text", || async {
        sim.messages().iter().any(|message| message.text.as_deref() == Some("still here")).then_some(())
    })
    .await;

    // Nothing was lost, nothing came twice but under the same id, and no key was used twice.
    let mut ids: HashMap<String, String> = HashMap::new();
    for one in receiver.all().into_iter().filter(|one| one.event() == "messages.upsert") {
        let id = ids.entry(one.body["data"]["key"]["id"].to_string()).or_insert_with(|| one.event_id.clone());
        assert_eq!(*id, one.event_id, "a message came under two event ids");
    }
    let counters = sim.counters(None).unwrap();
    assert_eq!(
        (counters.tally.nacked, counters.tally.counters_reused, counters.tally.static_mismatches),
        (0, 0, 0),
        "{counters:?}"
    );
    assert!(!counters.tally.overlapped, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_gets_everything_in_order_when_it_is_back() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    receiver.event("connection.update", |data| data["state"] == "open").await;

    receiver.refuse(2);
    for number in 0..5 {
        write(&sim, &format!("m{number}")).await;
    }
    receiver.message("m4").await;
    assert_eq!(receiver.texts(), ["m0", "m1", "m2", "m3", "m4"]);
    let attempts: Vec<String> =
        receiver.all().iter().filter(|one| one.text() == "m0").map(|one| one.attempt.clone()).collect();
    assert!(attempts.contains(&"3".to_owned()) || receiver.all().iter().any(|one| !one.taken), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s55_a_logout_unlinks_the_device_and_a_new_pairing_needs_no_new_instance() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    let out = engine.api().delete("/instance/logout/shop").await.good();
    assert_eq!(out["status"], "SUCCESS");
    engine.reaches("shop", "close").await;
    assert!(sim.accounts().iter().all(|account| account.devices.is_empty()), "{:?}", sim.accounts());
    let again = engine.api().delete("/instance/logout/shop").await;
    assert_eq!(
        (again.status, &again.body["response"]["message"][0]),
        (400, &json!("The \"shop\" instance is not connected"))
    );

    engine.scan(&sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
    engine.api().delete("/instance/delete/shop").await.good();
    assert_eq!(engine.api().get("/instance/connectionState/shop").await.status, 404);
    engine.pair(&sim, "shop", SHOP, None).await;
}

async fn write(sim: &Simulator, text: &str) {
    let request =
        MessageRequest { from: ANA.to_owned(), to: SHOP.to_owned(), text: text.to_owned(), id: None, group: None };
    sim.message(request).await.expect("the message is taken");
}
