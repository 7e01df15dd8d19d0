//! What spans all instances is the same from every node.

use std::time::Duration;

use holdfast::ports::session::{Loss, LossReason, MessageKey, SessionBatch, Sessions as _};
use holdfast::ports::store::Instances as _;
use holdfast_core::connection::{Desired, Phase};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::register::Pair;
use super::service::{Service, answer};

/// The rows by name: state and code.
async fn states(service: &Service) -> Vec<(String, String, Value)> {
    let (status, rows) = service.get("/instance/fetchInstances").await;
    assert_eq!(status, 200, "{rows}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut states: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(&row["name"]), text(&row["connectionStatus"]), row["code"].clone()))
        .collect();
    states.sort_by(|one, other| one.0.cmp(&other.0));
    states
}

fn is(name: &str, state: &str, code: Value) -> (String, String, Value) {
    (name.to_owned(), state.to_owned(), code)
}

/// The lines of Evolution's gauges.
async fn gauges(service: &Service) -> Vec<String> {
    let answer = service.anonymous(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let ours = |line: &&str| line.starts_with("evolution_") || line.starts_with("holdfast_fleet_complete");
    text.lines().filter(ours).map(str::to_owned).collect()
}

#[actix_web::test]
async fn the_list_and_the_gauges_are_the_same_from_every_node() {
    let pair = Pair::start().await;
    let (far, token) = pair.instance("far").await;
    let (near, _) = pair.b.instance("near").await;
    pair.owned_by(&near, Some("b"));
    pair.a.put(&far, Phase::Online, |_| {});
    pair.b.put(&near, Phase::Pairing, |_| {});

    let (_, rows) = pair.b.get("/instance/fetchInstances").await;
    assert_eq!(rows, pair.a.get("/instance/fetchInstances").await.1);
    assert_eq!(states(&pair.b).await, [is("far", "open", Value::Null), is("near", "connecting", Value::Null)]);
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "far").unwrap();
    assert_eq!((&row["ownerJid"], &row["profileName"]), (&json!("5511999990001@s.whatsapp.net"), &json!("Shop")));
    let lines = gauges(&pair.b).await;
    assert_eq!(lines, gauges(&pair.a).await);
    for line in [
        r#"evolution_instance_up{instance="far",integration="WHATSAPP-BAILEYS"} 1"#,
        r#"evolution_instance_up{instance="near",integration="WHATSAPP-BAILEYS"} 0"#,
        "evolution_instances_total 2",
        "holdfast_fleet_complete 1",
    ] {
        assert!(lines.iter().any(|one| one == line), "{line}: {lines:?}");
    }

    let by = |key: &str, query: &str| {
        let request = pair.b.anonymous(Method::GET, &format!("/instance/fetchInstances{query}"));
        answer(request.header("apikey", key))
    };
    let (status, own) = by(&token, "").await;
    assert_eq!((status, own.as_array().unwrap().len(), &own[0]["name"]), (200, 1, &json!("far")));
    assert_eq!(own[0]["connectionStatus"], "open");
    assert_eq!(by(&token, "?instanceName=near").await.0, 401);
    for key in ["wrong", ""] {
        assert_eq!(by(key, "").await.0, 401);
    }
    let (_, chosen) = pair.b.get(&format!("/instance/fetchInstances?instanceId={far}")).await;
    assert_eq!(chosen[0]["name"], "far");
}

#[actix_web::test]
async fn open_ends_with_its_proof_wherever_it_is_read() {
    let pair = Pair::start().await;
    let (far, _) = pair.instance("far").await;
    let fresh = Duration::from_millis(400);
    pair.a.put(&far, Phase::Online, |entry| entry.status.fresh_until = Some(pair.a.clock.now().after(fresh)));
    assert_eq!(states(&pair.b).await, [is("far", "open", Value::Null)]);
    tokio::time::sleep(fresh).await;
    assert_eq!(states(&pair.b).await, [is("far", "connecting", json!("proof-overdue"))]);
}

#[actix_web::test]
async fn what_no_owner_answers_for_is_not_open() {
    let pair = Pair::start().await;
    let (paired, _) = pair.instance("paired").await;
    let (fresh, _) = pair.instance("fresh").await;
    let store = &pair.a.store;
    store.set_desired(&paired, Desired::Connected).await.unwrap();
    let epoch = store.claim(&paired).await.unwrap().epoch;
    let batch = SessionBatch { device: Some(vec![1]), paired: Some(true), ..SessionBatch::default() };
    store.commit(&paired, epoch, batch).await.unwrap();
    pair.a.put(&paired, Phase::Online, |_| {});
    pair.a.put(&fresh, Phase::Unpaired, |_| {});
    assert_eq!(states(&pair.b).await, [is("fresh", "close", Value::Null), is("paired", "open", Value::Null)]);

    // Nothing listens there, and somebody who never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    pair.a.stop().await;
    for url in [pair.a.url.as_str(), silent.as_str(), &pair.b.url] {
        pair.of_b.node("a", Some(url), true);
        let code = json!("node-unreachable");
        let expected = [is("fresh", "connecting", code.clone()), is("paired", "connecting", code)];
        assert_eq!(states(&pair.b).await, expected, "{url}");
        assert!(gauges(&pair.b).await.contains(&"holdfast_fleet_complete 0".to_owned()));
    }
    pair.of_b.node("a", None, true);
    assert_eq!(states(&pair.b).await[1], is("paired", "connecting", json!("node-without-url")));
    let unowned = [is("fresh", "close", Value::Null), is("paired", "connecting", json!("instance-unowned"))];
    pair.of_b.node("a", Some(&silent), false);
    assert_eq!(states(&pair.b).await, unowned);
    pair.of_b.gives(&paired, None);
    assert_eq!(states(&pair.b).await, unowned);
    pair.of_b.gives(&paired, Some("b"));
    assert_eq!(states(&pair.b).await[1], is("paired", "connecting", json!("instance-moving")));
    pair.of_b.book().unavailable = true;
    assert_eq!(pair.b.get("/instance/fetchInstances").await.0, 503);
    assert!(gauges(&pair.b).await.contains(&"holdfast_fleet_complete 0".to_owned()));
}

#[actix_web::test]
async fn the_nodes_are_listed_by_every_one_of_them() {
    let pair = Pair::start().await;
    let view = |name: &str, url: &str, own: bool| {
        json!({ "name": name, "url": url, "version": "1.2.3", "alive": true, "draining": false, "instances": 1,
                "since": "1970-01-01T00:00:00.000Z", "seenSecondsAgo": 3, "self": own })
    };
    for (service, is_a) in [(&pair.a, true), (&pair.b, false)] {
        let expected = json!({ "nodes": [view("a", &pair.a.url, is_a), view("b", &pair.b.url, !is_a)] });
        assert_eq!(service.get("/engine/nodes").await, (200, expected));
    }
    assert_eq!(answer(pair.a.anonymous(Method::GET, "/engine/nodes")).await.0, 401);

    let alone = Service::start().await;
    alone.instance("shop").await;
    let (_, body) = alone.get("/engine/nodes").await;
    let one = &body["nodes"][0];
    assert_eq!(body["nodes"].as_array().unwrap().len(), 1);
    assert_eq!((&one["name"], &one["self"], &one["instances"]), (&json!("it"), &json!(true), &json!(1)));
}

#[actix_web::test]
async fn messages_without_content_are_told_by_every_node_with_the_name_of_their_instance() {
    let pair = Pair::start().await;
    let (far, _) = pair.instance("far").await;
    let epoch = pair.a.store.claim(&far).await.unwrap().epoch;
    let key = MessageKey { chat: "c@lid".to_owned(), sender: "s@lid".to_owned(), id: "A1".to_owned() };
    let loss = Loss { key, why: LossReason::Undecryptable, given_up: false };
    let batch = SessionBatch { losses: vec![loss], ..SessionBatch::default() };
    pair.a.store.commit(&far, epoch, batch).await.unwrap();
    for path in ["/engine/unrecovered", "/engine/unrecovered?instance=far"] {
        let (status, body) = pair.b.get(path).await;
        assert_eq!((status, &body["messages"][0]["instanceName"]), (200, &json!("far")), "{path}: {body}");
    }
    assert_eq!(pair.b.get("/engine/unrecovered?instance=nobody").await.0, 404);
}
