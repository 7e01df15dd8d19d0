//! The welcome, the key check and health.

use holdfast_core::shutdown::Phase;
use reqwest::Method;
use serde_json::json;

use super::service::{Service, answer};

#[actix_web::test]
async fn the_welcome_is_open_and_has_the_version_that_clients_look_for() {
    let service = Service::start().await;
    for request in [service.anonymous(Method::GET, "/"), service.anonymous(Method::GET, "/?x").header("apikey", "any")]
    {
        let (status, body) = answer(request).await;
        assert_eq!(
            (status, &body["status"], &body["version"], &body["clientName"]),
            (200, &json!(200), &json!("2.3.6"), &json!("it"))
        );
        assert_eq!(body["message"], "Welcome to the Evolution API, it is working!");
        assert!(body.get("error").is_none() && body.get("manager").is_none());
    }
    assert!(service.asked().is_empty());
}

#[actix_web::test]
async fn verify_creds_takes_the_global_key_only() {
    let service = Service::start().await;
    let (_, token) = service.instance("demo").await;
    let (status, body) = answer(service.request(Method::POST, "/verify-creds")).await;
    assert_eq!((status, body), (200, json!({ "status": 200, "message": "Credentials are valid" })));
    for key in [token.as_str(), "wrong"] {
        let request = service.anonymous(Method::POST, "/verify-creds/").header("apikey", key).json(&json!({}));
        assert_eq!(answer(request).await.0, 401);
    }
}

#[actix_web::test]
async fn s25_health_is_live_always_and_ready_only_while_serving() {
    let service = Service::start().await;
    for (phase, ready, expected) in [
        (Phase::Boot, false, 503),
        (Phase::Boot, true, 200),
        (Phase::Running, true, 200),
        (Phase::Quiescing, false, 503),
        (Phase::Draining, true, 503),
    ] {
        {
            let mut script = service.script.lock();
            (script.phase, script.ready) = (phase, ready);
        }
        let (status, body) = answer(service.anonymous(Method::GET, "/health/ready")).await;
        assert_eq!(
            (status, &body["ready"], &body["phase"]),
            (expected, &json!(expected == 200), &json!(phase.as_str()))
        );
        assert_eq!(answer(service.anonymous(Method::GET, "/health/live")).await.0, 200);
    }
}
