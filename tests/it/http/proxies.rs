//! `/proxy`: Evolution's shapes and texts, over the real store; what is tried and who is told.

use holdfast::ports::proxies::TryOutError;
use holdfast_core::connection::DownReason;
use holdfast_core::proxy::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use super::service::{Service, answer};

fn body() -> Value {
    json!({ "enabled": true, "host": "proxy.example", "port": "8080", "protocol": "http", "username": "me", "password": "pw" })
}

#[actix_web::test]
async fn a_proxy_is_tried_stored_and_told_of() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    assert_eq!(service.get("/proxy/find/demo").await, (200, Value::Null));
    service.asked();

    let told = service.post("/proxy/set/demo", body()).await;
    assert_eq!(told, (201, json!({ "proxy": { "instanceName": "demo", "proxy": body() } })));
    assert_eq!(service.asked(), ["try http://proxy.example:8080".to_owned(), format!("reroute {id}")]);
    let (status, row) = service.get("/proxy/find/demo").await;
    assert_eq!(status, 200);
    let mut expected = body();
    for key in ["id", "createdAt", "updatedAt", "instanceId"] {
        assert!(row[key].is_string(), "{row}");
        expected[key] = row[key].clone();
    }
    assert_eq!(row, expected);
    let (_, listed) = service.get("/instance/fetchInstances").await;
    assert_eq!(listed[0]["Proxy"], row);

    // The same again changes nothing, and nobody is disturbed.
    service.post("/proxy/set/demo", body()).await;
    assert_eq!(service.asked(), ["try http://proxy.example:8080"]);
    // Without credentials there are none left.
    let bare = json!({ "enabled": true, "host": "proxy.example", "port": "8080", "protocol": "http" });
    assert_eq!(service.post("/proxy/set/demo", bare.clone()).await.1["proxy"]["proxy"], bare);
    assert_eq!(service.asked().len(), 2);
    let (_, row) = service.get("/proxy/find/demo").await;
    assert_eq!((&row["username"], &row["password"]), (&json!(""), &json!("")));

    let off = json!({ "enabled": false, "host": "x", "port": "1", "protocol": "http" });
    let empty = json!({ "enabled": false, "host": "", "port": "", "protocol": "", "username": "", "password": "" });
    assert_eq!(service.post("/proxy/set/demo", off.clone()).await.1["proxy"]["proxy"], empty);
    assert_eq!(service.asked(), [format!("reroute {id}")], "what is switched off is not tried");
    service.post("/proxy/set/demo", off).await;
    assert_eq!(service.asked(), Vec::<String>::new());
}

#[actix_web::test]
async fn texts_of_proxy_set() {
    let service = Service::start().await;
    service.instance("demo").await;
    let all = ["enabled", "host", "port", "protocol"].map(|field| format!("instance requires property \"{field}\""));
    for (change, expected) in [
        (json!({}), json!([all])),
        (json!({ "enabled": true, "host": "h", "port": "1" }), json!([["instance requires property \"protocol\""]])),
        (
            json!({ "enabled": "true", "host": "h", "port": 8080, "protocol": "http" }),
            json!([["enabled is not of a type(s) boolean", "port is not of a type(s) string"]]),
        ),
        (
            json!({ "enabled": true, "host": "h", "port": "1", "protocol": "http", "password": null }),
            json!([["password is not of a type(s) string"]]),
        ),
    ] {
        let (status, body) = service.post("/proxy/set/demo", change.clone()).await;
        assert_eq!((status, &body["response"]["message"]), (400, &expected), "{change}");
    }
    assert_eq!(service.get("/proxy/find/demo").await.1, Value::Null);
    assert_eq!(service.post("/proxy/set/nobody", body()).await.0, 404);
    let keyless = service.anonymous(Method::POST, "/proxy/set/demo").json(&body());
    assert_eq!(answer(keyless).await.0, 401);
}

#[actix_web::test]
async fn a_proxy_that_fails_its_try_changes_nothing() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    let fails = |why| service.script.lock().proxy = Some(why);
    for (why, code, stage) in [
        (DownReason::Proxy { fault: Fault::Credentials }, "net-proxy", json!("credentials")),
        (DownReason::UpgradeRefused { status: 403 }, "net-upgrade-refused", Value::Null),
    ] {
        fails(TryOutError::Failed(why.clone()));
        for (path, body) in [
            ("/proxy/set/demo", body()),
            (
                "/instance/create",
                json!({ "instanceName": "new", "integration": "WHATSAPP-BAILEYS", "proxyHost": "h",
                        "proxyPort": "80", "proxyProtocol": "http" }),
            ),
        ] {
            let (status, body) = service.post(path, body).await;
            assert_eq!((status, &body["response"]["message"]), (400, &json!(["Invalid proxy"])), "{body}");
            assert_eq!(body["response"]["code"], "proxy-unusable");
            assert_eq!(body["response"]["userAction"], "check_proxy");
            assert_eq!(body["response"]["reason"], code);
            assert_eq!(body["response"]["explanation"], why.sentence());
            assert_eq!(body["response"]["stage"], stage);
        }
    }
    fails(TryOutError::Busy);
    let (status, told) = service.post("/proxy/set/demo", body()).await;
    assert_eq!((status, &told["response"]["code"]), (503, &json!("overloaded")));
    assert!(service.asked().iter().all(|asked| asked.starts_with("try ")));
    assert_eq!(service.get("/proxy/find/demo").await.1, Value::Null);
    assert_eq!(service.names().await, ["demo"]);
}

#[actix_web::test]
async fn a_new_instance_has_its_proxy_before_it_is_started() {
    let service = Service::start().await;
    let create = |more: Value| {
        let mut body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    // A host alone would be ignored by Evolution, and its instance be seen by everybody.
    let (status, told) = service.post("/instance/create", create(json!({ "proxyHost": "proxy.example" }))).await;
    assert_eq!((status, &told["response"]["code"]), (400, &json!("proxy-unusable")), "{told}");
    assert!(service.asked().is_empty() && service.names().await.is_empty());

    let proxy = json!({ "proxyHost": "proxy.example", "proxyPort": "1080", "proxyProtocol": "socks" });
    assert_eq!(service.post("/instance/create", create(proxy)).await.0, 201);
    assert_eq!(service.asked(), ["try socks5h://proxy.example:1080", "start shop"]);
    let (_, row) = service.get("/proxy/find/shop").await;
    assert_eq!(
        (&row["enabled"], &row["host"], &row["protocol"]),
        (&json!(true), &json!("proxy.example"), &json!("socks"))
    );
    // Clients send what they do not mean as empty texts.
    let empty = json!({ "instanceName": "other", "proxyHost": "", "proxyPort": "", "proxyProtocol": "http" });
    assert_eq!(service.post("/instance/create", create(empty)).await.0, 201);
    assert_eq!(service.asked(), ["start other"]);
    assert_eq!(service.get("/proxy/find/other").await.1, Value::Null);
}
