//! The webhook sink against real receivers.

use std::sync::Arc;
use std::time::Duration;

use holdfast::ports::clock::Clock;
use holdfast::ports::outbox::{Delivery, Target};
use holdfast::ports::sink::Sink;
use holdfast::sinks::webhook::{WebhookSettings, WebhookSink};
use holdfast_core::delivery::Outcome;
use holdfast_core::event::EngineEvent;
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;
use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};

fn sink() -> WebhookSink {
    let settings = WebhookSettings {
        timeout: Duration::from_millis(500),
        server_url: Some("https://api.example.com".into()),
        expose_token: true,
        draw_qr: Arc::new(|text| holdfast::http::qr::data_url(text, holdfast::http::qr::Color::default())),
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
        attempts: 0,
        target: Target { url: url.into(), headers, by_events },
    }
}

fn unreachable(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unreachable(why) => why,
        other @ (Outcome::Delivered | Outcome::Status(_)) => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn an_event_arrives_in_its_envelope() {
    let receiver = Receiver::status("200 OK").await;
    let headers = json!({ "apikey": "receivers-own", "jwt_key": "k", "X-Tenant": "7" });
    let mut delivery = delivery(&format!("{}/hook?tenant=7", receiver.url), Some(headers), true);
    let sink = sink();
    assert_eq!(sink.deliver(&delivery).await, Outcome::Delivered);
    delivery.attempts = 1;
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
        ("400 Bad Request", Outcome::Status(400)),
        ("404 Not Found", Outcome::Status(404)),
        ("429 Too Many Requests", Outcome::Status(429)),
        ("500 Internal Server Error", Outcome::Status(500)),
        ("503 Service Unavailable", Outcome::Status(503)),
    ] {
        let receiver = Receiver::status(line).await;
        assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, expected, "{line}");
        assert_eq!(receiver.received()[0].line, "POST /");
    }
}

#[actix_web::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::status("200 OK").await;
    let answer =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
    let receiver = Receiver::answering(Answer::Bytes(answer.into_bytes())).await;
    assert_eq!(sink().deliver(&delivery(&receiver.url, None, false)).await, Outcome::Status(307));
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
        "ftp://x/s3cret".to_owned(),
        "vazio".to_owned(),
        String::new(),
    ] {
        let why = unreachable(sink().deliver(&delivery(&url, None, false)).await);
        assert!(!why.is_empty() && !why.contains("s3cret"), "{url}: {why}");
    }
    let headers = Some(json!({ "bad name": "x" }));
    assert!(unreachable(sink().deliver(&delivery(&plain.url, headers, false)).await).contains("bad name"));
}
