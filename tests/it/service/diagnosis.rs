//! Setups that are really broken, and whether what is wrong with them is what is said.

use holdfast_sim::{Options, Simulator};
use serde_json::{Value, json};

use super::configuration::{Said, run};
use crate::harness::engine::Home;
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::provider::{API_KEY, Provider};
use crate::harness::redis::Redis;

const SHOP: &str = "5511999990001";
const PREFIX: &str = "an-installation";
const GUIDE: &str = include_str!("../../../docs/migrating-from-evolution.md");
const PRISMA: &str = include_str!("../store/prisma.sql");

/// The codes of a live check that are not about the database's age.
async fn codes(home: &Home) -> Vec<String> {
    let said = run(home, &["check-config", "--live", "--json"]).await;
    assert_eq!(said.code, Some(0), "nothing here keeps the engine from starting: {}", said.out);
    assert!(!said.out.contains("s3cret"), "{}", said.out);
    said.findings().into_iter().map(|(code, ..)| code).filter(|code| code != "live-database-older").collect()
}

/// What the doctor says as JSON.
async fn doctor(home: &Home) -> (Said, Value) {
    let said = run(home, &["doctor", "--json"]).await;
    let view = said.view();
    (said, view)
}

fn found(view: &Value, place: &str, code: &str) -> bool {
    let findings = view.pointer(place).and_then(Value::as_array).expect("a list of findings");
    findings.iter().any(|finding| finding["code"] == code)
}

fn with_redis(home: Home, uri: &str) -> Home {
    home.set("CACHE_REDIS_ENABLED", "true")
        .set("CACHE_REDIS_SAVE_INSTANCES", "true")
        .set("CACHE_REDIS_PREFIX_KEY", PREFIX)
        .set("CACHE_REDIS_URI", uri)
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_does_not_connect_says_why_and_the_engine_goes_on() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let redis = Redis::start_with(&["--appendonly", "yes"]).await.unwrap();
    let home = with_redis(Home::new(sim.ws_url()), &redis.uri());
    assert_eq!(codes(&home).await, [""; 0]);
    assert_eq!(redis.ask(0, &["DBSIZE"]).await.unwrap(), ["0"], "nothing is changed by looking");

    let home = with_redis(home, &redis.uri_as("somebody:s3cret@", 0));
    assert_eq!(codes(&home).await, ["live-redis-refused"]);

    redis.kill();
    let home = with_redis(home, &redis.uri());
    assert_eq!(codes(&home).await, ["live-redis-unreachable"]);
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    eventually("the log to say it", || async { home.log().contains("live-redis-unreachable").then_some(()) }).await;
    let (said, view) = doctor(&home).await;
    assert!(found(&view, "/surroundings", "live-redis-unreachable"), "{}", said.out);
    assert_eq!((said.code, &view["instances"][0]["state"]), (Some(1), &json!("open")), "{}", said.out);

    assert!(redis.run().await.unwrap());
    let (said, view) = doctor(&home).await;
    assert_eq!((said.code, &view["surroundings"]), (Some(0), &json!([])), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_does_with_copies_is_said_and_what_it_keeps_to_itself_is_no_error() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let redis = Redis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]).await.unwrap();
    let home = with_redis(Home::new(sim.ws_url()), &redis.uri());
    let mut seen = codes(&home).await;
    seen.sort();
    assert_eq!(seen, ["live-redis-evicts", "live-redis-not-persistent"]);

    let rights = ["on", ">s3cret", "~an-installation:*", "+@read", "+@write", "+@scripting", "+@connection"];
    let user = |name: &'static str, more: &'static str| {
        let redis = &redis;
        async move {
            let rule = [&["ACL", "SETUSER", name], &rights[..], &[more]].concat();
            redis.ask(0, &rule).await.unwrap();
        }
    };
    user("hosted", "-info").await;
    let home = with_redis(home, &redis.uri_as("hosted:s3cret@", 0));
    assert_eq!(codes(&home).await, ["live-redis-untold"]);
    user("scriptless", "-eval").await;
    let home = with_redis(home, &redis.uri_as("scriptless:s3cret@", 0));
    assert_eq!(codes(&home).await, ["live-redis-refused"], "copies are written by a script");
    let home = with_redis(home, &redis.uri_as("hosted:s3cret@", 0)).set("CACHE_REDIS_PREFIX_KEY", "another");
    assert_eq!(codes(&home).await, ["live-redis-refused"], "the user may not read these keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_for_which_nobody_vouches_is_not_reached() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let redis = Redis::start_with_tls(&certified.cert.pem(), &certified.signing_key.serialize_pem()).await.unwrap();
    let home = with_redis(Home::new(sim.ws_url()), &redis.uri());
    assert!(codes(&home).await.contains(&"live-redis-unreachable".to_owned()));
    let authorities = home.data_dir().with_file_name("ca.pem");
    std::fs::write(&authorities, certified.cert.pem()).unwrap();
    let home = home.set("CACHE_REDIS_CA_FILE", &authorities.display().to_string());
    assert_eq!(codes(&home).await, ["live-redis-not-persistent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_under_one_prefix_notice_each_other() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let redis = Redis::start_with(&["--appendonly", "yes"]).await.unwrap();
    let first = with_redis(Home::new(sim.ws_url()), &redis.uri());
    let engine = first.start().await;
    let marker = eventually("the marker of the installation", || async {
        let held = redis.ask(0, &["GET", "an-installation:holdfast:installation"]).await.unwrap();
        held.into_iter().next().filter(|held| !held.is_empty())
    })
    .await;
    assert_eq!(codes(&first).await, [""; 0], "it is its own");

    let second = with_redis(Home::new(sim.ws_url()), &redis.uri());
    assert_eq!(codes(&second).await, ["live-redis-prefix-taken"]);
    let other = second.start().await;
    eventually("the second engine to say it", || async {
        second.log().contains("live-redis-prefix-taken").then_some(())
    })
    .await;
    assert_eq!(redis.ask(0, &["GET", "an-installation:holdfast:installation"]).await.unwrap(), [marker]);
    assert!(!first.log().contains("live-redis-prefix-taken"), "{}", first.log());
    drop((engine, other));
    let apart = second.set("CACHE_REDIS_PREFIX_KEY", "another-installation");
    assert_eq!(codes(&apart).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_for_files_is_looked_at_too() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let provider = Provider::start().unwrap();
    let port = provider.url().rsplit(':').next().unwrap().to_owned();
    let home = Home::new(sim.ws_url())
        .set("PROVIDER_ENABLED", "true")
        .set("PROVIDER_HOST", "127.0.0.1")
        .set("PROVIDER_PORT", &port);
    assert_eq!(codes(&home).await, ["live-provider-refused"], "it takes another key");
    let home = home.set("AUTHENTICATION_API_KEY", API_KEY);
    assert_eq!(codes(&home).await, [""; 0]);
    let home = home.set("PROVIDER_PORT", "1");
    assert_eq!(codes(&home).await, ["live-provider-unreachable"]);

    let home = home.unset("PROVIDER_ENABLED");
    let copies = home.data_dir().with_file_name("copies");
    let home = home.set("PROVIDER_DIR", &copies.display().to_string());
    assert_eq!(codes(&home).await, ["live-provider-dir-beside"]);
    assert!(!copies.exists(), "nothing is made");
    std::fs::write(&copies, "").unwrap();
    let home = home.set("PROVIDER_DIR", &copies.join("in-a-file").display().to_string());
    assert!(codes(&home).await.contains(&"live-provider-dir-read-only".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_the_database_that_is_not_the_truth_is_told_from_it() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    let (said, view) = doctor(&home).await;
    assert_eq!((said.code, view["exitCode"].as_u64()), (Some(0), Some(0)), "{}", said.out);
    assert_eq!(
        (&view["usable"], &view["engine"]["reached"], &view["engine"]["findings"]),
        (&json!(true), &json!(true), &json!([]))
    );
    let shop = &view["instances"][0];
    assert_eq!(
        (&shop["name"], &shop["state"], &shop["phase"], &shop["code"]),
        (&json!("shop"), &json!("open"), &json!("online"), &Value::Null)
    );
    assert!(view["openFiles"]["need"].as_u64() > view["openFiles"]["open"].as_u64(), "{}", said.out);

    home.execute(r#"UPDATE "Instance" SET "connectionStatus" = 'close'"#);
    let (said, view) = doctor(&home).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(found(&view, "/engine/findings", "live-state-mismatch"), "{}", said.out);
    assert_eq!(view["instances"][0]["state"], "open", "the engine is believed");

    // The settings at hand are not those of the engine that answers.
    let other = Home::new(sim.ws_url());
    let elsewhere = run(&other, &["doctor", "--json", "--url", &home.url()]).await;
    assert!(found(&elsewhere.view(), "/engine/findings", "live-engine-elsewhere"), "{}", elsewhere.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_do_not_come_back_are_explained_by_another_name_or_another_key() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    engine.kill_9().await;
    let home = home.set("DATABASE_CONNECTION_CLIENT_NAME", "another");
    assert_eq!(codes(&home).await, ["live-database-other-names"]);

    let home = home.unset("DATABASE_CONNECTION_CLIENT_NAME").set("SESSION_ENCRYPTION_KEY", &"5a".repeat(32));
    let said = run(&home, &["check-config", "--live", "--json"]).await;
    assert_eq!(said.code, Some(78), "{}", said.out);
    assert!(said.findings().iter().any(|(code, ..)| code == "live-database-other-key"), "{}", said.out);
    let refused = run(&home, &["serve"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("[live-database-other-key]"), "{}", refused.err);

    let home = home.unset("SESSION_ENCRYPTION_KEY");
    home.start().await.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_and_not_done_is_named_at_the_start_and_wherever_somebody_asks() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.create("shop", Some("http://me:s3cret@127.0.0.1:9/s3cret?k=s3cret")).await;
    engine.kill_9().await;
    let row = r#"INSERT INTO "Chatwoot" ("id", "enabled", "updatedAt", "instanceId") SELECT 'c', 1, CURRENT_TIMESTAMP, id FROM "Instance""#;
    home.execute(row);
    home.execute(r#"UPDATE "Instance" SET "integration" = 'WHATSAPP-BUSINESS'"#);

    let home = home.set("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8");
    let engine = home.start().await;
    let shown = eventually("the engine to have looked through its rows", || async {
        let shown = engine.api().get("/engine/config").await.good();
        shown.to_string().contains("stored-webhook-not-allowed").then_some(shown)
    })
    .await;
    let (said, view) = doctor(&home).await;
    for (findings, place) in [(&shown, "/findings"), (&view, "/surroundings")] {
        assert!(found(findings, place, "stored-integration-not-delivered"), "{findings}");
        assert!(found(findings, place, "stored-webhook-not-allowed"), "{findings}");
        assert!(findings.to_string().contains("shop (WHATSAPP-BUSINESS)"), "{findings}");
    }
    for text in [shown.to_string(), said.out, home.log()] {
        assert!(text.contains("stored-webhook-not-allowed") && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_evolution_goes_over_and_back_as_the_guide_says() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let server = Server::start().await.unwrap();
    server.ask("postgres", PRISMA).await.unwrap();
    let home = Home::new(sim.ws_url())
        .set("DATABASE_CONNECTION_URI", &format!("{}?schema=evolution_api", server.url("postgres")))
        .set("DATABASE_CONNECTION_CLIENT_NAME", "holdfast_test")
        .set("NODE_ID", "the-first")
        .set("NODE_URL", "http://127.0.0.1:8080");
    assert_eq!(codes(&home).await, ["stored-integration-not-delivered"], "Chatwoot is enabled there");
    server.ask("postgres", r#"UPDATE evolution_api."Proxy" SET "enabled" = false"#).await.unwrap();

    let engine = home.start().await;
    assert_eq!(engine.state("theirs").await["state"], "close");
    engine.scan(&sim, "theirs", SHOP).await;
    engine.reaches("theirs", "open").await;
    assert!(home.log().contains("credentials of another program"), "{}", home.log());
    engine.create("ours", None).await;
    let (said, view) = doctor(&home).await;
    assert_eq!(view["nodes"].as_array().map(Vec::len), Some(1), "{}", said.out);
    assert_eq!(view["nodes"][0]["name"], "the-first", "{}", said.out);
    engine.kill_9().await;
    let creds = r#"SELECT "creds" FROM evolution_api."Session""#;
    assert!(server.ask("postgres", creds).await.unwrap()[0].contains("holdfast/"));

    let back = GUIDE.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    server.ask("postgres", &format!("SET search_path TO evolution_api; {back}")).await.unwrap();
    let back = server.ask("postgres", creds).await.unwrap();
    assert!(back.len() == 1 && back[0].contains("noiseKey"), "{back:?}");

    let home = home.set("SESSION_ENCRYPTION_KEY", &"5a".repeat(32));
    let said = run(&home, &["check-config", "--live", "--json"]).await;
    assert!(said.findings().iter().any(|(code, ..)| code == "live-database-other-key"), "{}", said.out);
}
