//! `POST /settings/set/{name}`, `GET /settings/find/{name}` and `POST /instance/setPresence/{name}`.

use holdfast::actors::supervisor::protocol::CommandError;
use holdfast::ports::link::{SendError, SentMessage};
use serde_json::{Value, json};

use super::service::Service;
use crate::harness::faulty_store::{Failing, Faults, Op};

const NONE: fn() -> Value = || {
    json!({ "rejectCall": false, "groupsIgnore": false, "alwaysOnline": false, "readMessages": false,
            "readStatus": false, "syncFullHistory": false })
};

fn with(changes: Value) -> Value {
    let mut body = NONE();
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[actix_web::test]
async fn settings_are_answered_as_they_were_sent_and_found_as_they_are_stored() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    let body = with(json!({ "rejectCall": true, "msgCall": "later", "wavoipToken": "w", "more": [1] }));
    let (status, answer) = service.post("/settings/set/demo", body.clone()).await;
    assert_eq!((status, answer), (201, json!({ "settings": { "instanceName": "demo", "settings": body } })));
    assert_eq!(service.asked(), ["apply settings"]);
    let stored = with(json!({ "rejectCall": true, "msgCall": "later", "wavoipToken": "w" }));
    assert_eq!(service.get("/settings/find/demo").await, (200, stored));

    // A text that is not given stays, and so does one that is null, as other programs store it.
    for again in [NONE(), with(json!({ "msgCall": null }))] {
        assert_eq!(service.post("/settings/set/demo", again).await.0, 201);
        let stored = with(json!({ "msgCall": "later", "wavoipToken": "w" }));
        assert_eq!(service.get("/settings/find/demo").await, (200, stored));
    }
}

#[actix_web::test]
async fn what_is_wrong_with_settings_is_told_in_the_words_of_the_contract() {
    let service = Service::start().await;
    service.instance("demo").await;
    let requires = |name: &str| format!("instance requires property \"{name}\"");
    let required = ["rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory"];
    let table = [
        (json!({}), required.map(requires).to_vec()),
        (with(json!({ "alwaysOnline": "yes" })), vec!["alwaysOnline is not of a type(s) boolean".to_owned()]),
        (with(json!({ "msgCall": 5 })), vec!["msgCall is not of a type(s) string".to_owned()]),
        (with(json!({ "msgCall": "x".repeat(101) })), vec!["msgCall does not meet maximum length of 100".to_owned()]),
    ];
    for (body, messages) in table {
        let (status, answer) = service.post("/settings/set/demo", body.clone()).await;
        assert_eq!((status, &answer["response"]["message"]), (400, &json!([messages])), "{body}");
    }
    assert_eq!(service.get("/settings/find/demo").await.1["alwaysOnline"], false);
    assert_eq!(service.post("/settings/set/nobody", NONE()).await.0, 404);
}

#[actix_web::test]
async fn settings_that_could_not_be_stored_are_not_applied_and_those_that_were_are_kept() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    service.store.plan(Faults::none().from(Op::SetSettings, 1, Failing::Unavailable));
    let body = with(json!({ "alwaysOnline": true }));
    let (status, answer) = service.post("/settings/set/demo", body.clone()).await;
    assert_eq!((status, &answer["response"]["code"]), (503, &json!("store-unavailable")));
    assert!(service.asked().is_empty());

    service.store.heal();
    service.script.lock().refuses = Some(CommandError::Overloaded);
    assert_eq!(service.post("/settings/set/demo", body).await.0, 201);
    assert_eq!(service.get("/settings/find/demo").await.1["alwaysOnline"], true);
    service.store.plan(Faults::none().from(Op::Settings, 1, Failing::Unavailable));
    assert_eq!(service.get("/settings/find/demo").await.0, 503, "never the defaults");
}

#[actix_web::test]
async fn a_presence_is_shown_and_typing_needs_a_chat() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.script.lock().send = Some(Ok(SentMessage { body: Value::Null }));
    for presence in ["available", "unavailable"] {
        service.asked();
        let answer = service.post("/instance/setPresence/demo", json!({ "presence": presence })).await;
        assert_eq!(answer, (201, json!({ "presence": presence })));
        assert_eq!(service.asked(), ["where is".to_owned(), format!("show {presence}")]);
    }
    let (status, answer) = service.post("/instance/setPresence/demo", json!({ "presence": "composing" })).await;
    assert_eq!((status, &answer["response"]["code"]), (400, &json!("not-supported")));
    let (status, answer) = service.post("/instance/setPresence/demo", json!({ "presence": "away" })).await;
    let told = "presence is not one of enum values: unavailable,available,composing,recording,paused";
    assert_eq!((status, &answer["response"]["message"]), (400, &json!([[told]])));
    service.script.lock().send = Some(Err(SendError::NotConnected));
    let (status, answer) = service.post("/instance/setPresence/demo", json!({ "presence": "available" })).await;
    assert_eq!((status, &answer["response"]["code"]), (400, &json!("instance-not-connected")));
}
