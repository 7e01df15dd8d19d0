//! Requests with an `Idempotency-Key`: one message for one key, and never a second answer.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::ports::link::{SendError, SentMessage};
use holdfast_core::connection::Phase;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::service::{Service, eventually, header};
use crate::harness::faulty_store::{Failing, Faults, Op};

const PATH: &str = "/message/sendText/demo";

async fn online() -> Service {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    service.script.lock().send = Some(Ok(SentMessage { body: json!({ "key": { "id": "X" }, "status": "PENDING" }) }));
    service
}

fn request(service: &Service, key: &str, text: &str) -> RequestBuilder {
    let body = json!({ "number": "5511", "text": text });
    service.request(Method::POST, PATH).header("Idempotency-Key", key).json(&body)
}

/// An answer: its status, its body, and whether it was given before.
async fn send(service: &Service, key: &str, text: &str) -> (u16, Value, bool) {
    read(request(service, key, text)).await
}

async fn read(request: RequestBuilder) -> (u16, Value, bool) {
    let response = request.send().await.unwrap();
    let replayed = header(&response, "idempotency-replayed") == "true";
    (response.status().as_u16(), response.json().await.unwrap(), replayed)
}

/// The ids under which messages were handed on, and forgets them.
fn ids(service: &Service) -> Vec<String> {
    std::mem::take(&mut service.script.lock().sent).into_iter().map(|message| message.id.unwrap_or_default()).collect()
}

#[actix_web::test]
async fn a_request_that_comes_again_is_answered_again_and_sends_nothing() {
    let service = online().await;
    let (status, body, replayed) = send(&service, "order-17", "hi").await;
    assert_eq!((status, replayed), (201, false), "{body}");
    service.script.lock().send = Some(Ok(SentMessage { body: json!("another one") }));
    for key in ["order-17", "\"order-17\"", " order-17 "] {
        assert_eq!(send(&service, key, "hi").await, (201, body.clone(), true), "{key}");
    }
    let ids = ids(&service);
    assert_eq!(ids.len(), 1);
    assert!(ids[0].starts_with("3EB0") && ids[0].len() == 22, "{ids:?}");
}

#[actix_web::test]
async fn without_a_key_every_request_is_a_message_and_the_library_names_it() {
    let service = online().await;
    for _ in 0..2 {
        assert_eq!(service.post(PATH, json!({ "number": "5511", "text": "hi" })).await.0, 201);
    }
    assert_eq!(ids(&service), ["", ""]);
}

#[actix_web::test]
async fn a_key_belongs_to_one_request_of_one_instance() {
    let service = online().await;
    send(&service, "k", "hi").await;
    let (status, body, _) = send(&service, "k", "something else").await;
    assert_eq!((status, &body["response"]["code"]), (422, &json!("idempotency-key-reused")));
    assert_eq!(body["error"], "Unprocessable Entity");
    let (other, _) = service.instance("other").await;
    service.put(&other, Phase::Online, |_| {});
    let elsewhere = service.request(Method::POST, "/message/sendText/other").header("Idempotency-Key", "k");
    assert_eq!(read(elsewhere.json(&json!({ "number": "5511", "text": "x" }))).await.0, 201);
    let ids: HashSet<String> = ids(&service).into_iter().collect();
    assert_eq!(ids.len(), 2);
}

#[actix_web::test]
async fn what_is_no_key_is_refused_and_nothing_is_sent() {
    let service = online().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", long.as_str()] {
        let (status, body, _) = send(&service, key, "hi").await;
        assert_eq!((status, &body["response"]["code"]), (400, &json!("idempotency-key-invalid")), "{key}");
    }
    let bytes = reqwest::header::HeaderValue::from_bytes(&[0xff, 0xfe]).unwrap();
    let body = json!({ "number": "5511", "text": "hi" });
    let binary = service.request(Method::POST, PATH).header("Idempotency-Key", bytes).json(&body);
    let twice = request(&service, "a", "hi").header("Idempotency-Key", "b");
    for request in [binary, twice] {
        let (status, body, _) = read(request).await;
        assert_eq!((status, &body["response"]["code"]), (400, &json!("idempotency-key-invalid")));
    }
    assert_eq!(ids(&service).len(), 0);
    // A body that is refused uses no key up.
    let invalid = service.request(Method::POST, PATH).header("Idempotency-Key", "k").json(&json!({ "number": "5511" }));
    assert_eq!(read(invalid).await.0, 400);
    assert_eq!(send(&service, "k", "hi").await.0, 201);
}

#[actix_web::test]
async fn an_outcome_that_is_not_final_is_tried_again_under_the_same_id() {
    let service = online().await;
    for (number, error) in [
        SendError::NotConnected,
        SendError::Unconfirmed { id: "3EB0".into() },
        SendError::Failed("no".into()),
        SendError::Limited { retry_after: Duration::from_secs(3) },
        SendError::Refused { code: 463 },
        SendError::Refused { code: 503 },
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("k{number}");
        service.script.lock().send = Some(Err(error.clone()));
        let (status, body, replayed) = send(&service, &key, "hi").await;
        assert!((400..500).contains(&status) && !replayed, "{status} {body}");
        service.script.lock().send = Some(Ok(SentMessage { body: json!({ "sent": number }) }));
        assert_eq!(send(&service, &key, "hi").await, (201, json!({ "sent": number }), false), "{error}");
        assert_eq!(send(&service, &key, "hi").await, (201, json!({ "sent": number }), true), "{error}");
        let ids = ids(&service);
        assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0].len() == 22, "{error}: {ids:?}");
    }
    // An actor that falls silent, too.
    service.script.lock().send = None;
    let (status, body, _) = send(&service, "silent", "hi").await;
    assert_eq!((status, &body["response"]["code"]), (400, &json!("message-unconfirmed")));
    let ids = ids(&service);
    assert_eq!(body["response"]["messageId"], ids[0].as_str());
}

#[actix_web::test]
async fn what_may_have_left_in_an_earlier_request_is_not_called_unsent_in_a_later_one() {
    let service = online().await;
    let unsent = [
        SendError::NotConnected,
        SendError::Failed("no".into()),
        SendError::Limited { retry_after: Duration::from_secs(3) },
    ];
    for (number, error) in unsent.into_iter().enumerate() {
        let key = format!("k{number}");
        service.script.lock().send = Some(Err(error.clone()));
        for _ in 0..2 {
            let (_, body, _) = send(&service, &key, "hi").await;
            assert_ne!(body["response"]["code"], "message-unconfirmed", "{error}: it has never left");
        }
        service.script.lock().send = Some(Err(SendError::Unconfirmed { id: "3EB0".into() }));
        send(&service, &key, "hi").await;
        service.script.lock().send = Some(Err(error.clone()));
        for _ in 0..2 {
            let (status, body, _) = send(&service, &key, "hi").await;
            let said = &body["response"];
            assert_eq!((status, &said["code"]), (400, &json!("message-unconfirmed")), "{error}");
            assert_eq!(said["messageId"], ids(&service).pop().unwrap());
        }
        // WhatsApp has the last word.
        service.script.lock().send = Some(Err(SendError::Refused { code: 463 }));
        assert_eq!(send(&service, &key, "hi").await.1["response"]["code"], "message-account-restricted");
    }
}

#[actix_web::test]
async fn a_final_refusal_is_given_again() {
    let service = online().await;
    let (jid, number) = ("5511@s.whatsapp.net".to_owned(), "5511".to_owned());
    for (key, error) in [
        ("a", SendError::NotOnWhatsApp { jid, number }),
        ("b", SendError::Invalid("bad jid".into())),
        ("c", SendError::Refused { code: 403 }),
    ] {
        service.script.lock().send = Some(Err(error));
        let (status, body, replayed) = send(&service, key, "hi").await;
        assert_eq!((status, replayed), (400, false));
        service.script.lock().send = Some(Ok(SentMessage { body: json!("sent") }));
        assert_eq!(send(&service, key, "hi").await, (400, body, true));
    }
    assert_eq!(ids(&service).len(), 3);
}

#[actix_web::test]
async fn of_requests_at_the_same_moment_one_sends_and_the_others_wait_for_its_answer() {
    let service = online().await;
    service.script.lock().send_takes = Duration::from_millis(60);
    let answers = join_all((0..10).map(|_| send(&service, "k", "hi"))).await;
    assert_eq!(ids(&service).len(), 1);
    assert_eq!(answers.iter().filter(|(status, _, replayed)| *status == 201 && !replayed).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, body, _)| *status == 201 && body["key"]["id"] == "X"), "{answers:?}");

    // Longer than it is waited for.
    service.script.lock().send_takes = Duration::from_millis(600);
    let (first, second) = tokio::join!(send(&service, "slow", "hi"), async {
        eventually("the first", || service.script.lock().sent.len() == 1).await;
        request(&service, "slow", "hi").send().await.unwrap()
    });
    assert_eq!(first.0, 201);
    assert_eq!((second.status().as_u16(), header(&second, "retry-after")), (409, "2"));
    let body: Value = second.json().await.unwrap();
    assert_eq!((&body["error"], &body["response"]["code"]), (&json!("Conflict"), &json!("idempotency-key-in-use")));
    assert_eq!(ids(&service).len(), 1);
}

#[actix_web::test]
async fn a_client_that_goes_away_finds_the_answer_when_it_comes_back() {
    let service = online().await;
    service.script.lock().send_takes = Duration::from_millis(60);
    let impatient = request(&service, "k", "hi").timeout(Duration::from_millis(30)).send().await;
    assert!(impatient.is_err_and(|error| error.is_timeout()));
    let (status, body, replayed) = send(&service, "k", "hi").await;
    assert_eq!((status, replayed), (201, true), "{body}");
    assert_eq!(ids(&service).len(), 1);
}

#[actix_web::test]
async fn nothing_leaves_before_its_id_is_on_disk() {
    let service = online().await;
    for failing in [Failing::Unavailable, Failing::AnswerLost] {
        service.store.plan(Faults::none().nth(Op::BeginSend, 1, failing));
        let (status, body, _) = send(&service, "k", "hi").await;
        assert_eq!((status, &body["response"]["code"]), (503, &json!("store-unavailable")));
        assert_eq!(ids(&service).len(), 0);
    }
    assert_eq!(send(&service, "k", "hi").await.0, 201);
    assert_eq!(ids(&service).len(), 1);
}

#[actix_web::test]
async fn an_answer_that_could_not_be_kept_is_still_given_and_the_id_stays() {
    let service = online().await;
    service.store.plan(Faults::none().nth(Op::FinishSend, 1, Failing::Unavailable));
    assert_eq!(send(&service, "k", "hi").await.0, 201);
    assert_eq!(send(&service, "k", "hi").await.0, 201);
    let ids = ids(&service);
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert!(send(&service, "k", "hi").await.2);
}

#[actix_web::test]
async fn a_page_may_send_a_key_and_an_unknown_instance_uses_none() {
    let service = online().await;
    let preflight = service
        .anonymous(Method::OPTIONS, PATH)
        .header("origin", "https://panel.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "apikey,idempotency-key");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(header(&response, "access-control-allow-headers").to_lowercase().contains("idempotency-key"));
    let nowhere = service.request(Method::POST, "/message/sendText/nobody").header("Idempotency-Key", "k");
    assert_eq!(read(nowhere.json(&json!({ "number": "5511", "text": "hi" }))).await.0, 404);
}
