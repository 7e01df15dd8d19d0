//! `/engine/outbox` and `/engine/dead-letters`.

use holdfast::actors::dispatcher::protocol::TargetStatus;
use holdfast::ports::outbox::{Loaded, Outbox as _, Settlement};
use holdfast::ports::session::{Loss, LossReason, MessageKey, SessionBatch, Sessions as _};
use holdfast_core::delivery::origin::Origin;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use reqwest::Method;
use serde_json::{Value, json};

use super::service::{Service, answer};

const URL: &str = "https://user:s3cret@receiver.test:8443/hook?k=s3cret";

#[actix_web::test]
async fn the_outbox_is_shown_by_instance_and_by_target() {
    let service = Service::start().await;
    let shop = subscriber(&service, "shop", URL).await;
    let bar = subscriber(&service, "bar", "http://other.test/x").await;
    queue(&service, &shop, &["1", "2", "3"]).await;
    queue(&service, &bar, &["1"]).await;
    give_up(&service, &shop).await;
    let since = service.clock.wall();
    service.script.lock().targets = vec![
        target("https://receiver.test:8443", "open", 5, Some(since)),
        target("https://forgotten.test", "closed", 0, None),
        target("https://failing.test", "closed", 2, None),
    ];
    let (status, mut body) = service.get("/engine/outbox").await;
    assert_eq!(status, 200, "{body}");
    for one in body["instances"].as_array_mut().unwrap() {
        one.as_object_mut().unwrap().remove("instanceId").unwrap();
        untime(one);
    }
    assert!(body["oldestAt"].is_string());
    untime(&mut body);
    let sinks = json!([{ "sink": "webhook", "underWay": 1, "delivered": 7, "failed": 3, "givenUp": 2 }]);
    assert_eq!((&body["pending"], &body["dead"], &body["sinks"]), (&json!(3), &json!(1), &sinks));
    assert_eq!(
        body["instances"],
        json!([{ "instanceName": "bar", "target": "http://other.test", "pending": 1, "dead": 0 },
               { "instanceName": "shop", "target": "https://receiver.test:8443", "pending": 2, "dead": 1 }])
    );
    let targets = body["targets"].as_array().unwrap();
    let told: Vec<_> = targets
        .iter()
        .map(|one| {
            (
                one["target"].as_str().unwrap(),
                one["pending"].as_u64().unwrap(),
                one["breaker"]["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("http://other.test", 1, "closed"),
            ("https://failing.test", 0, "closed"),
            ("https://receiver.test:8443", 2, "open")
        ]
    );
    let open = &targets[2]["breaker"];
    assert_eq!((&open["failures"], open["since"].is_string(), open["nextTryAt"].is_string()), (&json!(5), true, true));
    assert!(!body.to_string().contains("s3cret"), "{body}");
}

#[actix_web::test]
async fn an_empty_outbox_is_all_zeros() {
    let service = Service::start().await;
    let (status, body) = service.get("/engine/outbox").await;
    assert_eq!(status, 200);
    assert_eq!(
        (&body["pending"], &body["dead"], &body["oldestAt"], &body["oldestAgeMs"]),
        (&json!(0), &json!(0), &Value::Null, &Value::Null)
    );
    assert_eq!((&body["instances"], &body["targets"]), (&json!([]), &json!([])));
}

#[actix_web::test]
async fn dead_letters_are_shown_in_pages_without_secrets() {
    let service = Service::start().await;
    let shop = subscriber(&service, "shop", URL).await;
    let bar = subscriber(&service, "bar", "http://other.test/x").await;
    queue(&service, &shop, &["1", "2"]).await;
    queue(&service, &bar, &["1"]).await;
    for id in [&shop, &shop, &bar] {
        give_up(&service, id).await;
    }
    let (status, body) = service.get("/engine/dead-letters?limit=2").await;
    assert_eq!(status, 200);
    let first = &body["deadLetters"][0];
    assert_eq!(
        (&first["instanceName"], &first["event"], &first["attempts"], &first["why"], &first["url"]),
        (&json!("shop"), &json!("call"), &json!(1), &json!("404"), &json!("https://receiver.test:8443/hook"))
    );
    assert_eq!(
        (&first["instanceId"], first["eventId"].as_str().unwrap().len(), first.get("data")),
        (&json!(shop), 36, None)
    );
    assert!(first["at"].as_str().unwrap().ends_with('Z') && first["deadAt"].as_str().unwrap().ends_with('Z'));
    assert!(!body.to_string().contains("s3cret"), "{body}");
    let next = body["next"].as_i64().unwrap();
    let (_, rest) = service.get(&format!("/engine/dead-letters?limit=2&after={next}&data=true")).await;
    assert_eq!((rest["deadLetters"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(
        (&rest["deadLetters"][0]["instanceName"], &rest["deadLetters"][0]["data"]),
        (&json!("bar"), &json!({ "label": "1" }))
    );
    let (_, of_bar) = service.get("/engine/dead-letters?instance=bar&limit=999999999").await;
    assert_eq!(of_bar["deadLetters"].as_array().unwrap().len(), 1);
    assert_eq!(service.get("/engine/dead-letters?instance=nobody").await.1, json!({ "deadLetters": [], "next": null }));
    for wrong in ["limit=0", "limit=x", "limit=-1", "after=x", "after=-5", "after=99999999999999999999", "data=yes"] {
        let (status, body) = service.get(&format!("/engine/dead-letters?{wrong}")).await;
        assert_eq!((status, &body["response"]["code"]), (400, &json!("request-invalid")), "{wrong}");
    }
}

#[actix_web::test]
async fn letters_are_redriven_and_thrown_away_and_told_how_many() {
    let service = Service::start().await;
    let shop = subscriber(&service, "shop", URL).await;
    let bar = subscriber(&service, "bar", "http://other.test/x").await;
    queue(&service, &shop, &["1", "2"]).await;
    queue(&service, &bar, &["1"]).await;
    for id in [&shop, &shop, &bar] {
        give_up(&service, id).await;
    }
    let id = service.get("/engine/dead-letters").await.1["deadLetters"][1]["id"].clone();
    let redrive = async |body: Value| service.post("/engine/dead-letters/redrive", body).await;
    assert_eq!(redrive(json!({ "ids": [id] })).await, (200, json!({ "redriven": 1, "left": 0 })));
    assert_eq!(redrive(json!({ "ids": [id] })).await, (200, json!({ "redriven": 0, "left": 0 })));
    assert_eq!(redrive(json!({ "instance": "nobody" })).await, (200, json!({ "redriven": 0, "left": 0 })));
    let off = json!({ "webhook": { "enabled": false, "url": "http://other.test/x" } });
    assert_eq!(service.post("/webhook/set/bar", off).await.0, 201);
    assert_eq!(redrive(json!({ "all": true })).await, (200, json!({ "redriven": 1, "left": 1 })));
    let discard = async |body: Value| answer(service.request(Method::DELETE, "/engine/dead-letters").json(&body)).await;
    assert_eq!(discard(json!({ "instance": "shop" })).await, (200, json!({ "deleted": 0 })));
    assert_eq!(discard(json!({ "all": true })).await, (200, json!({ "deleted": 1 })));
    let lag = service.store.lag().await.unwrap();
    assert_eq!((lag.pending, lag.dead), (2, 0));
}

#[actix_web::test]
async fn a_slip_never_means_everything() {
    let service = Service::start().await;
    let shop = subscriber(&service, "shop", URL).await;
    queue(&service, &shop, &["1"]).await;
    give_up(&service, &shop).await;
    let many: Vec<u32> = (0..1001).collect();
    for body in [
        json!({}),
        json!({ "all": false }),
        json!({ "all": "true" }),
        json!({ "All": true }),
        json!({ "all": true, "instance": "shop" }),
        json!({ "all": true, "dryRun": true }),
        json!({ "instance": "" }),
        json!({ "instance": null }),
        json!({ "instance": ["shop"] }),
        json!({ "ids": [] }),
        json!({ "ids": "1" }),
        json!({ "ids": ["1"] }),
        json!({ "ids": [1.5] }),
        json!({ "ids": [1, 1] }),
        json!({ "ids": many }),
        json!([]),
    ] {
        for (method, path) in [(Method::POST, "/engine/dead-letters/redrive"), (Method::DELETE, "/engine/dead-letters")]
        {
            let (status, answer) = answer(service.request(method, path).json(&body)).await;
            assert_eq!((status, &answer["response"]["code"]), (400, &json!("request-invalid")), "{body}");
        }
    }
    // Without a body at all.
    assert_eq!(service.delete("/engine/dead-letters").await.0, 400);
    let lag = service.store.lag().await.unwrap();
    assert_eq!((lag.pending, lag.dead), (0, 1));
}

#[actix_web::test]
async fn only_the_global_key_opens_the_engine() {
    let service = Service::start().await;
    let (_, token) = service.instance("demo").await;
    for (method, path) in [
        (Method::GET, "/engine/fleet"),
        (Method::GET, "/engine/process"),
        (Method::GET, "/engine/outbox"),
        (Method::GET, "/engine/dead-letters"),
        (Method::POST, "/engine/dead-letters/redrive"),
        (Method::DELETE, "/engine/dead-letters"),
    ] {
        for key in [token.as_str(), "wrong"] {
            let request = service.anonymous(method.clone(), path).header("apikey", key).json(&json!({ "all": true }));
            assert_eq!(answer(request).await.0, 401, "{path}");
        }
    }
}

async fn subscriber(service: &Service, name: &str, url: &str) -> InstanceId {
    let (id, _) = service.instance(name).await;
    let set = json!({ "webhook": { "enabled": true, "url": url, "events": ["CALL"] } });
    assert_eq!(service.post(&format!("/webhook/set/{name}"), set).await.0, 201);
    id
}

async fn queue(service: &Service, id: &InstanceId, labels: &[&str]) {
    let event = |label: &&str| EngineEvent { name: EventName::Call, data: json!({ "label": label }) };
    service.store.append(id, labels.iter().map(event).collect()).await.unwrap();
}

/// Gives the oldest delivery of an instance up.
async fn give_up(service: &Service, id: &InstanceId) {
    let Loaded::Ready(delivery) = service.store.next(id, i64::MAX).await.unwrap() else { panic!("nothing waits") };
    let dead = Settlement::Dead { counts: true, and_before_ms: None, why: "404".to_owned() };
    service.store.settle(vec![(delivery.seq, dead)]).await.unwrap();
}

fn target(
    origin: &str,
    breaker: &'static str,
    failures: u32,
    since: Option<chrono::DateTime<chrono::Utc>>,
) -> TargetStatus {
    TargetStatus { origin: Origin::new(origin), breaker, failures, since, next_try_at: since, under_way: 0 }
}

/// Takes the times out, which differ from run to run.
fn untime(view: &mut Value) {
    let view = view.as_object_mut().unwrap();
    for key in ["oldestAt", "oldestAgeMs"] {
        assert!(view.remove(key).is_some());
    }
}

#[actix_web::test]
async fn messages_without_their_content_are_told_by_their_ids() {
    let service = Service::start().await;
    let (shop, _) = service.instance("shop").await;
    let (bar, _) = service.instance("bar").await;
    for (id, message) in [(&shop, "A1"), (&shop, "A1"), (&bar, "B1")] {
        let epoch = service.store.claim(id).await.unwrap().epoch;
        let key = MessageKey { chat: "c@lid".to_owned(), sender: "s@lid".to_owned(), id: message.to_owned() };
        let loss = Loss { key, why: LossReason::Undecryptable, given_up: id == &bar };
        let batch = SessionBatch { losses: vec![loss], ..SessionBatch::default() };
        service.store.commit(id, epoch, batch).await.unwrap();
    }
    let (status, body) = service.get("/engine/unrecovered?instance=shop").await;
    assert_eq!((status, body["messages"].as_array().unwrap().len()), (200, 1));
    let one = &body["messages"][0];
    assert_eq!(
        (&one["instanceName"], &one["id"], &one["chat"], &one["sender"], &one["why"], &one["times"], &one["givenUpAt"]),
        (
            &json!("shop"),
            &json!("A1"),
            &json!("c@lid"),
            &json!("s@lid"),
            &json!("undecryptable"),
            &json!(2),
            &Value::Null
        )
    );
    assert!(one["since"].is_string());
    let (_, all) = service.get("/engine/unrecovered").await;
    let given_up: Vec<_> =
        all["messages"].as_array().unwrap().iter().filter(|one| one["givenUpAt"].is_string()).collect();
    assert_eq!((all["messages"].as_array().unwrap().len(), given_up.len()), (2, 1));
    assert_eq!(given_up[0]["instanceName"], "bar");
    assert_eq!(service.get("/engine/unrecovered?instance=nobody").await.0, 404);
}
