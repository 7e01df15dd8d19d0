use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::Api;
use crate::harness::engine::{Home, KEY};

/// Whatever comes in, the answer has the contract's shape, nothing changes, and nothing secret is logged.
#[tokio::test]
async fn bad_input_gets_the_contracts_answer_and_changes_nothing() {
    let home = Home::new("ws://127.0.0.1:1/");
    let engine = home.start().await;
    let api = engine.api();
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS", "token": "a-token-of-its-own" });
    api.post("/instance/create", body).await.good();
    let before = api.get("/instance/fetchInstances").await.good();

    let long = "x".repeat(1 << 20);
    let named = |name: &str| json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS" }).to_string();
    let (post, get, delete) = (Method::POST, Method::GET, Method::DELETE);
    let cases = [
        (post.clone(), "/instance/create", Some("{ not json".to_owned()), 400),
        (post.clone(), "/instance/create", Some("[1, 2".to_owned()), 400),
        (post.clone(), "/instance/create", Some("\"text\"".to_owned()), 400),
        (post.clone(), "/instance/create", Some(json!({ "instanceName": 7, "integration": [] }).to_string()), 400),
        (post.clone(), "/instance/create", Some(named("")), 400),
        (post.clone(), "/instance/create", Some(named("shop")), 403),
        (post.clone(), "/instance/create", Some(named("a\u{0}b\nc")), 400),
        (post.clone(), "/instance/create", Some(named(&long)), 413),
        (post.clone(), "/instance/create", Some(named(&long[..4096])), 400),
        (post.clone(), "/instance/create", Some(json!({ "instanceName": "n", "integration": "FAX" }).to_string()), 400),
        (post.clone(), "/message/sendText/shop", Some("{}".to_owned()), 400),
        (post.clone(), "/message/sendText/shop", Some(json!({ "number": 5, "text": "x" }).to_string()), 400),
        (post.clone(), "/message/sendText/nobody", Some(json!({ "number": "5", "text": "x" }).to_string()), 404),
        (post.clone(), "/webhook/set/shop", Some("{}".to_owned()), 400),
        (
            post.clone(),
            "/webhook/set/shop",
            Some(json!({ "webhook": { "enabled": true, "url": "http://x/", "events": ["NO_SUCH"] } }).to_string()),
            400,
        ),
        (get.clone(), "/instance/connect/nobody", None, 404),
        (get.clone(), "/instance/connectionState/%00", None, 404),
        (get, "/no/such/route", None, 404),
        (delete.clone(), "/instance/logout/shop", None, 400),
        (delete, "/instance/delete/nobody", None, 404),
    ];
    for (method, path, body, status) in cases {
        let sent = body.clone().unwrap_or_default();
        let answer = api.call(method.clone(), path, body).await;
        let what = format!("{method} {path} {}: {answer:?}", &sent[..sent.len().min(80)]);
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.body["status"], status, "{what}");
        assert!(answer.body["error"].is_string() && !answer.body["response"]["message"].is_null(), "{what}");
    }
    assert_eq!(api.get("/instance/fetchInstances").await.good(), before, "bad input has changed something");
    wrong_keys(&api).await;
    assert_eq!(api.get("/instance/fetchInstances").await.good(), before, "a wrong key has changed something");
    for secret in [KEY, "a-token-of-its-own", "a-guessed-key", &long[..64]] {
        assert!(!home.log().contains(secret), "the log holds {secret:?}");
    }
}

async fn wrong_keys(api: &Api) {
    let other = json!({ "instanceName": "other", "integration": "WHATSAPP-BAILEYS", "token": "another-token" });
    api.post("/instance/create", other).await.good();
    for key in ["a-guessed-key", "another-token", "A-KEY-FOR-TESTS-ONLY"] {
        let stranger = api.with_key(key);
        for (method, path) in [
            (Method::GET, "/instance/connect/shop"),
            (Method::DELETE, "/instance/delete/shop"),
            (Method::POST, "/instance/restart/shop"),
        ] {
            // The path names the instance; a query never does.
            for query in ["", "?instanceName=other"] {
                let answer = stranger.call(method.clone(), &format!("{path}{query}"), None).await;
                assert_eq!(
                    (answer.status, &answer.body["response"]["message"]),
                    (401, &json!("Unauthorized")),
                    "{method} {path}{query}"
                );
            }
        }
    }
    let rows = api.with_key("another-token").get("/instance/fetchInstances").await.good();
    let names: Vec<&Value> = rows.as_array().into_iter().flatten().map(|row| &row["name"]).collect();
    assert_eq!(names, ["other"]);
    api.delete("/instance/delete/other").await.good();
}
