//! What real clients of Evolution API send, and what they need in the answers.

use holdfast::http::settings::CorsSettings;
use holdfast_core::connection::Phase;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::actors::Dial;
use super::service::{KEY, Service, answer, header};

#[actix_web::test]
async fn slashes_and_queries_behind_a_path_are_tolerated() {
    let service = Service::start().await;
    service.instance("demo").await;
    for path in [
        "/instance/connectionState/demo",
        "/instance/fetchInstances",
        "/webhook/find/demo",
        "/health/live",
        "/settings/find/demo",
    ] {
        for tail in ["", "/", "/?", "?", "?instanceName=demo", "/?instanceName=demo"] {
            assert_eq!(service.get(&format!("{path}{tail}")).await.0, 200, "{path}{tail}");
        }
    }
    for tail in ["", "/", "/?", "/?instanceName=demo"] {
        assert_eq!(service.get(&format!("/instance/connectionState/nobody{tail}")).await.0, 404);
        let body = json!({ "webhook": { "enabled": false, "url": "" } });
        assert_eq!(service.post(&format!("/webhook/set/demo{tail}"), body).await.0, 201);
    }
    let body = json!({ "instanceName": "two", "integration": "WHATSAPP-BAILEYS" });
    assert_eq!(service.post("/instance/create/", body).await.0, 201);
}

#[actix_web::test]
async fn restart_takes_every_kind_of_empty_body() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    service.script.lock().dial = Dial::Online;
    let restart = |method: Method| service.request(method, "/instance/restart/demo");
    let requests: Vec<RequestBuilder> = vec![
        restart(Method::POST).header(CONTENT_TYPE, "application/json").header(CONTENT_LENGTH, "0"),
        restart(Method::POST).header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(CONTENT_LENGTH, "0"),
        restart(Method::POST),
        restart(Method::POST).json(&json!({})),
        restart(Method::PUT),
        restart(Method::PUT).header(CONTENT_TYPE, "application/json"),
    ];
    for request in requests {
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["instance"]["instanceName"]), (200, &json!("demo")));
    }
}

#[actix_web::test]
async fn get_and_delete_may_say_json_without_a_body() {
    let service = Service::start().await;
    service.instance("demo").await;
    for (method, path) in [(Method::GET, "/instance/connectionState/demo"), (Method::DELETE, "/instance/delete/demo")] {
        let request = service.request(method, path).header(CONTENT_TYPE, "application/json");
        assert_eq!(answer(request).await.0, 200);
    }
}

#[actix_web::test]
async fn head_is_answered_without_a_body() {
    let service = Service::start().await;
    service.instance("demo").await;
    for path in ["/", "/instance/connectionState/demo", "/health/live"] {
        let response = service.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.text().await.unwrap().is_empty());
    }
}

#[actix_web::test]
async fn preflights_come_before_keys_and_every_answer_carries_the_headers() {
    let service = Service::start().await;
    service.instance("demo").await;
    let origin = "https://manager.example.com";
    let preflight = service
        .anonymous(Method::OPTIONS, "/instance/delete/demo")
        .header("origin", origin)
        .header("access-control-request-method", "DELETE")
        .header("access-control-request-headers", "apikey,content-type")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    assert_eq!(header(&preflight, "access-control-allow-origin"), origin);
    assert!(header(&preflight, "access-control-allow-headers").to_lowercase().contains("apikey"));
    assert!(header(&preflight, "access-control-allow-methods").contains("DELETE"));
    assert_eq!(service.names().await, ["demo"]);

    for (path, key, status) in [
        ("/instance/connectionState/demo", KEY, 200),
        ("/instance/connectionState/demo", "x", 401),
        ("/nowhere", "x", 404),
    ] {
        let response =
            service.anonymous(Method::GET, path).header("apikey", key).header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "access-control-allow-origin"), origin);
    }
    // Malformed bodies too, and an OPTIONS that is no preflight.
    let response =
        service.request(Method::POST, "/instance/create").header("origin", origin).body("{").send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (400, origin));
    let response = service.anonymous(Method::OPTIONS, "/instance/create").send().await.unwrap();
    assert_eq!(response.status(), 204);
}

#[actix_web::test]
async fn only_listed_origins_may_call_and_credentials_are_allowed_if_set() {
    let cors = CorsSettings { origins: vec!["https://a.example".into()], credentials: true, ..CorsSettings::default() };
    let service = Service::with(cors).await;
    let from = |origin: &str| service.request(Method::GET, "/instance/fetchInstances").header("origin", origin);
    let response = from("https://a.example").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "access-control-allow-credentials"), "true");
    let (status, body) = answer(from("https://b.example")).await;
    assert_eq!(
        (status, &body["error"], &body["response"]["message"]),
        (500, &json!("Internal Server Error"), &json!("Not allowed by CORS"))
    );
    // A caller that is no page has no origin.
    assert_eq!(service.get("/instance/fetchInstances").await.0, 200);
}

#[actix_web::test]
async fn answers_are_not_kept_by_anybody() {
    let service = Service::start().await;
    let response = service.request(Method::GET, "/instance/fetchInstances").send().await.unwrap();
    assert_eq!(
        (header(&response, "cache-control"), header(&response, "x-content-type-options")),
        ("no-store", "nosniff")
    );
}

#[actix_web::test]
async fn forms_are_understood() {
    let service = Service::start().await;
    let body = "instanceName=form&integration=WHATSAPP-BAILEYS&token=from-a-form";
    let request = service
        .request(Method::POST, "/instance/create")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["hash"]), (201, &json!("from-a-form")));
}
