//! What the cargo feature `simulator` may and may not do.

use diesel::{Connection, RunQueryDsl, SqliteConnection};
use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::engine::{Home, binary};
use crate::harness::eventually::eventually;

/// The simulator's certificate chain is signed, but not by WhatsApp.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_binary_refuses_a_server_that_whatsapp_has_not_signed() {
    let default = binary("HOLDFAST_DEFAULT_BIN", "../default/holdfast");
    assert!(default.exists(), "there is no default binary at {}; ./scripts/test builds it", default.display());
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).program(default);
    let engine = home.start().await;
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "qrcode": false });
    engine.api().post("/instance/create", body).await.good();
    engine.api().get("/instance/connect/shop").await.good();
    let refused = eventually("the handshake to be refused twice", || async {
        let state = engine.state("shop").await;
        let refused = state["code"] == "wa-handshake" && sim.sessions().is_empty();
        refused.then_some(state)
    })
    .await;
    assert_eq!(refused["state"], "connecting", "{refused}");
    let shown = engine.api().get("/instance/connect/shop").await.good();
    assert_eq!(shown.get("code"), None, "a QR code came from a server that is not WhatsApp: {shown}");
}

/// A build for the simulator knows no names but those of this host, so this is the default one. Nobody owns a name below `invalid`.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_name_cannot_be_resolved_is_named_as_the_reason() {
    let default = binary("HOLDFAST_DEFAULT_BIN", "../default/holdfast");
    assert!(default.exists(), "there is no default binary at {}; ./scripts/test builds it", default.display());
    let home = Home::new("wss://no-such-host.invalid/ws/chat").program(default);
    let engine = home.start().await;
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "qrcode": false });
    engine.api().post("/instance/create", body).await.good();
    engine.api().get("/instance/connect/shop").await.good();
    let said = eventually("the reason", || async {
        let said = engine.state("shop").await;
        (said["code"] == "net-dns").then_some(said)
    })
    .await;
    assert_eq!((&said["state"], &said["userAction"]), (&json!("connecting"), &json!("check_network")), "{said}");
    assert!(home.log().contains("no-such-host.invalid cannot be resolved"), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_for_the_simulator_dials_nothing_but_loopback() {
    // Addresses and names for documentation (RFC 5737, RFC 2606): if the guard failed, nothing would be there to answer.
    for url in ["wss://192.0.2.1/ws/chat", "ws://192.0.2.1:7300/ws/chat", "wss://web.whatsapp.example/ws/chat"] {
        let output = Home::new(url).command(&["serve"]).output().await.expect("the engine ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("loopback") && said.contains(url), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_proxy_is_never_dialled_around_it() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", "5511999990001", None).await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    let connects = sim.counters(None).unwrap().tally.connects;

    let database = home.data_dir().join("holdfast.db");
    let mut database = SqliteConnection::establish(&database.display().to_string()).unwrap();
    let row = r#"INSERT INTO "Proxy" (id, enabled, host, port, protocol, username, password, "updatedAt", "instanceId")
        SELECT 'c1', 1, '127.0.0.1', '1', 'http', '', '', CURRENT_TIMESTAMP, id FROM "Instance""#;
    diesel::sql_query(row).execute(&mut database).unwrap();
    let engine = home.start().await;
    let state = eventually("the reason", || async {
        let state = engine.state("shop").await;
        (state["code"] == "net-proxy").then_some(state)
    })
    .await;
    assert_eq!(state["state"], "connecting", "{state}");
    assert_eq!(sim.counters(None).unwrap().tally.connects, connects, "something went around the proxy");
}
