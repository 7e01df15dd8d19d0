//! Proxies, where the real binary dials through real ones: what cannot go through them goes nowhere.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use diesel::{Connection, RunQueryDsl, SqliteConnection};
use holdfast_core::proxy::Fault;
use holdfast_sim::{Options, Simulator};
use serde_json::{Value, json};

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::proxy::{Kind, Manner, Proxy};
use crate::harness::watch::Watch;

const ME: Option<(&str, &str)> = Some(("me", "p@ss:w%rd"));
const PHONE: &str = "5511999990001";

/// A WhatsApp and a proxy, and the port that nobody may reach but by the proxy.
struct World {
    sim: Simulator,
    proxy: Proxy,
    port: u16,
}

impl World {
    async fn start(kind: Kind) -> Self {
        let sim = Simulator::start(Options::default()).await.unwrap();
        let port = sim.ws_url().rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
        Self { sim, proxy: Proxy::start(kind, ME).await, port }
    }

    /// The engine knows the server by a name, which it must leave to the proxy.
    fn home(&self) -> Home {
        Home::new(&self.sim.ws_url().replace("127.0.0.1", "localhost")).set("CONNECT_TIMEOUT_SECONDS", "3")
    }

    fn with_global_proxy(&self) -> Home {
        let (user, password) = ME.unwrap();
        let home = self.home().set("PROXY_HOST", "127.0.0.1").set("PROXY_PORT", &self.proxy.port().to_string());
        home.set("PROXY_PROTOCOL", self.proxy.protocol()).set("PROXY_USERNAME", user).set("PROXY_PASSWORD", password)
    }

    fn body(&self) -> Value {
        let (user, password) = ME.unwrap();
        json!({ "enabled": true, "host": "localhost", "port": self.proxy.port().to_string(),
                "protocol": self.proxy.protocol(), "username": user, "password": password })
    }

    fn connects(&self) -> u64 {
        self.sim.counters(None).unwrap().tally.connects
    }

    /// Whatever has reached the server came out of the proxy, and the process has dialled nobody else.
    fn nothing_went_around(&self, before: u64, watch: Watch) {
        let seen = watch.end();
        assert_eq!(seen.ports, [self.proxy.port()].into(), "a socket of the engine goes around the proxy");
        assert!(!seen.name_server, "the engine has asked a name server");
        assert_eq!(self.connects() - before, self.proxy.opened(), "the server was reached by somebody else");
        assert!(self.proxy.asked().iter().all(|asked| *asked == format!("localhost:{}", self.port)));
    }
}

/// Waits until the instance is not open because of this, and returns what it says.
async fn explained(engine: &Engine<'_>, fault: Fault) -> Value {
    eventually(&format!("the state to say: {}", fault.sentence()), || async {
        let state = engine.state("shop").await;
        let explained = state["code"] == "net-proxy" && state["message"] == fault.sentence();
        explained.then_some(state)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_a_global_proxy_carries_everything_also_after_kill_9() {
    let world = World::start(Kind::Http).await;
    let home = world.with_global_proxy();
    let engine = home.start().await;
    let watch = Watch::start(engine.id());
    engine.pair(&world.sim, "shop", PHONE, None).await;
    world.nothing_went_around(0, watch);
    assert!(world.proxy.opened() >= 2, "the pairing and the login");
    engine.kill_9().await;

    let before = world.proxy.opened();
    let engine = home.start().await;
    let watch = Watch::start(engine.id());
    engine.reaches("shop", "open").await;
    world.nothing_went_around(0, watch);
    assert!(world.proxy.opened() > before);
    assert!(!home.log().contains("p@ss"), "the password is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_nothing_goes_around_an_http_proxy_whatever_becomes_of_it() {
    whatever_becomes_of_it(Kind::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_nothing_goes_around_a_socks_proxy_whatever_becomes_of_it() {
    whatever_becomes_of_it(Kind::Socks).await;
}

async fn whatever_becomes_of_it(kind: Kind) {
    let world = World::start(kind).await;
    let home = world.home();
    let engine = home.start().await;
    let body = world.body();
    let create = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "qrcode": true,
                         "proxyHost": body["host"], "proxyPort": body["port"], "proxyProtocol": body["protocol"],
                         "proxyUsername": body["username"], "proxyPassword": body["password"] });
    let watch = Watch::start(engine.id());
    engine.api().post("/instance/create", create).await.good();
    engine.scan(&world.sim, "shop", PHONE).await;
    engine.reaches("shop", "open").await;

    // It dies under a live link.
    world.proxy.die();
    let state = explained(&engine, Fault::Unreachable).await;
    assert_eq!((&state["state"], &state["userAction"]), (&json!("connecting"), &json!("check_network")), "{state}");
    // It comes back as something else each time.
    for (manner, fault) in [
        (Manner::Refuses, Fault::Target),
        (Manner::Silent, Fault::Silent),
        (Manner::Garbage, Fault::Protocol),
        (Manner::Flood, Fault::Protocol),
    ] {
        world.proxy.behave(manner);
        world.proxy.cut().await;
        explained(&engine, fault).await;
    }
    world.proxy.behave(Manner::Works);
    world.proxy.wants(Some(("me", "another password")));
    world.proxy.cut().await;
    explained(&engine, Fault::Credentials).await;
    world.nothing_went_around(0, watch);

    // The next process finds it in the database, and the proxy still closed.
    engine.kill_9().await;
    let engine = home.start().await;
    let watch = Watch::start(engine.id());
    explained(&engine, Fault::Credentials).await;
    world.proxy.wants(ME);
    engine.reaches("shop", "open").await;
    world.nothing_went_around(0, watch);
    let log = home.log();
    assert!(!log.contains("p@ss") && !log.contains("p%40ss"), "the password is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_a_proxy_is_tried_when_it_is_set_and_used_at_once() {
    let world = World::start(Kind::Socks).await;
    let home = world.home();
    let engine = home.start().await;
    // The control: what goes the direct way is seen.
    let watch = Watch::start(engine.id());
    engine.pair(&world.sim, "shop", PHONE, None).await;
    assert!(watch.end().ports.contains(&world.port), "a direct connection was not seen");
    let direct = world.connects();
    let logins = || world.sim.counters(None).unwrap().tally.logins;
    let before = logins();

    let api = engine.api();
    let set = |body: Value| api.post("/proxy/set/shop", body);
    let with = |key: &str, value: &str| {
        let mut body = world.body();
        body[key] = json!(value);
        body
    };
    let refused = |answer: crate::harness::client::Answer, stage: &str| {
        assert_eq!(answer.status, 400, "{answer:?}");
        let response = &answer.body["response"];
        assert_eq!(response["message"], json!(["Invalid proxy"]), "{response}");
        assert_eq!((&response["code"], &response["stage"]), (&json!("proxy-unusable"), &json!(stage)), "{response}");
        assert!(!answer.body.to_string().contains("p@ss"), "{response}");
    };
    refused(set(with("password", "wrong")).await, "credentials");
    refused(set(with("port", "1")).await, "unreachable");
    refused(set(with("protocol", "http")).await, "protocol");
    refused(set(with("protocol", "https")).await, "settings");
    refused(set(with("host", "http://x/")).await, "settings");
    refused(set(with("host", "192.0.2.1")).await, "settings");
    world.proxy.behave(Manner::Refuses);
    refused(set(world.body()).await, "target");
    world.proxy.behave(Manner::Works);
    assert_eq!(api.get("/proxy/find/shop").await.good(), Value::Null, "something was stored all the same");
    assert_eq!((world.connects(), logins()), (direct, before), "something was changed all the same");

    let answer = set(world.body()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.body, json!({ "proxy": { "instanceName": "shop", "proxy": world.body() } }));
    eventually("a login through the proxy", || async { (logins() == before + 1).then_some(()) }).await;
    let watch = Watch::start(engine.id());
    engine.reaches("shop", "open").await;
    assert_eq!(world.sim.counters(None).unwrap().tally.nacked, 0);
    assert_eq!(world.proxy.opened(), 2, "the try and the dial");

    // Once more the same: it is tried again, and the connection stays.
    assert_eq!(set(world.body()).await.status, 201);
    engine.reaches("shop", "open").await;
    assert_eq!((logins(), world.proxy.opened()), (before + 1, 3));
    world.nothing_went_around(direct, watch);

    let off = json!({ "enabled": false, "host": "", "port": "", "protocol": "" });
    assert_eq!(set(off).await.status, 201);
    eventually("a login without the proxy", || async { (logins() == before + 2).then_some(()) }).await;
    assert_eq!(world.proxy.opened(), 3);
    let row = api.get("/proxy/find/shop").await.good();
    assert_eq!((&row["enabled"], &row["host"], &row["password"]), (&json!(false), &json!(""), &json!("")), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_a_row_that_cannot_be_used_is_not_gone_around() {
    let world = World::start(Kind::Http).await;
    // Not even by the proxy of the service: the operator has chosen another for this instance.
    let home = world.with_global_proxy();
    let engine = home.start().await;
    engine.pair(&world.sim, "shop", PHONE, None).await;
    engine.kill_9().await;
    let (connects, opened) = (world.connects(), world.proxy.opened());

    let mut database = SqliteConnection::establish(&home.data_dir().join("holdfast.db").display().to_string()).unwrap();
    let row = r#"INSERT INTO "Proxy" (id, enabled, host, port, protocol, username, password, "updatedAt", "instanceId")
        SELECT 'c1', 1, 'localhost', 'eighty', 'http', '', '', CURRENT_TIMESTAMP, id FROM "Instance""#;
    diesel::sql_query(row).execute(&mut database).unwrap();
    let engine = home.start().await;
    explained(&engine, Fault::Settings).await;
    assert_eq!((world.connects(), world.proxy.opened()), (connects, opened));
    assert_eq!(engine.api().post("/proxy/set/shop", world.body()).await.status, 201);
    engine.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_a_proxy_whose_name_cannot_be_resolved_is_the_reason_and_is_not_gone_around() {
    let world = World::start(Kind::Http).await;
    let home = world.with_global_proxy().set("PROXY_HOST", "no-such-host.invalid");
    let engine = home.start().await;
    engine.create("shop", None).await;
    let said = explained(&engine, Fault::Unreachable).await;
    assert_eq!((&said["state"], &said["userAction"]), (&json!("connecting"), &json!("check_network")), "{said}");
    assert_eq!((world.connects(), world.proxy.opened()), (0, 0));
}
