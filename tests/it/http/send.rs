//! `POST /message/sendText/{name}`.

use std::time::Duration;

use holdfast::ports::link::{SendError, SentMessage};
use holdfast_core::connection::{DownReason, Phase, Trouble};
use holdfast_core::sending::nack::Nack;
use reqwest::Method;
use serde_json::{Value, json};

use super::service::{Service, header};

async fn online() -> Service {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    service
}

#[actix_web::test]
async fn the_answer_is_the_message_as_the_link_tells_it() {
    let service = online().await;
    let sent =
        json!({ "key": { "remoteJid": "5511@s.whatsapp.net", "fromMe": true, "id": "3EB0" }, "status": "PENDING" });
    service.script.lock().send = Some(Ok(SentMessage { body: sent.clone() }));
    let body = json!({
        "number": "+55 11 97777-0001", "text": "hi *there*", "delay": 1200, "linkPreview": false, "mentioned": ["5511"],
        "quoted": { "key": { "id": "ABC" } }, "unknown": true,
    });
    assert_eq!(service.post("/message/sendText/demo", body).await, (201, sent));
    let message = service.script.lock().sent.pop().unwrap();
    assert_eq!((message.number.as_str(), message.text.as_str()), ("+55 11 97777-0001", "hi *there*"));
    assert_eq!(
        (message.delay, message.link_preview, message.mentioned),
        (Duration::from_millis(1200), false, vec!["5511".to_owned()])
    );
    assert_eq!(message.quoted, Some(json!({ "key": { "id": "ABC" } })));
    // What is left out has its default.
    service.post("/message/sendText/demo", json!({ "number": "x@lid", "text": "a", "delay": 0 })).await;
    let message = service.script.lock().sent.pop().unwrap();
    assert_eq!((message.delay, message.link_preview, message.quoted), (Duration::ZERO, true, None));
}

#[actix_web::test]
async fn failures_are_400_in_the_contracts_shape_and_sound_certain_when_they_are() {
    let service = online().await;
    let number = "5511999990001".to_owned();
    let jid = format!("{number}@s.whatsapp.net");
    for (error, code, message) in [
        (SendError::NotConnected, "instance-not-connected", json!(["Error: Connection Closed"])),
        (
            SendError::NotOnWhatsApp { jid: jid.clone(), number: number.clone() },
            "number-not-on-whatsapp",
            json!([{ "jid": jid, "exists": false, "number": number }]),
        ),
        (SendError::Invalid("bad jid".into()), "message-invalid", json!(["bad jid"])),
        (
            SendError::Refused { code: 463 },
            "message-account-restricted",
            json!(["WhatsApp refused the message with code 463"]),
        ),
        (SendError::Refused { code: 999 }, "message-refused", json!(["WhatsApp refused the message with code 999"])),
        (
            SendError::Failed("IQ timed out: ETIMEDOUT".into()),
            "message-failed",
            json!(["the message could not be sent: IQ took too long: delay"]),
        ),
    ] {
        service.script.lock().send = Some(Err(error));
        let (status, body) = service.post("/message/sendText/demo", json!({ "number": number, "text": "hi" })).await;
        assert_eq!(
            (status, &body["response"]["code"], &body["response"]["message"]),
            (400, &json!(code), &message),
            "{body}"
        );
        let text = body.to_string().to_lowercase();
        for word in ["timed out", "etimedout", "econnreset", "socket hang up"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

#[actix_web::test]
async fn an_uncertain_outcome_says_so_and_is_no_5xx() {
    let service = online().await;
    // The link does not know, and the actor does not answer.
    for (send, id) in [(Some(Err(SendError::Unconfirmed { id: "3EB0".into() })), json!("3EB0")), (None, Value::Null)] {
        service.script.lock().send = send;
        let (status, body) = service.post("/message/sendText/demo", json!({ "number": "5511", "text": "hi" })).await;
        assert_eq!(
            (status, &body["response"]["code"], &body["response"]["messageId"]),
            (400, &json!("message-unconfirmed"), &id)
        );
        assert!(body["response"]["message"][0].as_str().unwrap().contains("timed out"));
        assert_eq!(body["response"]["userAction"], "check_chat");
    }
}

#[actix_web::test]
async fn a_closed_instance_says_why() {
    let service = online().await;
    let (id, _) = service.board.by_name("demo").unwrap();
    let trouble = Trouble { why: DownReason::LoggedOut { code: 401 }, since: service.clock.now() };
    service.put(&id, Phase::Parked, |entry| entry.status.trouble = Some(trouble));
    let (status, body) = service.post("/message/sendText/demo", json!({ "number": "5511", "text": "hi" })).await;
    assert_eq!(status, 400);
    let response = &body["response"];
    assert_eq!(
        (&response["code"], &response["reason"], &response["userAction"]),
        (&json!("instance-not-connected"), &json!("wa-logged-out"), &json!("relogin"))
    );
    assert_eq!(
        (&response["state"], &response["explanation"]),
        (&json!("close"), &json!(DownReason::LoggedOut { code: 401 }.sentence()))
    );
}

#[actix_web::test]
async fn a_delay_beyond_reason_is_refused() {
    let service = online().await;
    for delay in [600_001_i64, i64::MAX] {
        let (status, body) =
            service.post("/message/sendText/demo", json!({ "number": "5511", "text": "hi", "delay": delay })).await;
        assert_eq!((status, &body["response"]["code"]), (400, &json!("message-invalid")));
    }
    service.post("/message/sendText/demo", json!({ "number": "5511", "text": "hi", "delay": -5 })).await;
    assert_eq!(service.script.lock().sent.pop().unwrap().delay, Duration::ZERO);
}

#[actix_web::test]
async fn a_refusal_of_whatsapp_says_what_it_means() {
    let service = online().await;
    for nack in Nack::ALL {
        let code = (1..600).find(|code| Nack::of(*code) == nack).unwrap();
        service.script.lock().send = Some(Err(SendError::Refused { code }));
        let (status, body) = service.post("/message/sendText/demo", json!({ "number": "5511", "text": "hi" })).await;
        let response = &body["response"];
        let said = (status, &response["code"], &response["userAction"], &response["explanation"]);
        assert_eq!(said, (400, &json!(nack.code()), &json!(nack.user_action()), &json!(nack.sentence())), "{body}");
        assert_eq!(response["whatsappCode"], code);
    }
}

#[actix_web::test]
async fn an_instance_that_has_sent_enough_is_a_429_with_the_time_to_wait() {
    let service = online().await;
    for (wait, seconds) in [(Duration::from_millis(1), "1"), (Duration::from_millis(12_001), "13")] {
        service.script.lock().send = Some(Err(SendError::Limited { retry_after: wait }));
        let request = service.request(Method::POST, "/message/sendText/demo");
        let response = request.json(&json!({ "number": "5511", "text": "hi" })).send().await.unwrap();
        assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (429, seconds));
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["error"], &body["response"]["code"]),
            (&json!("Too Many Requests"), &json!("send-rate-limited"))
        );
    }
}
