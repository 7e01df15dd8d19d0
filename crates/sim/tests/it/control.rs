//! The control interface over real HTTP.

use holdfast_sim::{Options, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, Link};

pub(crate) async fn call(simulator: &Simulator, method: &str, path: &str, body: &str) -> (u16, Value) {
    let authority = simulator.control_url().strip_prefix("http://").unwrap();
    let mut tcp = TcpStream::connect(authority).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}")))
}

#[tokio::test]
async fn everything_about_a_client_can_be_read_over_http() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (_, health) = call(&simulator, "GET", "/health", "").await;
    assert_eq!(
        health,
        json!({
            "ws": simulator.ws_url(),
            "control": simulator.control_url(),
            "media": simulator.health().media,
            "rootPublicKey": simulator.root_public_key(),
        })
    );

    let client = Client::new();
    let mut link = Link::register(&simulator, &client).await;
    let reference = link.reference().await;
    let body = json!({ "qr": client.qr(&reference), "phone": "+55 11 99999-0001" }).to_string();
    let (scanned, address) = tokio::join!(call(&simulator, "POST", "/scan", &body), link.sign(&client, |_| {}));
    assert_eq!(scanned, (200, json!({ "jid": address.to_string(), "lid": address.lid_jid().to_string() })));
    link.until_closed().await;
    let client = Client { address: Some(address), ..client };
    let mut link = client.log_in(&simulator).await;

    let (status, written) = call(
        &simulator,
        "POST",
        "/message",
        &json!({ "from": "5511888880001", "to": "5511999990001", "text": "hi" }).to_string(),
    )
    .await;
    assert_eq!(status, 200);
    link.next_tagged("message").await;
    let (_, waited) = call(&simulator, "GET", "/wait?type=message-out&jid=5511999990001&timeoutMs=5000", "").await;
    assert_eq!(waited["detail"]["id"], written["id"]);
    link.ping().await;

    let (_, counts) = call(&simulator, "GET", "/counters?jid=5511999990001:1@s.whatsapp.net", "").await;
    for (key, value) in [
        ("logins", json!(1)),
        ("pings", json!(1)),
        ("current", json!(1)),
        ("queued", json!(1)),
        ("overlapped", json!(false)),
        ("countersReused", json!(0)),
    ] {
        assert_eq!(counts[key], value, "{key}");
    }
    assert!(counts["lastPingAt"].is_u64());
    let (_, sessions) = call(&simulator, "GET", "/sessions", "").await;
    assert_eq!(
        (&sessions[0]["jid"], &sessions[0]["state"]),
        (&json!("5511999990001:1@s.whatsapp.net"), &json!("open"))
    );
    let (_, accounts) = call(&simulator, "GET", "/accounts", "").await;
    assert_eq!((&accounts[0]["phone"], &accounts[0]["devices"][0]["pending"]), (&json!("5511999990001"), &json!(1)));
    let (_, messages) = call(&simulator, "GET", "/messages", "").await;
    assert_eq!(messages, json!([]));
    let (_, last) = call(&simulator, "GET", "/events?last=1", "").await;
    assert_eq!(last[0]["type"], "ping");
    let (_, none) = call(&simulator, "GET", &format!("/events?since={}", last[0]["seq"]), "").await;
    assert_eq!(none, json!([]));
    let (_, hit) =
        call(&simulator, "POST", "/fault", "{\"target\":\"open\",\"action\":\"stream-error\",\"code\":503}").await;
    assert_eq!(hit, json!({ "hit": 1 }));
}

#[tokio::test]
async fn a_bad_request_is_answered_with_a_sentence() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    for (method, path, body, expected) in [
        ("POST", "/scan", "not json", 400),
        ("POST", "/scan", "{}", 400),
        ("POST", "/scan", "{\"qr\":\"x\",\"fone\":\"1\"}", 400),
        ("POST", "/pairing-code", "{\"phone\":\"nobody\",\"code\":\"ABCD1234\"}", 400),
        ("POST", "/pairing-code", "{\"phone\":\"5511999990001\",\"code\":\"1234\"}", 400),
        ("POST", "/pairing-code", "{\"phone\":\"5511999990001\",\"code\":\"ABCD-1234\"}", 404),
        ("POST", "/message", "{\"from\":\"5511888880001\",\"to\":\"nobody\",\"text\":\"x\"}", 400),
        ("POST", "/message", "{\"from\":\"5511888880001\",\"to\":\"5511999990001\",\"text\":\"x\"}", 409),
        ("POST", "/fault", "{\"target\":\"open\",\"action\":\"explode\"}", 400),
        ("POST", "/fault", "{\"target\":\"\",\"action\":\"rst\"}", 400),
        ("POST", "/fault", "{\"target\":\"5511999990001\",\"action\":\"failure\"}", 400),
        ("GET", "/wait?type=nonsense", "", 400),
        ("GET", "/wait?type=login&timeoutMs=1", "", 408),
        ("GET", "/counters?jid=nobody", "", 400),
        ("GET", "/nowhere", "", 404),
        ("GET", "/scan", "", 404),
    ] {
        let (status, answer) = call(&simulator, method, path, body).await;
        assert_eq!(status, expected, "{method} {path} {body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|sentence| sentence.len() > 10), "{answer}");
    }
}
