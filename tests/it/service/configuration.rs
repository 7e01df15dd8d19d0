use holdfast_sim::{Options, Simulator};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::engine::{Home, KEY};
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;

const SHOP: &str = "5511999990001";
/// Nobody listens there.
const NOWHERE: &str = "ws://127.0.0.1:1/";

pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    /// What was said as JSON.
    pub(super) fn view(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON")
    }

    /// The findings of JSON: code, variable, severity.
    pub(super) fn findings(&self) -> Vec<(String, String, String)> {
        let view = self.view();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let findings = view["findings"].as_array().expect("findings").iter();
        findings.map(|found| (text(&found["code"]), text(&found["variable"]), text(&found["severity"]))).collect()
    }
}

pub(super) async fn run(home: &Home, arguments: &[&str]) -> Said {
    let output = home.command(arguments).output().await.expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn check_config_says_as_json_what_is_wrong_what_is_missing_and_what_is_in_force() {
    let home = Home::new(NOWHERE)
        .set("DIAL_CONCURENCY", "9090")
        .set("CHATWOOT_ENABLED", "true")
        .set("DATABASE_CONNECTION_URI", "postgresql://me:s3cret@127.0.0.1:1/db")
        .set("QRCODE_LIMIT", "many");
    let said = run(&home, &["check-config", "--json"]).await;
    assert_eq!(said.code, Some(78), "{}", said.err);
    let found = |code: &str, variable: &str, severity: &str| {
        said.findings().contains(&(code.to_owned(), variable.to_owned(), severity.to_owned()))
    };
    assert!(found("cfg-not-a-number", "QRCODE_LIMIT", "error"), "{}", said.out);
    assert!(found("cfg-not-honoured", "CHATWOOT_ENABLED", "warning"), "{}", said.out);
    assert!(found("cfg-did-you-mean", "DIAL_CONCURENCY", "warning"), "{}", said.out);
    assert!(found("cfg-client-name", "DATABASE_CONNECTION_CLIENT_NAME", "warning"), "{}", said.out);
    assert!(!said.out.contains("s3cret") && !said.out.contains(KEY), "{}", said.out);
    let view: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(view["usable"], false);
    assert_eq!(view["critical"][0]["name"], "DATABASE_CONNECTION_CLIENT_NAME");
    assert_eq!(view["critical"][0]["findings"], json!(["cfg-client-name"]));

    let text = run(&home.unset("QRCODE_LIMIT"), &["check-config"]).await;
    assert_eq!(text.code, Some(0), "{}", text.err);
    assert!(
        text.out.contains("Critical:\n  DATABASE_CONNECTION_CLIENT_NAME = evolution (warning, by default)"),
        "{}",
        text.out
    );
    assert!(text.err.contains("did you mean DIAL_CONCURRENCY?"), "{}", text.err);
}

#[tokio::test]
async fn variables_come_from_the_file_that_is_named_and_those_that_are_set_win() {
    let home = Home::new(NOWHERE).set("QRCODE_LIMIT", "7");
    let file = home.data_dir().with_file_name("other.env");
    std::fs::write(&file, "QRCODE_LIMIT=8\nSEND_RATE_PER_MINUTE=9\n").unwrap();
    let said = run(&home, &["check-config", "--json", "--env-file", file.to_str().unwrap()]).await;
    let view: Value = serde_json::from_str(&said.out).unwrap();
    let value = |name: &str| {
        let values = view["values"].as_array().unwrap();
        values.iter().find(|value| value["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!((value("QRCODE_LIMIT"), value("SEND_RATE_PER_MINUTE")), ("7".to_owned(), "9".to_owned()));

    std::fs::write(&file, "A LINE WITH s3cret\n").unwrap();
    for file in [file.to_str().unwrap(), "missing.env"] {
        let said = run(&home, &["check-config", "--env-file", file]).await;
        assert_eq!(said.code, Some(78));
        assert!(said.err.contains("cfg-env-file") && !said.err.contains("s3cret"), "{}", said.err);
    }
}

#[tokio::test]
async fn the_settings_of_a_running_engine_are_shown_to_the_global_key_alone_and_without_secrets() {
    let home = Home::new(NOWHERE).set("WEBHOOK_HMAC_KEY", "s3cret-of-webhooks").set("RABBITMQ_ENABLED", "true");
    let engine = home.start().await;
    let shown = engine.api().get("/engine/config").await.good();
    assert_eq!(shown["findings"][0]["code"], "cfg-not-honoured");
    assert!(!shown.to_string().contains("s3cret") && !shown.to_string().contains(KEY), "{shown}");
    assert!(
        shown["values"]
            .as_array()
            .unwrap()
            .iter()
            .any(|value| value["name"] == "WEBHOOK_HMAC_KEY" && value["value"] == "[hidden]")
    );
    assert_eq!(engine.api().with_key("another").get("/engine/config").await.status, 401);
    assert!(home.log().contains("cfg-not-honoured"), "said at the start: {}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_changes_while_the_engine_runs_and_names_nobody() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).unset("RUST_LOG").set("LOG_LEVEL", "ERROR").set("LOG_BAILEYS", "off");
    let engine = home.start().await;
    let api = engine.api();
    assert!(!home.log().contains("Holdfast listens"), "{}", home.log());
    let put = async |body: Value| api.call(Method::PUT, "/engine/log", Some(body.to_string())).await;

    for wrong in [
        json!({ "level": "LOUD" }),
        json!({ "baileys": "loud" }),
        json!({ "directives": "holdfast=loud" }),
        json!({ "color": true }),
    ] {
        assert_eq!(put(wrong.clone()).await.status, 400, "{wrong}");
    }
    assert_eq!(api.get("/engine/log").await.good(), json!({ "level": "ERROR", "baileys": "off", "directives": null }));
    assert_eq!(api.with_key("another").call(Method::PUT, "/engine/log", Some("{}".to_owned())).await.status, 401);

    let changed = put(json!({ "level": "ERROR,WARN,INFO", "baileys": "trace" })).await.good();
    assert_eq!(changed, json!({ "level": "ERROR,WARN,INFO", "baileys": "trace", "directives": null }));
    engine.pair(&sim, "shop", SHOP, None).await;
    eventually("lines of the library", || async { home.log().contains("\"log.target\":\"").then_some(()) }).await;
    let log = home.log();
    assert!(!log.contains(SHOP), "{}", log.lines().find(|line| line.contains(SHOP)).unwrap_or_default());
    assert!(log.contains("@s.whatsapp.net"), "the library names whom it speaks of:\n{log}");
    assert!(!log.contains("\"DEBUG\",\"fields\":{\"message\":\"Redial"), "{log}");

    let directives = put(json!({ "directives": "error,holdfast::http=info" })).await.good();
    assert_eq!(directives["directives"], "error,holdfast::http=info");
    assert_eq!(put(json!({ "level": "ERROR" })).await.good()["directives"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_check_finds_what_is_down_and_changes_nothing() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let well = run(&home, &["check-config", "--live", "--json"]).await;
    assert_eq!(well.code, Some(0), "{}", well.out);
    let codes = |said: &Said| {
        said.findings().into_iter().map(|(code, ..)| code).filter(|code| code.starts_with("live-")).collect::<Vec<_>>()
    };
    assert_eq!(codes(&well), ["live-database-older"], "nothing is there yet: {}", well.out);
    assert!(!home.data_dir().exists());

    home.start().await.kill_9().await;
    assert_eq!(codes(&run(&home, &["check-config", "--live", "--json"]).await), [""; 0]);

    let unreachable = run(&home.set("WHATSAPP_WEBSOCKET_URL", NOWHERE), &["check-config", "--live", "--json"]).await;
    assert_eq!((unreachable.code, codes(&unreachable)), (Some(0), vec!["live-whatsapp-unreachable".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_check_looks_at_a_database_server_as_it_is() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let server = Server::start().await.unwrap();
    let home = Home::new(sim.ws_url())
        .set("DATABASE_CONNECTION_URI", &server.url("postgres"))
        .set("DATABASE_CONNECTION_CLIENT_NAME", "a-name-of-its-own")
        .set("NODE_URL", "http://127.0.0.1:8080");
    let codes = |said: &Said| said.findings().into_iter().map(|(code, ..)| code).collect::<Vec<_>>();
    assert_eq!(codes(&run(&home, &["check-config", "--live", "--json"]).await), ["live-database-older"]);
    home.start().await.kill_9().await;
    let home = home.set("DATABASE_POOL_SIZE", "500");
    assert_eq!(codes(&run(&home, &["check-config", "--live", "--json"]).await), ["live-database-connections"]);
    server.kill();
    let down = run(&home, &["check-config", "--live", "--json"]).await;
    assert_eq!((down.code, codes(&down)), (Some(78), vec!["live-database-unreachable".to_owned()]), "{}", down.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_of_each_instance_what_is_wrong_and_what_to_do() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    let well = run(&home, &["doctor"]).await;
    assert_eq!(well.code, Some(0), "{}{}", well.out, well.err);
    assert!(well.out.contains("shop: open (online)"), "{}", well.out);

    // Slow reconnection: the way to WhatsApp is closed.
    sim.stop().await.unwrap();
    eventually("the instance to say that WhatsApp is away", || async {
        (engine.state("shop").await["code"] == "net-unreachable").then_some(())
    })
    .await;
    // While it dials there is no next try to tell of.
    let away = eventually("the doctor to tell why, and when it is tried again", || async {
        let away = run(&home, &["doctor"]).await;
        let told = ["live-whatsapp-unreachable", "shop: connecting", "[net-unreachable]", "the next try is at"];
        told.iter().all(|said| away.out.contains(said)).then_some(away)
    })
    .await;
    assert_eq!(away.code, Some(1), "{}", away.out);
    assert!(!away.out.contains(KEY), "{}", away.out);

    // Nobody runs, and nobody can: the database is away.
    engine.kill_9().await;
    let home = home
        .set("DATABASE_CONNECTION_URI", "postgresql://me:s3cret@127.0.0.1:1/db")
        .set("CACHE_REDIS_SAVE_INSTANCES", "true");
    let down = run(&home, &["doctor"]).await;
    assert_eq!(down.code, Some(78), "{}", down.out);
    for said in [
        "live-database-unreachable",
        "cfg-client-name",
        "[cfg-redis-off] CACHE_REDIS_SAVE_INSTANCES",
        "no engine answers",
    ] {
        assert!(down.out.contains(said), "{said} in:\n{}", down.out);
    }
    assert!(!down.out.contains("s3cret"), "{}", down.out);
}
