//! `POST /webhook/set/{name}` and `GET /webhook/find/{name}`.

use holdfast::ports::store::Instances as _;
use holdfast_core::event::EventName;
use serde_json::{Value, json};

use super::service::Service;

#[actix_web::test]
async fn the_wrapped_body_is_stored_and_answered_flat() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    let body = json!({ "webhook": { "enabled": true, "url": "https://x/y", "headers": { "apikey": "secret", "n": 1 }, "byEvents": true,
                                    "base64": true, "events": ["MESSAGES_UPSERT", "CALL"] } });
    let (status, mut row) = service.post("/webhook/set/demo", body).await;
    assert_eq!(status, 201);
    assert_eq!(service.get("/webhook/find/demo").await, (200, row.clone()));
    for key in ["id", "createdAt", "updatedAt"] {
        assert!(row[key].take().is_string());
    }
    assert_eq!(
        row,
        json!({ "id": null, "url": "https://x/y", "headers": { "apikey": "secret", "n": 1 }, "enabled": true,
                "events": ["MESSAGES_UPSERT", "CALL"], "webhookByEvents": true, "webhookBase64": true,
                "createdAt": null, "updatedAt": null, "instanceId": id })
    );
}

#[actix_web::test]
async fn bodies_of_version_one_are_understood() {
    let service = Service::start().await;
    service.instance("demo").await;
    let url = "https://x/y";
    for (body, by_events, base64) in [
        (
            json!({ "enabled": true, "url": url, "webhookByEvents": true, "webhookBase64": true, "events": ["CALL"] }),
            true,
            true,
        ),
        (json!({ "url": url, "enabled": true, "webhook_by_events": true, "events": ["CALL"] }), true, false),
        (json!({ "webhook": { "enabled": true, "url": url, "events": ["CALL"], "more": { "x": 1 } } }), false, false),
        (
            json!({ "webhook": { "enabled": true, "url": url, "webhookByEvents": false, "events": ["CALL"], "headers": null } }),
            false,
            false,
        ),
    ] {
        let (status, row) = service.post("/webhook/set/demo", body.clone()).await;
        assert_eq!(
            (status, &row["url"], &row["enabled"], &row["events"]),
            (201, &json!(url), &json!(true), &json!(["CALL"])),
            "{body}"
        );
        assert_eq!(
            (&row["webhookByEvents"], &row["webhookBase64"], &row["headers"]),
            (&json!(by_events), &json!(base64), &Value::Null)
        );
    }
    // One client writes an empty URL so.
    let (status, row) =
        service.post("/webhook/set/demo", json!({ "webhook": { "enabled": false, "url": "vazio" } })).await;
    assert_eq!(
        (status, &row["url"], &row["enabled"], &row["events"]),
        (201, &json!("vazio"), &json!(false), &json!([]))
    );
}

#[actix_web::test]
async fn no_events_and_an_empty_list_mean_all_and_both_spellings_of_one_are_known() {
    let service = Service::start().await;
    service.instance("demo").await;
    for body in
        [json!({ "enabled": true, "url": "http://x" }), json!({ "enabled": true, "url": "http://x", "events": [] })]
    {
        let (_, row) = service.post("/webhook/set/demo", json!({ "webhook": body })).await;
        assert_eq!(row["events"].as_array().unwrap().len(), EventName::ALL.len());
    }
    let body = json!({ "webhook": { "enabled": true, "url": "http://x", "events": ["GROUP_UPDATE", "GROUPS_UPDATE", "GROUP_UPDATE"] } });
    assert_eq!(service.post("/webhook/set/demo", body).await.1["events"], json!(["GROUPS_UPDATE"]));
}

#[actix_web::test]
async fn an_instance_without_webhook_has_null_and_default_settings() {
    let service = Service::start().await;
    service.instance("demo").await;
    assert_eq!(service.get("/webhook/find/demo").await, (200, Value::Null));
    let (status, settings) = service.get("/settings/find/demo").await;
    assert_eq!((status, settings.as_object().unwrap().len()), (200, 8));
}

#[actix_web::test]
async fn an_address_that_is_not_called_is_refused_before_anything_changes() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    let set = |url: &str, enabled: bool| json!({ "webhook": { "enabled": enabled, "url": url, "events": ["CALL"] } });
    service.asked();
    for url in [
        "http://127.0.0.1/x",
        "http://localhost:3000/x",
        "http://2130706433/x",
        "http://[::1]/x",
        "http://[::ffff:192.168.0.1]/x",
        "http://169.254.169.254/latest/meta-data",
        "https://10.2.0.1/x",
        "http://0.0.0.0/x",
        "http://user:s3cret@192.168.1.1/x",
    ] {
        let (status, body) = service.post("/webhook/set/demo", set(url, true)).await;
        let response = &body["response"];
        assert_eq!(
            (status, &response["code"], &response["userAction"]),
            (400, &json!("webhook-address-refused"), &json!("allow_network")),
            "{url}"
        );
        let text = response["message"][0].as_str().unwrap();
        assert!(text.contains("WEBHOOK_ALLOWED_NETWORKS") && !text.contains("s3cret"), "{text}");
        let create = json!({ "instanceName": "new", "integration": "WHATSAPP-BAILEYS", "webhook": { "url": url } });
        assert_eq!(
            service.post("/instance/create", create).await.1["response"]["code"],
            "webhook-address-refused",
            "{url}"
        );
    }
    assert!(service.store.webhook(&id).await.unwrap().is_none());
    assert_eq!((service.names().await, service.asked()), (vec!["demo".to_owned()], vec![]));
    // Switching one off is never refused; names and what the operator allows are taken.
    for (url, enabled) in [
        ("http://127.0.0.1/x", false),
        ("http://10.1.2.3/x", true),
        ("http://n8n:5678/x", true),
        ("https://1.1.1.1/x", true),
    ] {
        assert_eq!(service.post("/webhook/set/demo", set(url, enabled)).await.0, 201, "{url}");
    }
}

#[actix_web::test]
async fn a_key_that_cannot_sign_is_refused_without_repeating_it() {
    let service = Service::start().await;
    service.instance("demo").await;
    for key in [json!("whsec_s3cret!"), json!(""), json!(7), json!(null)] {
        let headers = json!({ "hmac_key": key });
        let body = json!({ "webhook": { "enabled": true, "url": "http://x.test", "headers": headers } });
        let (status, body) = service.post("/webhook/set/demo", body).await;
        assert_eq!((status, &body["response"]["code"]), (400, &json!("request-invalid")));
        assert!(body.to_string().contains("hmac_key") && !body.to_string().contains("s3cret"), "{body}");
    }
}
