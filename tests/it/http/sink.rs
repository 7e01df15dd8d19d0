//! The webhook sink against real receivers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use holdfast::ports::clock::Clock;
use holdfast::ports::outbox::{Delivery, Target};
use holdfast::ports::signing_key::SigningKey;
use holdfast::ports::sink::Sink;
use holdfast::sinks::webhook::{WebhookSettings, WebhookSink};
use holdfast_core::delivery::Outcome;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::InstanceId;
use holdfast_core::network::Networks;
use holdfast_core::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::receiver::{Answer, Receiver};

/// A sink that may call this host, as its receivers are here.
fn sink() -> WebhookSink {
    guarded(&["127.0.0.0/8"], None)
}

fn guarded(networks: &[&str], signing_key: Option<&str>) -> WebhookSink {
    let settings = WebhookSettings {
        timeout: Duration::from_millis(500),
        server_url: Some("https://api.example.com".into()),
        expose_token: true,
        draw_qr: Arc::new(|text| holdfast::http::qr::data_url(text, holdfast::http::qr::Color::default())),
        networks: Networks::parse(networks.iter().copied()).unwrap(),
        signing_key: signing_key.map(|key| SigningKey::parse(key).unwrap()),
    };
    WebhookSink::new(settings, Clock::start()).unwrap()
}

fn delivery(url: &str, headers: Option<Value>, by_events: bool) -> Delivery {
    Delivery {
        seq: 1,
        event_id: "0192-event".into(),
        instance: InstanceId::new("i-1"),
        instance_name: "demo".into(),
        token: Some("TOKEN".into()),
        owner_jid: Some("5511@s.whatsapp.net".into()),
        event: EngineEvent::qr("demo", Some("2@a,b,c,d"), None, None),
        at_ms: 1_761_037_200_123,
        waiting_ms: 1_761_037_200_123,
        tries: 0,
        attempts: 0,
        target: Target { url: url.into(), headers, by_events },
    }
}

fn status(code: u16) -> Outcome {
    Outcome::Status { code, retry_after: None }
}

fn unreachable(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unreachable(why) => why,
        other @ (Outcome::Delivered | Outcome::Status { .. } | Outcome::Unsendable(_)) => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn an_event_arrives_in_its_envelope() {
    let receiver = Receiver::status("200 OK").await;
    let headers = json!({ "apikey": "receivers-own", "jwt_key": "k", "X-Tenant": "7" });
    let mut delivery = delivery(&format!("{}/hook?tenant=7", receiver.url), Some(headers), true);
    let sink = sink();
    assert_eq!(sink.deliver(&delivery).await, Outcome::Delivered);
    delivery.tries = 1;
    assert_eq!(sink.deliver(&delivery).await, Outcome::Delivered);
    let received = receiver.received();
    let first = &received[0];
    assert_eq!(first.line, "POST /hook/qrcode-updated?tenant=7");
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(
        (first.header("apikey"), first.header("x-tenant"), first.header("jwt_key")),
        (Some("receivers-own"), Some("7"), None)
    );
    assert!(first.header("authorization").unwrap().starts_with("Bearer eyJ"));
    let ids: Vec<_> =
        received.iter().map(|one| (one.header("x-holdfast-event-id"), one.header("x-holdfast-attempt"))).collect();
    assert_eq!(ids, [(Some("0192-event"), Some("1")), (Some("0192-event"), Some("2"))]);
    let mut body = first.body.clone();
    let picture = body["data"]["qrcode"]["base64"].take();
    assert!(picture.as_str().unwrap().starts_with("data:image/png;base64,"));
    assert_eq!(
        body,
        json!({
            "event": "qrcode.updated", "instance": "demo",
            "data": { "qrcode": { "instance": "demo", "pairingCode": null, "code": "2@a,b,c,d", "base64": null } },
            "destination": format!("{}/hook?tenant=7", receiver.url), "date_time": "2025-10-21T09:00:00.123Z",
            "sender": "5511@s.whatsapp.net", "server_url": "https://api.example.com", "apikey": "TOKEN",
        })
    );
}

#[actix_web::test]
async fn every_2xx_is_a_delivery_and_everything_else_its_status() {
    for (line, expected) in [
        ("200 OK", Outcome::Delivered),
        ("201 Created", Outcome::Delivered),
        ("299 Odd", Outcome::Delivered),
        ("400 Bad Request", status(400)),
        ("404 Not Found", status(404)),
        ("429 Too Many Requests", status(429)),
        ("500 Internal Server Error", status(500)),
        ("503 Service Unavailable", status(503)),
    ] {
        let receiver = Receiver::status(line).await;
        assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, expected, "{line}");
        assert_eq!(receiver.received()[0].line, "POST /");
    }
}

#[actix_web::test]
async fn redirects_are_not_followed_wherever_they_lead() {
    let elsewhere = Receiver::status("200 OK").await;
    let answer =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
    let receiver = Receiver::answering(Answer::Bytes(answer.into_bytes())).await;
    assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, status(307));
    assert!(elsewhere.received().is_empty());
}

#[actix_web::test]
async fn a_silent_receiver_costs_the_timeout_and_no_more() {
    let receiver = Receiver::answering(Answer::Silence).await;
    let clock = Clock::start();
    let why = unreachable(sink().deliver(&delivery(&receiver.url, None, false)).await);
    assert_eq!(why, "the receiver did not answer within 500 ms");
    assert!(clock.now().since(Timestamp::default()) < Duration::from_secs(5));
}

#[actix_web::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let receiver = Receiver::answering(Answer::Endless).await;
    let clock = Clock::start();
    assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, Outcome::Delivered);
    assert!(clock.now().since(Timestamp::default()) < Duration::from_millis(400));
}

#[actix_web::test]
async fn what_cannot_be_reached_is_a_sentence_without_the_url() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let hangs_up = Receiver::answering(Answer::Close).await;
    let plain = Receiver::status("200 OK").await;
    for url in [
        format!("http://user:s3cret@{closed}/s3cret"),
        format!("{}/s3cret", hangs_up.url),
        // TLS is tried, against somebody who does not speak it.
        format!("{}/s3cret", plain.url.replace("http", "https")),
        "http://no.such.host.invalid/s3cret".to_owned(),
    ] {
        let why = unreachable(sink().deliver(&delivery(&url, None, false)).await);
        assert!(!why.is_empty() && !why.contains("s3cret"), "{url}: {why}");
    }
}

#[actix_web::test]
async fn what_cannot_be_sent_is_told_apart_from_what_cannot_be_reached() {
    let plain = Receiver::status("200 OK").await;
    let unsendable = |outcome: Outcome| match outcome {
        Outcome::Unsendable(why) => why,
        other @ (Outcome::Delivered | Outcome::Status { .. } | Outcome::Unreachable(_)) => panic!("{other:?}"),
    };
    for url in ["ftp://x/s3cret", "vazio", ""] {
        let why = unsendable(sink().deliver(&delivery(url, None, false)).await);
        assert!(!why.is_empty() && !why.contains("s3cret"), "{url}: {why}");
    }
    for (headers, expected) in [
        (json!({ "bad name": "x" }), "bad name"),
        (json!({ "hmac_key": "whsec_s3cret!" }), "hmac_key"),
        (Value::Null, "cannot be read"),
    ] {
        let why = unsendable(sink().deliver(&delivery(&plain.url, Some(headers), false)).await);
        assert!(why.contains(expected) && !why.contains("s3cret"), "{why}");
    }
    assert!(plain.received().is_empty());
}

#[actix_web::test]
async fn a_delivery_is_signed_over_the_very_bytes_that_arrive() {
    let receiver = Receiver::status("200 OK").await;
    let own = json!({ "hmac_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
    let sink = guarded(&["127.0.0.0/8"], Some("the key of all"));
    assert_eq!(sink.deliver(&delivery(&receiver.url, Some(own), false)).await, Outcome::Delivered);
    assert_eq!(sink.deliver(&delivery(&receiver.url, None, false)).await, Outcome::Delivered);
    let received = receiver.received();
    let base64 = base64::engine::general_purpose::STANDARD;
    let own_key = base64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    for (one, key) in received.iter().zip([own_key.as_slice(), b"the key of all"]) {
        let header = |name: &str| one.header(name).unwrap();
        assert_eq!(header("webhook-id"), "0192-event");
        let mut signed = format!("0192-event.{}.", header("webhook-timestamp")).into_bytes();
        signed.extend_from_slice(&one.bytes);
        assert_eq!(header("webhook-signature"), format!("v1,{}", base64.encode(hmac_sha256(key, &signed))));
        assert_eq!(one.header("hmac_key"), None);
    }
    let plain = guarded(&["127.0.0.0/8"], None);
    assert_eq!(plain.deliver(&delivery(&receiver.url, None, false)).await, Outcome::Delivered);
    assert_eq!(receiver.received()[2].header("webhook-signature"), None);
}

/// RFC 2104, computed without the library that the service uses for it.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

#[actix_web::test]
async fn what_is_not_allowed_never_gets_a_byte() {
    let receiver = Receiver::status("200 OK").await;
    let port = receiver.url.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "user:s3cret@127.0.0.1"] {
        let url = format!("http://{host}:{port}/s3cret");
        for networks in [&[][..], &["10.0.0.0/8", "::1"]] {
            let why = unreachable(guarded(networks, None).deliver(&delivery(&url, None, false)).await);
            assert!(why.contains("is a loopback address, which WEBHOOK_ALLOWED_NETWORKS does not allow"), "{why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
    assert_eq!((receiver.received().len(), receiver.connections()), (0, 0));
    for networks in [["127.0.0.1"], ["127.0.0.0/8"], ["private"], ["*"]] {
        let outcome = guarded(&networks, None).deliver(&delivery(&receiver.url, None, false)).await;
        assert_eq!(outcome, Outcome::Delivered, "{networks:?}");
    }
}

#[actix_web::test]
async fn what_a_receiver_asks_for_is_heard() {
    for (asked, expected) in
        [("7", Some(7)), (" 120 ", Some(120)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)]
    {
        let head = format!("HTTP/1.1 429 Slow down\r\nretry-after: {asked}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(Answer::Bytes(head.into_bytes())).await;
        let expected = Outcome::Status { code: 429, retry_after: expected.map(Duration::from_secs) };
        assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, expected, "{asked}");
    }
}

#[actix_web::test]
async fn garbage_and_crumbs_cost_the_timeout_and_no_more() {
    for answer in [Answer::Bytes(b"\x00\xff this is no HTTP \r\n\r\n".to_vec()), Answer::Crumbs] {
        let receiver = Receiver::answering(answer).await;
        unreachable(sink().deliver(&delivery(&receiver.url, None, false)).await);
    }
    // A head, and then crumbs: the answer has been given.
    let receiver = Receiver::answering(Answer::SlowBody).await;
    assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, Outcome::Delivered);
}
