//! `POST /webhook/set/{name}` and `GET /webhook/find/{name}`.

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
