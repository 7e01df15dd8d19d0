//! Every failure has the contract's status, body and headers, and changes nothing.

use holdfast::actors::supervisor::protocol::CommandError;
use holdfast::ports::store::Store as _;
use holdfast_core::connection::Phase as InstancePhase;
use holdfast_core::shutdown::Phase;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::service::{KEY, Service, answer, header};

/// Checks the fixed part of an error and returns its `response`.
fn shape(status: u16, title: &str, (got, body): (u16, Value)) -> Value {
    assert_eq!(got, status, "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(body["error"], title, "{body}");
    assert!(body["response"]["code"].is_string() && body["response"]["userAction"].is_string(), "{body}");
    body["response"].clone()
}

#[actix_web::test]
async fn keys_are_checked_in_the_order_of_the_contract() {
    let service = Service::start().await;
    let (_, token) = service.instance("demo").await;
    let (_, other) = service.instance("other").await;
    let with = |method: Method, path: &str, key: Option<&str>| {
        let request = service.anonymous(method, path);
        key.map_or_else(|| service.anonymous(Method::GET, path), |key| request.header("apikey", key))
    };
    for key in [None, Some(""), Some("wrong"), Some(other.as_str()), Some(&token[..8])] {
        let response =
            shape(401, "Unauthorized", answer(with(Method::GET, "/instance/connectionState/demo", key)).await);
        assert_eq!(response["message"], "Unauthorized");
    }
    for key in [KEY, token.as_str()] {
        assert_eq!(answer(with(Method::GET, "/instance/connectionState/demo", Some(key))).await.0, 200);
    }
    // An unknown instance comes before a wrong key.
    let response =
        shape(404, "Not Found", answer(with(Method::GET, "/instance/connectionState/nobody", Some("wrong"))).await);
    assert_eq!(response["message"], json!(["The \"nobody\" instance does not exist"]));
    assert_eq!(response["code"], "instance-unknown");
    // A name that is taken comes before a wrong key, a wrong key before the body.
    let create = |key: &'static str, body: Value| {
        service.anonymous(Method::POST, "/instance/create").header("apikey", key).json(&body)
    };
    let response = shape(403, "Forbidden", answer(create("wrong", json!({ "instanceName": "demo" }))).await);
    assert_eq!(response["message"], json!(["This name \"demo\" is already in use."]));
    shape(401, "Unauthorized", answer(create("wrong", json!({ "instanceName": 5 }))).await);
    let body = json!({ "instanceName": "new", "integration": "WHATSAPP-BAILEYS" });
    let by_token = service.anonymous(Method::POST, "/instance/create").header("apikey", &token).json(&body);
    shape(401, "Unauthorized", answer(by_token).await);
    // Two keys are none, and only the header counts.
    let twice = service.request(Method::GET, "/instance/connectionState/demo").header("apikey", KEY);
    shape(401, "Unauthorized", answer(twice).await);
    for request in [
        service.anonymous(Method::GET, &format!("/instance/connectionState/demo?apikey={KEY}")),
        service.anonymous(Method::GET, "/instance/connectionState/demo").bearer_auth(KEY),
    ] {
        shape(401, "Unauthorized", answer(request).await);
    }
    assert_eq!(service.names().await.len(), 2);
}

#[actix_web::test]
async fn the_path_names_the_instance_and_the_query_never_does() {
    let service = Service::start().await;
    let (_, token) = service.instance("mine").await;
    let (victim, _) = service.instance("victim").await;
    service.put(&victim, InstancePhase::Online, |_| {});
    let request =
        service.anonymous(Method::GET, "/instance/connectionState/mine?instanceName=victim").header("apikey", &token);
    let (status, body) = answer(request).await;
    assert_eq!(
        (status, &body["instance"]["instanceName"], &body["instance"]["state"]),
        (200, &json!("mine"), &json!("close"))
    );
    let request =
        service.anonymous(Method::DELETE, "/instance/delete/mine?instanceName=victim").header("apikey", &token);
    assert_eq!(answer(request).await.0, 200);
    assert_eq!(service.names().await, ["victim"]);
}

#[actix_web::test]
async fn unknown_paths_and_methods_are_json_404s() {
    let service = Service::start().await;
    service.instance("demo").await;
    for (method, path) in [
        (Method::GET, "/foo"),
        (Method::GET, "/foo/?x=1"),
        (Method::POST, "/"),
        (Method::GET, "/instance/create"),
        (Method::POST, "/instance/connect/demo"),
        (Method::GET, "/instance/connect"),
        (Method::PATCH, "/instance/restart/demo"),
        (Method::GET, "/instance/connectionState/demo/more"),
        (Method::GET, "/docs"),
    ] {
        let response = shape(404, "Not Found", answer(service.anonymous(method.clone(), path)).await);
        assert_eq!(response["message"], json!([format!("Cannot {method} {path}")]));
    }
}

#[actix_web::test]
async fn malformed_bodies_are_400_with_the_parsers_title() {
    let service = Service::start().await;
    service.instance("demo").await;
    for path in ["/instance/create", "/message/sendText/demo", "/webhook/set/demo", "/instance/restart/demo"] {
        for body in ["{", "not json", "\"text\"", "5", "{\"a\":1}}"] {
            let request = service.request(Method::POST, path).header("content-type", "application/json").body(body);
            let response = shape(400, "Internal Server Error", answer(request).await);
            assert!(response["message"].is_string(), "{response}");
            assert_eq!(response["code"], "request-malformed");
        }
    }
    assert_eq!(service.names().await, ["demo"]);
    assert_eq!(service.asked(), ["start demo"]);
}

#[actix_web::test]
async fn bodies_beyond_the_limit_are_413_and_their_sender_hears_it() {
    let service = Service::start().await;
    let name = "x".repeat(3 * 1024 * 1024);
    let response =
        shape(413, "Payload Too Large", service.post("/instance/create", json!({ "instanceName": name })).await);
    assert_eq!(response["code"], "request-too-large");
    // Without a length too.
    let mut socket = TcpStream::connect(service.url.trim_start_matches("http://")).await.unwrap();
    socket.write_all(b"POST /instance/create HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    for _ in 0..40 {
        socket.write_all(format!("10000\r\n{}\r\n", " ".repeat(0x10000)).as_bytes()).await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    assert!(service.names().await.is_empty());
}

#[actix_web::test]
async fn refusals_of_the_supervisor_are_503_with_a_time_to_come_back() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, InstancePhase::Online, |_| {});
    for (error, code) in [(CommandError::Overloaded, "overloaded"), (CommandError::Stopping, "service-stopping")] {
        service.script.lock().refuses = Some(error);
        for (method, path) in [
            (Method::POST, "/instance/restart/demo"),
            (Method::DELETE, "/instance/logout/demo"),
            (Method::DELETE, "/instance/delete/demo"),
            (Method::POST, "/message/sendText/demo"),
        ] {
            let request = service.request(method, path).json(&json!({ "number": "5511999990001", "text": "hi" }));
            let response = request.send().await.unwrap();
            assert_eq!(header(&response, "retry-after"), "2", "{path}");
            let status = response.status().as_u16();
            let response = shape(503, "Service Unavailable", (status, response.json().await.unwrap()));
            assert_eq!(response["code"], code, "{path}");
        }
    }
    assert_eq!(service.names().await, ["demo"]);
}

#[actix_web::test]
async fn while_starting_and_stopping_nobody_is_told_that_an_instance_does_not_exist() {
    let service = Service::start().await;
    for (phase, ready, code) in [(Phase::Boot, false, "service-starting"), (Phase::Draining, false, "service-stopping")]
    {
        {
            let mut script = service.script.lock();
            (script.phase, script.ready) = (phase, ready);
        }
        let body = json!({ "instanceName": "new", "integration": "WHATSAPP-BAILEYS" });
        for answer in [
            service.get("/instance/connectionState/demo").await,
            service.get("/instance/fetchInstances").await,
            service.post("/instance/create", body).await,
        ] {
            assert_eq!(shape(503, "Service Unavailable", answer)["code"], code);
        }
    }
    assert!(service.names().await.is_empty());
}

#[actix_web::test]
async fn a_database_that_does_not_answer_is_said_to_be_that() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.store.close().await.unwrap();
    let webhook = json!({ "webhook": { "enabled": true, "url": "http://x" } });
    let create = json!({ "instanceName": "new", "integration": "WHATSAPP-BAILEYS" });
    service.asked();
    for answer in [
        service.get("/instance/fetchInstances").await,
        service.get("/webhook/find/demo").await,
        service.get("/settings/find/demo").await,
        service.post("/webhook/set/demo", webhook).await,
        service.post("/instance/create", create).await,
        service.delete("/instance/delete/demo").await,
    ] {
        assert_eq!(shape(503, "Service Unavailable", answer)["code"], "store-unavailable");
    }
    // Nothing was begun that could not be finished, and what needs no database goes on.
    assert!(service.asked().is_empty());
    assert_eq!(service.get("/instance/connectionState/demo").await.0, 200);
}
