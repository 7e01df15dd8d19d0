//! Bad input: the contract's texts, wrapped twice, and nothing changed.

use reqwest::Method;
use serde_json::{Value, json};

use super::service::{Service, answer};

fn texts((status, body): (u16, Value)) -> Value {
    assert_eq!((status, &body["status"], &body["error"]), (400, &json!(400), &json!("Bad Request")), "{body}");
    assert_eq!(body["response"]["code"], "request-invalid", "{body}");
    body["response"]["message"].clone()
}

#[actix_web::test]
async fn texts_of_send_text() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    for (body, expected) in [
        (json!({}), json!([["instance requires property \"number\"", "instance requires property \"text\""]])),
        (json!({ "text": "hi" }), json!([["instance requires property \"number\""]])),
        (json!({ "number": 5511, "text": "hi" }), json!([["Invalid format"]])),
        (json!({ "number": "5511", "text": 5 }), json!([["text is not of a type(s) string"]])),
        (json!({ "number": "5511", "text": "hi", "delay": "5" }), json!([["Enter a value in milliseconds"]])),
        (json!({ "number": "5511", "text": "hi", "delay": 1.5 }), json!([["Enter a value in milliseconds"]])),
        (
            json!({ "number": "5511", "text": "hi", "linkPreview": "no" }),
            json!([["linkPreview is not of a type(s) boolean"]]),
        ),
        (
            json!({ "number": "5511", "text": "hi", "mentioned": ["ana"] }),
            json!([["\"mentioned\" must be an array of numeric strings"]]),
        ),
        (
            json!({ "number": "5511", "text": "hi", "quoted": { "key": {} } }),
            json!([["quoted.key requires property \"id\""]]),
        ),
        (json!({ "number": " ", "text": "hi" }), json!([["The \"number\" cannot be empty"]])),
        (json!([]), json!([["instance is not of a type(s) object"]])),
    ] {
        assert_eq!(texts(service.post("/message/sendText/demo", body.clone()).await), expected, "{body}");
    }
    // The service's own text stands in one array only.
    let (status, body) = service.post("/message/sendText/demo", json!({ "number": "5511", "text": " " })).await;
    assert_eq!((status, &body["response"]["message"]), (400, &json!(["Text is required"])));
    assert!(service.asked().is_empty());
}

#[actix_web::test]
async fn texts_of_webhook_set() {
    let service = Service::start().await;
    service.instance("demo").await;
    for (body, expected) in [
        (json!({}), "instance requires property \"webhook\""),
        (json!({ "webhook": 5 }), "webhook is not of a type(s) object"),
        (json!({ "webhook": { "enabled": true } }), "webhook requires property \"url\""),
        (json!({ "enabled": true }), "webhook requires property \"url\""),
        (json!({ "webhook": { "url": "http://x" } }), "webhook requires property \"enabled\""),
        (json!({ "webhook": { "enabled": "true", "url": "http://x" } }), "webhook.enabled is not of a type(s) boolean"),
        (
            json!({ "webhook": { "enabled": true, "url": "http://x", "events": "ALL" } }),
            "webhook.events is not of a type(s) array",
        ),
        (
            json!({ "webhook": { "enabled": true, "url": "http://x", "headers": [] } }),
            "webhook.headers is not of a type(s) object",
        ),
        (
            json!({ "webhook": { "enabled": true, "url": "http://x", "headers": { "a b": "c" } } }),
            "webhook.headers has an invalid name or value at \"a b\"",
        ),
        (
            json!({ "webhook": { "enabled": true, "url": "http://x", "headers": { "a": "b\r\nc: d" } } }),
            "webhook.headers has an invalid name or value at \"a\"",
        ),
    ] {
        assert_eq!(texts(service.post("/webhook/set/demo", body.clone()).await), json!([[expected]]), "{body}");
    }
    let unknown = json!({ "webhook": { "enabled": true, "url": "http://x", "events": ["NOPE"] } });
    let text = texts(service.post("/webhook/set/demo", unknown).await);
    assert!(
        text[0][0].as_str().unwrap().starts_with("webhook.events[0] is not one of enum values: APPLICATION_STARTUP,"),
        "{text}"
    );
    assert_eq!(service.get("/webhook/find/demo").await, (200, Value::Null));
}

#[actix_web::test]
async fn texts_of_create() {
    let service = Service::start().await;
    for (change, expected) in [
        (json!({ "instanceName": null }), "instanceName is not of a type(s) string".to_owned()),
        (json!({ "instanceName": "" }), "The \"instanceName\" cannot be empty".to_owned()),
        (json!({ "instanceName": "x".repeat(256) }), "The \"instanceName\" is longer than 255 characters".to_owned()),
        (
            json!({ "instanceName": "x".repeat(1_000_000) }),
            "The \"instanceName\" is longer than 255 characters".to_owned(),
        ),
        (json!({ "instanceName": "a\u{0}b" }), "The character NUL is in no text that can be stored".to_owned()),
        (json!({ "instanceName": "a\r\nb" }), "The \"instanceName\" has control characters".to_owned()),
        (json!({ "token": "a\u{1b}b" }), "The \"token\" has control characters".to_owned()),
        (json!({ "token": 5 }), "token is not of a type(s) string".to_owned()),
        (json!({ "number": "1" }), "number does not match pattern \"^\\\\d+[\\\\.@\\\\w-]+\"".to_owned()),
        (json!({ "number": 5511 }), "number is not of a type(s) string".to_owned()),
        (json!({ "rejectCall": "true" }), "rejectCall is not of a type(s) boolean".to_owned()),
        (json!({ "webhook": { "events": [] } }), "webhook requires property \"url\"".to_owned()),
    ] {
        let mut body = json!({ "instanceName": "demo", "integration": "WHATSAPP-BAILEYS" });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        assert_eq!(texts(service.post("/instance/create", body).await), json!([[expected]]));
    }
    let nameless = service.post("/instance/create", json!({ "integration": "WHATSAPP-BAILEYS" })).await;
    assert_eq!(texts(nameless), json!([["instance requires property \"instanceName\""]]));
    assert!(service.names().await.is_empty());
    assert!(service.asked().is_empty());
}

#[actix_web::test]
async fn create_refuses_the_texts_that_settings_set_refuses() {
    let service = Service::start().await;
    for key in ["msgCall", "wavoipToken", "number"] {
        let create = async |length: usize| {
            let mut body = json!({ "instanceName": format!("{key}{length}"), "integration": "WHATSAPP-BAILEYS" });
            body[key] = json!("5".repeat(length));
            service.post("/instance/create", body).await
        };
        let told = json!([[format!("{key} does not meet maximum length of 100")]]);
        assert_eq!(texts(create(101).await), told);
        assert_eq!(create(100).await.0, 201, "{key}");
    }
    assert_eq!(service.names().await.len(), 3, "what was refused has left nothing behind");
    let (_, rows) = service.get("/instance/fetchInstances?instanceName=msgCall100").await;
    assert_eq!(rows[0]["Setting"]["msgCall"].as_str().unwrap().len(), 100);
}

#[actix_web::test]
async fn what_create_cannot_do_is_refused_with_a_sentence() {
    let service = Service::start().await;
    for (change, code, message) in [
        (json!({ "integration": null }), "integration-invalid", "Invalid integration"),
        (json!({ "integration": "whatsapp-baileys" }), "integration-invalid", "Invalid integration"),
        (json!({ "integration": "WHATSAPP-BUSINESS" }), "not-supported", "integration WHATSAPP-BUSINESS"),
        (json!({ "integration": "EVOLUTION" }), "not-supported", "integration EVOLUTION"),
        (
            json!({ "chatwootAccountId": "1", "chatwootToken": "t", "chatwootUrl": "u" }),
            "not-supported",
            "Chatwoot is not enabled",
        ),
    ] {
        let mut body = json!({ "instanceName": "demo", "integration": "WHATSAPP-BAILEYS" });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, body) = service.post("/instance/create", body).await;
        assert_eq!((status, &body["response"]["code"]), (400, &json!(code)), "{body}");
        let text = body["response"]["message"][0].as_str().unwrap();
        assert!(text.contains(message), "{text}");
    }
    assert!(service.names().await.is_empty());
}

#[actix_web::test]
async fn hostile_names_are_escaped_in_echoes() {
    let service = Service::start().await;
    let (status, body) =
        answer(service.request(Method::GET, "/instance/connectionState/%22%7D%3Cscript%3E%0A%00%ff")).await;
    assert_eq!(status, 404);
    assert_eq!(body["response"]["message"], json!(["The \"\"}<script>\n\u{0}\u{fffd}\" instance does not exist"]));
    let path = format!("/instance/connectionState/{}", "x".repeat(20_000));
    assert_eq!(service.get(&path).await.0, 404);
}
