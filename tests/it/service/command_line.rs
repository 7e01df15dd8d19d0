use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use holdfast_sim::{Options, ScanRequest, Simulator};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::engine::{Home, KEY};
use crate::harness::eventually::eventually;

#[tokio::test]
async fn s52_check_config_reports_every_mistake_at_once_and_no_secret() {
    let home = Home::new("http://not-a-websocket")
        .set("SERVER_PORT", "eighty")
        .set("LOG_COLOR", "yes")
        .set("DATABASE_PROVIDER", "mysql")
        .set("RECONNECT_BASE_MS", "60000");
    for arguments in [&["check-config"][..], &["serve"], &[]] {
        let output = home.command(arguments).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        for code in ["cfg-websocket-url", "cfg-not-a-number", "cfg-not-a-boolean", "cfg-database-mysql", "cfg-backoff"]
        {
            assert_eq!(said.matches(code).count(), 1, "{code} in:\n{said}");
        }
        assert!(!said.contains(KEY) && !said.contains("eighty"), "{said}");
    }
    let good = Home::new("ws://127.0.0.1:7300/ws/chat").command(&["check-config"]).output().await.unwrap();
    assert_eq!(good.status.code(), Some(0));
}

#[tokio::test]
async fn a_missing_key_is_made_kept_and_shown_once() {
    let home = Home::new("ws://127.0.0.1:1/").unset("AUTHENTICATION_API_KEY");
    let engine = home.start().await;
    let file = home.data_dir().join("api-key");
    let key = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    for kept in ["api-key", "session-key"] {
        let mode = std::fs::metadata(home.data_dir().join(kept)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{kept}");
    }
    let api = engine.api().with_key(&key);
    assert_eq!(api.post("/verify-creds", serde_json::json!({})).await.status, 200);
    assert_eq!(engine.api().post("/verify-creds", serde_json::json!({})).await.status, 401);
    engine.kill_9().await;
    let engine = home.start().await;
    assert_eq!(engine.api().with_key(&key).get("/instance/fetchInstances").await.status, 200);
    assert_eq!(home.log().matches(&key).count(), 1, "shown once");
}

#[tokio::test(flavor = "multi_thread")]
async fn pair_shows_a_code_and_the_state_until_it_is_open() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    let mut pair = home.command(&["pair", "shop"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(pair.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let drawn = line.contains('█') || line.contains('▀') || line.contains('▄');
        said.push(line);
        if drawn && said.iter().filter(|line| line.contains('█')).count() == 10 {
            let shown = eventually("the code", || async {
                let shown = engine.api().get("/instance/connect/shop").await.good();
                shown["code"].as_str().map(ToOwned::to_owned)
            })
            .await;
            sim.scan(&ScanRequest { qr: shown, ..ScanRequest::default() }).await.unwrap();
        }
    }
    assert!(pair.wait().await.unwrap().success(), "{said:?}");
    assert!(said.contains(&"shop: online".to_owned()), "{said:?}");
}

#[tokio::test]
async fn pair_without_an_engine_says_what_to_do() {
    let home = Home::new("ws://127.0.0.1:1/");
    let output = home.command(&["pair", "shop"]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no engine answers") && said.contains("SERVER_PORT"), "{said}");
}

#[tokio::test]
async fn a_second_engine_on_the_same_data_waits_and_takes_over_when_the_first_is_gone() {
    let home = Home::new("ws://127.0.0.1:1/");
    let first = home.start().await;
    let second = home.spawn();
    eventually("the second engine to wait", || async {
        home.log().contains("Another process uses the data directory").then_some(())
    })
    .await;
    first.kill_9().await;
    let api = second.api();
    eventually("the second engine to be ready", || async {
        api.try_call(reqwest::Method::GET, "/health/ready", None)
            .await
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    })
    .await;
}
