//! connectionState, restart, logout, delete.

use std::time::Duration;

use holdfast_core::connection::{DownReason, Phase, Trouble};
use reqwest::Method;
use serde_json::json;

use super::actors::Dial;
use super::service::{Service, answer, eventually};
use crate::harness::faulty_store::{Failing, Faults, Op};

#[actix_web::test]
async fn connection_state_has_the_contracts_keys_and_ours() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    let (status, body) = service.get("/instance/connectionState/demo").await;
    let instance = &body["instance"];
    assert_eq!(
        (status, &instance["instanceName"], &instance["state"], &instance["phase"]),
        (200, &json!("demo"), &json!("open"), &json!("online"))
    );
    assert!(instance["since"].as_str().unwrap().ends_with('Z') && instance["lastProofAt"].is_string());
    assert!(instance.get("code").is_none() && instance.get("nextTryAt").is_none());

    let until = service.clock.now().after(Duration::from_secs(30));
    service.put(&id, Phase::BackingOff, |entry| {
        entry.status.trouble = Some(Trouble { why: DownReason::Dns, since: service.clock.now() });
        entry.status.next_try = Some(until);
    });
    let (_, body) = service.get("/instance/connectionState/demo").await;
    let instance = &body["instance"];
    assert_eq!(
        (&instance["state"], &instance["code"], &instance["userAction"]),
        (&json!("connecting"), &json!("net-dns"), &json!("check_network"))
    );
    assert_eq!(instance["message"], DownReason::Dns.sentence());
    assert!(instance["nextTryAt"].is_string() && instance["codeSince"].is_string());
    for taken in ["settings", "proxy", "owner", "number", "qrcode", "apikey", "serverUrl", "status"] {
        assert!(instance.get(taken).is_none(), "{taken}");
    }
}

#[actix_web::test]
async fn restart_restarts_and_tells_the_truth() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    service.script.lock().dial = Dial::Online;
    service.asked();
    for method in [Method::POST, Method::PUT] {
        let (status, body) = answer(service.request(method, "/instance/restart/demo")).await;
        assert_eq!((status, body), (200, json!({ "instance": { "instanceName": "demo", "state": "connecting" } })));
    }
    assert_eq!(service.asked(), ["restart", "restart"]);
}

#[actix_web::test]
async fn restart_of_a_pairing_instance_shows_the_new_code() {
    let service = Service::start().await;
    service.instance("demo").await;
    let (_, first) = service.get("/instance/connect/demo").await;
    let (status, second) = service.post("/instance/restart/demo", json!({})).await;
    assert_eq!(status, 200);
    assert_ne!(first["code"], second["code"]);
    assert_eq!(second["code"], "2@ref2,noise,identity,secret");
}

#[actix_web::test]
async fn logout_unlinks_once() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    let done = json!({ "status": "SUCCESS", "error": false, "response": { "message": "Instance logged out" } });
    assert_eq!(service.delete("/instance/logout/demo").await, (200, done));
    let (status, body) = service.delete("/instance/logout/demo").await;
    assert_eq!((status, &body["response"]["message"]), (400, &json!(["The \"demo\" instance is not connected"])));
    assert_eq!(service.names().await, ["demo"]);
}

#[actix_web::test]
async fn delete_leaves_nothing_and_frees_the_name() {
    let service = Service::start().await;
    let (first, _) = service.instance("demo").await;
    let done = json!({ "status": "SUCCESS", "error": false, "response": { "message": "Instance deleted" } });
    assert_eq!(service.delete("/instance/delete/demo").await, (200, done));
    assert!(service.names().await.is_empty());
    assert_eq!(service.delete("/instance/delete/demo").await.0, 404);
    let (second, _) = service.instance("demo").await;
    assert_ne!(first, second);
}

#[actix_web::test]
async fn a_delete_says_whether_whatsapp_has_confirmed_it_and_nothing_else_decides() {
    let service = Service::start().await;
    for (phase, listed) in
        [(Phase::Online, true), (Phase::BackingOff, false), (Phase::Parked, true), (Phase::Online, false)]
    {
        let (id, _) = service.instance("demo").await;
        service.put(&id, phase, |_| {});
        service.script.lock().listed = listed;
        let (status, body) = service.delete("/instance/delete/demo").await;
        let told = if listed { json!(false) } else { json!(null) };
        assert_eq!((status, &body["status"], &body["unlinked"]), (200, &json!("SUCCESS"), &told), "{phase:?}");
    }
}

#[actix_web::test]
async fn what_could_not_be_deleted_is_put_back_however_often_that_is_refused() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    service.store.plan(Faults::none().nth(Op::Delete, 1, Failing::Unavailable));
    service.script.lock().refuses_starts = 1;
    let (status, body) = service.delete("/instance/delete/demo").await;
    assert_eq!((status, &body["response"]["code"]), (503, &json!("store-unavailable")));
    eventually("an instance that is back on the roster", || service.board.by_name("demo").is_some()).await;
    assert_eq!(service.asked(), ["delete", "start demo", "start demo"]);
    assert_eq!(service.delete("/instance/delete/demo").await.0, 200);
    assert!(service.names().await.is_empty());
}

#[actix_web::test]
async fn names_are_decoded_once_and_may_hold_anything_printable() {
    let service = Service::start().await;
    for (name, encoded) in [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("loja são paulo", "loja%20s%C3%A3o%20paulo"),
        ("q?x=1#f", "q%3Fx%3D1%23f"),
        ("plus+and space", "plus+and%20space"),
        ("{name}", "%7Bname%7D"),
        ("100%", "100%25"),
        ("../up", "%2E%2E%2Fup"),
        ("\"quoted\\\"", "%22quoted%5C%22"),
        ("x.y", "%78%2E%79"),
    ] {
        service.instance(name).await;
        let (status, body) = service.get(&format!("/instance/connectionState/{encoded}/?x")).await;
        assert_eq!((status, &body["instance"]["instanceName"]), (200, &json!(name)), "{body}");
        assert_eq!(service.delete(&format!("/instance/delete/{encoded}")).await.0, 200);
    }
    assert!(service.names().await.is_empty());
}
