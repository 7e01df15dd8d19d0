//! What an operator has set survives the end of the process, to the last letter.

use holdfast_sim::{Options, Simulator};
use serde_json::{Value, json};

use crate::harness::client::Api;
use crate::harness::engine::Home;
use crate::harness::eventually::eventually;
use crate::harness::proxy::{Kind, Proxy};
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";

/// Everything that can be read of what was set, without what the engine itself writes into the row.
async fn all_that_is_set(api: &Api, names: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for name in names {
        for kind in ["webhook", "settings", "proxy"] {
            all.push(api.get(&format!("/{kind}/find/{name}")).await.good());
        }
        let mut row = api.get(&format!("/instance/fetchInstances?instanceName={name}")).await.good()[0].take();
        for written in ["connectionStatus", "updatedAt", "ownerJid", "profileName", "profilePicUrl"] {
            assert!(row.as_object_mut().is_some_and(|row| row.remove(written).is_some()), "{row}");
        }
        all.push(row);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_everything_that_was_set_is_identical_after_a_kill() {
    let sim = Simulator::start(Options::default()).await.expect("a simulator");
    let (receiver, proxy) = (Receiver::start(), Proxy::start(Kind::Http, Some(("me", "p@ss:w%rd \"'"))).await);
    let home = Home::new(&sim.ws_url().replace("127.0.0.1", "localhost"));
    let engine = home.start().await;
    let api = engine.api();
    let create =
        json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "token": "token-1", "number": SHOP });
    api.post("/instance/create", create).await.good();
    let all_on = json!({ "rejectCall": true, "msgCall": "später, 'bitte' \"\\\" ☎", "groupsIgnore": true, "alwaysOnline": true,
                         "readMessages": true, "readStatus": true, "syncFullHistory": true, "wavoipToken": "w-1" });
    let hook = json!({ "enabled": true, "url": format!("{}?a=1&b=%20", receiver.url()), "byEvents": false, "base64": true,
                       "headers": { "x-key": "s3cret", "x-quote": "\"" }, "events": ["CONNECTION_UPDATE", "MESSAGES_UPSERT"] });
    let through = json!({ "enabled": true, "host": "localhost", "port": proxy.port().to_string(), "protocol": proxy.protocol(),
                          "username": "me", "password": "p@ss:w%rd \"'" });
    // Bare, all of it switched off, and all of it changed once before.
    api.post("/instance/create", json!({ "instanceName": "bare", "integration": "WHATSAPP-BAILEYS" })).await.good();
    api.post("/instance/create", json!({ "instanceName": "off", "integration": "WHATSAPP-BAILEYS", "qrcode": false,
                                         "webhook": { "url": "https://old.test/", "events": ["CALL"] }, "msgCall": "old" }))
        .await
        .good();
    let none = json!({ "rejectCall": false, "msgCall": "", "groupsIgnore": false, "alwaysOnline": false, "readMessages": false,
                       "readStatus": false, "syncFullHistory": false });
    let off = json!({ "enabled": false, "host": "", "port": "", "protocol": "" });
    for (name, settings, webhook, proxy) in [
        ("shop", &all_on, &hook, &through),
        ("off", &none, &json!({ "enabled": false, "url": "https://new.test/" }), &off),
    ] {
        api.post(&format!("/settings/set/{name}"), settings.clone()).await.good();
        api.post(&format!("/webhook/set/{name}"), json!({ "webhook": webhook })).await.good();
        api.post(&format!("/proxy/set/{name}"), proxy.clone()).await.good();
    }
    engine.scan(&sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;

    let names = ["shop", "bare", "off"];
    let before = all_that_is_set(&api, &names).await;
    assert_eq!((&before[1], &before[2]["password"]), (&all_on, &through["password"]));
    assert_eq!((&before[0]["headers"], &before[0]["events"]), (&hook["headers"], &hook["events"]));
    // The last word comes in the last moment.
    let last = json!({ "rejectCall": true, "msgCall": "the last word", "groupsIgnore": false, "alwaysOnline": true,
                       "readMessages": false, "readStatus": false, "syncFullHistory": false, "wavoipToken": "w-2" });
    api.post("/settings/set/bare", last.clone()).await.good();
    engine.kill_9().await;

    let (opened, told) = (proxy.opened(), receiver.all().len());
    let engine = home.start().await;
    let mut after = all_that_is_set(&engine.api(), &names).await;
    assert_eq!(after[5], last);
    // All but that one.
    for (now, then) in [(5, 5), (7, 7)] {
        after[now] = before[then].clone();
    }
    assert_eq!(after, before);
    // And it holds: the connection goes through the proxy, and the receiver is told, with its headers.
    engine.reaches("shop", "open").await;
    assert!(proxy.opened() > opened, "past the proxy");
    eventually("the receiver to be told", || async {
        receiver.all().iter().skip(told).any(|one| one.body["data"]["state"] == "open").then_some(())
    })
    .await;
    assert_eq!(engine.state("off").await["state"], "close");
    assert_eq!(engine.api().with_key("token-1").get("/settings/find/shop").await.status, 200);
}
