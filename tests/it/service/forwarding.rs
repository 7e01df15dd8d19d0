//! Two engines on one database: either answers for what the other one owns.

use holdfast_sim::{Options, Simulator};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::Api;
use crate::harness::engine::{Engine, Home, KEY};
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";
/// A name that has to be written otherwise in a path.
const NAME: &str = "loja 1/é";
const IN_A_PATH: &str = "loja%201%2F%C3%A9";

#[tokio::test(flavor = "multi_thread")]
async fn either_of_two_engines_answers_for_what_the_other_owns_and_takes_it_over_when_that_is_gone() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let server = Server::start().await.unwrap();
    let (home_a, home_b) = (at_home(&sim, &server, "a"), at_home(&sim, &server, "b"));
    let a = home_a.start().await;
    let b = home_b.start().await;
    let (by_a, by_b) = (keyed(&a, "a"), keyed(&b, "b"));
    eventually("two nodes", || async { (alive(&by_b).await == ["a", "b"]).then_some(()) }).await;

    let new = json!({ "instanceName": NAME, "integration": "WHATSAPP-BAILEYS" });
    let token = by_a.post("/instance/create", new.clone()).await.good()["hash"].as_str().unwrap().to_owned();
    let taken = by_b.post("/instance/create", new).await;
    assert_eq!((taken.status, &taken.body["response"]["code"]), (403, &json!("instance-name-taken")));
    assert_eq!(by_b.with_key("wrong").get(&format!("/instance/connect/{IN_A_PATH}")).await.status, 401);

    let qr = eventually("a QR code by way of the other node", || async {
        let shown = by_b.get(&format!("/instance/connect/{IN_A_PATH}")).await.good();
        shown["code"].as_str().map(ToOwned::to_owned)
    })
    .await;
    let scan = holdfast_sim::ScanRequest { qr, phone: Some(SHOP.to_owned()), ..Default::default() };
    sim.scan(&scan).await.unwrap();
    let by_token = by_b.with_key(&token);
    open(&by_token).await;
    let verified = by_token.get(&format!("/instance/connectionState/{IN_A_PATH}?verify=true")).await.good();
    assert_eq!(verified["instance"]["verified"], true, "{verified}");

    let text = json!({ "number": ANA, "text": "olá" });
    let path = format!("/message/sendText/{IN_A_PATH}");
    let first = by_b.try_once("order-17", &path, &text).await.unwrap();
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(by_a.try_once("order-17", &path, &text).await.unwrap(), first, "given again by the owner");
    let large = json!({ "number": ANA, "text": "x".repeat(1024 * 1024) });
    assert_eq!(by_b.post(&path, large).await.status, 413);
    let hook = json!({ "webhook": { "enabled": false, "url": "http://127.0.0.1:9/" } });
    by_b.post(&format!("/webhook/set/{IN_A_PATH}"), hook).await.good();
    for route in ["webhook/find", "settings/find", "proxy/find"] {
        let path = format!("/{route}/{IN_A_PATH}");
        assert_eq!(by_b.get(&path).await, by_a.get(&path).await, "{route}");
    }
    assert_eq!(by_b.get("/instance/fetchInstances").await, by_a.get("/instance/fetchInstances").await);
    let (of_a, of_b) = (gauges(&by_a).await, gauges(&by_b).await);
    assert!(of_a == of_b && of_a.iter().any(|line| line.contains("evolution_instance_up") && line.ends_with(" 1")));
    assert!(!home_b.log().contains(KEY) && !home_a.log().contains("session"), "no secrets");

    a.kill_9().await;
    let refused = by_b.get(&format!("/instance/connectionState/{IN_A_PATH}")).await;
    let code = refused.body["response"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(refused.status == 503 && ["node-unreachable", "instance-unowned"].contains(&code.as_str()), "{refused:?}");
    let rows = by_b.get("/instance/fetchInstances").await.good();
    assert_eq!(rows[0]["connectionStatus"], "connecting", "{rows}");
    open(&by_b).await;

    let a = home_a.start().await;
    let by_a = keyed(&a, "a");
    assert_eq!(by_a.get(&format!("/instance/connectionState/{IN_A_PATH}")).await.good()["instance"]["state"], "open");
    by_a.delete(&format!("/instance/logout/{IN_A_PATH}")).await.good();
    by_a.delete(&format!("/instance/delete/{IN_A_PATH}")).await.good();
    for api in [&by_a, &by_b] {
        assert_eq!(api.get(&format!("/instance/connectionState/{IN_A_PATH}")).await.status, 404);
        assert_eq!(api.get("/instance/fetchInstances").await.good(), json!([]));
    }
    let tally = sim.counters(None).unwrap().tally;
    assert_eq!((tally.nacked, tally.counters_reused, tally.stale_frames, tally.overlapped), (0, 0, 0, false));
}

/// An engine of this name; each has a key of its own.
fn at_home(sim: &Simulator, server: &Server, name: &str) -> Home {
    let home = Home::new(sim.ws_url())
        .set("DATABASE_PROVIDER", "postgresql")
        .set("DATABASE_CONNECTION_URI", &server.url("postgres"))
        .set("SESSION_ENCRYPTION_KEY", &"07".repeat(32))
        .set("AUTHENTICATION_API_KEY", &format!("{KEY}-{name}"))
        .set("NODE_ID", name)
        .set("LEASE_TTL_SECONDS", "6")
        .set("LEASE_RENEW_SECONDS", "1")
        .set("PROMETHEUS_METRICS", "true");
    let url = home.url();
    home.set("NODE_URL", &url)
}

fn keyed(engine: &Engine<'_>, name: &str) -> Api {
    engine.api().with_key(&format!("{KEY}-{name}"))
}

async fn alive(api: &Api) -> Vec<String> {
    let nodes = api.get("/engine/nodes").await.good();
    let alive = |node: &&Value| node["alive"] == true;
    nodes["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(alive)
        .map(|node| node["name"].as_str().expect("a name").to_owned())
        .collect()
}

async fn open(api: &Api) {
    eventually("the instance to be open", || async {
        let told = api.get(&format!("/instance/connectionState/{IN_A_PATH}")).await;
        (told.body["instance"]["state"] == "open").then_some(())
    })
    .await;
}

/// The lines of Evolution's gauges.
async fn gauges(api: &Api) -> Vec<String> {
    let text = api.call(Method::GET, "/metrics", None).await.good();
    let text = text.as_str().expect("text");
    text.lines().filter(|line| line.starts_with("evolution_instance")).map(str::to_owned).collect()
}
