//! `POST /instance/create`.

use holdfast::actors::supervisor::protocol::CommandError;
use serde_json::{Value, json};

use super::actors::Dial;
use super::service::Service;
use crate::harness::eventually::eventually;

fn body(change: Value) -> Value {
    let mut body = json!({ "instanceName": "demo", "integration": "WHATSAPP-BAILEYS" });
    for (key, value) in change.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[actix_web::test]
async fn the_plain_answer_is_the_contracts() {
    let service = Service::start().await;
    let (status, mut answer) = service.post("/instance/create", body(json!({}))).await;
    assert_eq!(status, 201);
    let (id, token) = (answer["instance"]["instanceId"].take(), answer["hash"].take());
    assert_eq!(
        answer,
        json!({
            "instance": { "instanceName": "demo", "instanceId": null, "integration": "WHATSAPP-BAILEYS",
                          "webhookWaBusiness": null, "accessTokenWaBusiness": "", "status": "close" },
            "hash": null, "webhook": {}, "websocket": {}, "rabbitmq": {}, "nats": {}, "sqs": {},
            "settings": { "rejectCall": false, "msgCall": "", "groupsIgnore": false, "alwaysOnline": false,
                          "readMessages": false, "readStatus": false, "syncFullHistory": false, "wavoipToken": "" },
        })
    );
    let is_uuid = |text: &str| text.len() == 36 && text.chars().filter(|c| *c == '-').count() == 4;
    assert!(is_uuid(id.as_str().unwrap()) && is_uuid(token.as_str().unwrap()));
    assert_eq!(token.as_str().unwrap(), token.as_str().unwrap().to_uppercase());
    assert_eq!(service.asked(), ["start demo"]);
    assert_eq!(service.get("/webhook/find/demo").await, (200, Value::Null));
}

#[actix_web::test]
async fn settings_token_number_and_webhook_are_stored() {
    let service = Service::start().await;
    let webhook = json!({ "enabled": false, "url": "https://x/y", "headers": { "k": "v" }, "byEvents": true, "events": ["CALL", "GROUP_UPDATE"] });
    let change = json!({ "token": "my-token", "number": "5511999990001", "rejectCall": true, "msgCall": "later", "webhook": webhook });
    let (status, answer) = service.post("/instance/create", body(change)).await;
    assert_eq!((status, &answer["hash"]), (201, &json!("my-token")), "{answer}");
    assert_eq!(
        answer["webhook"],
        json!({ "webhookUrl": "https://x/y", "webhookHeaders": { "k": "v" }, "webhookByEvents": true })
    );
    assert_eq!((&answer["settings"]["rejectCall"], &answer["settings"]["msgCall"]), (&json!(true), &json!("later")));
    let (_, row) = service.get("/webhook/find/demo").await;
    // Whatever was sent, a webhook in this body is on.
    assert_eq!((&row["enabled"], &row["events"]), (&json!(true), &json!(["CALL", "GROUPS_UPDATE"])));
    let (_, settings) = service.get("/settings/find/demo").await;
    assert_eq!((&settings["rejectCall"], &settings["msgCall"]), (&json!(true), &json!("later")));
    let (_, rows) = service.get("/instance/fetchInstances?instanceName=demo").await;
    assert_eq!((&rows[0]["token"], &rows[0]["number"]), (&json!("my-token"), &json!("5511999990001")));
}

#[actix_web::test]
async fn no_events_and_an_empty_list_mean_all() {
    let service = Service::start().await;
    for (name, webhook) in [("a", json!({ "url": "https://x" })), ("b", json!({ "url": "https://x", "events": [] }))] {
        let (status, answer) =
            service.post("/instance/create", body(json!({ "instanceName": name, "webhook": webhook }))).await;
        assert_eq!(status, 201, "{answer}");
        let (_, row) = service.get(&format!("/webhook/find/{name}")).await;
        assert_eq!(row["events"].as_array().unwrap().len(), holdfast_core::event::EventName::ALL.len());
    }
}

#[actix_web::test]
async fn with_qrcode_the_answer_carries_the_code_as_soon_as_there_is_one() {
    let service = Service::start().await;
    let (status, answer) = service.post("/instance/create", body(json!({ "qrcode": true }))).await;
    assert_eq!((status, &answer["instance"]["status"]), (201, &json!("connecting")));
    assert_eq!((&answer["qrcode"]["count"], &answer["qrcode"]["pairingCode"]), (&json!(1), &Value::Null));
    assert_eq!(answer["qrcode"]["code"], "2@ref1,noise,identity,secret");
    assert!(answer["qrcode"]["base64"].as_str().unwrap().starts_with("data:image/png;base64,"));
    assert_eq!(service.asked(), ["start demo", "connect by qr"]);

    let change = json!({ "instanceName": "by-code", "qrcode": true, "number": "5511999990001" });
    let (_, answer) = service.post("/instance/create", body(change)).await;
    assert_eq!(answer["qrcode"]["pairingCode"], "CODE0002");
    assert_eq!(service.asked(), ["start by-code", "connect by code 5511999990001"]);
}

#[actix_web::test]
async fn without_a_code_in_time_the_instance_is_there_all_the_same() {
    let service = Service::start().await;
    for (name, dial, status) in [("slow", Dial::Nothing, "connecting"), ("refused", Dial::Refused, "close")] {
        service.script.lock().dial = dial;
        let (code, answer) =
            service.post("/instance/create", body(json!({ "instanceName": name, "qrcode": true }))).await;
        assert_eq!(
            (code, &answer["qrcode"], &answer["instance"]["status"]),
            (201, &json!({ "count": 0 }), &json!(status))
        );
    }
    assert_eq!(service.names().await.len(), 2);
}

#[actix_web::test]
async fn a_failure_after_the_insert_removes_what_was_made_and_nothing_else() {
    let service = Service::start().await;
    service.instance("other").await;
    service.script.lock().refuses_starts = 1;
    let (status, answer) = service.post("/instance/create", body(json!({}))).await;
    assert_eq!((status, &answer["response"]["code"]), (503, &json!("overloaded")));
    assert_eq!(service.names().await, ["other"]);
    assert_eq!(service.post("/instance/create", body(json!({}))).await.0, 201);
}

#[actix_web::test]
async fn what_may_still_run_after_a_failed_creation_keeps_its_rows_until_it_is_off_the_roster() {
    let service = Service::start().await;
    service.script.lock().refuses = Some(CommandError::Overloaded);
    assert_eq!(service.post("/instance/create", body(json!({}))).await.0, 503);
    assert_eq!(service.names().await, ["demo"]);
    service.script.lock().refuses = None;
    eventually("the rows to be gone", || async { service.names().await.is_empty().then_some(()) }).await;
}

#[actix_web::test]
async fn of_two_at_once_one_gets_the_name() {
    let service = Service::start().await;
    let tries = (0..8).map(|_| service.post("/instance/create", body(json!({}))));
    let mut answers: Vec<u16> =
        futures_util::future::join_all(tries).await.into_iter().map(|(status, _)| status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [vec![201], vec![403; 7]].concat());
    assert_eq!(service.names().await, ["demo"]);
}

#[actix_web::test]
async fn a_creation_ends_even_if_its_client_goes_away() {
    let service = Service::start().await;
    service.script.lock().dial_takes = std::time::Duration::from_millis(200);
    let request = service.post("/instance/create", body(json!({ "qrcode": true })));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), request).await.is_err());
    let board = std::sync::Arc::clone(&service.board);
    super::service::eventually("a code on the board", || {
        board.by_name("demo").is_some_and(|(_, entry)| entry.borrow().pairing.qr.is_some())
    })
    .await;
    assert_eq!(service.names().await, ["demo"]);
}
