//! `GET /engine/fleet` and `GET /engine/process`.

use std::time::Duration;

use holdfast::ports::board::FleetStatus;
use holdfast_core::fleet::View;
use serde_json::{Value, json};

use super::service::{Service, eventually};

#[actix_web::test]
async fn a_fleet_at_rest_is_told_in_full() {
    let service = Service::start().await;
    let none = json!({
        "mode": "normal", "since": null, "canary": null, "nextCanaryAt": null, "inFlight": 0, "waiting": 0, "held": 0, "wanting": 0, "up": 0,
        "actors": { "running": 0, "restarting": 0, "quarantined": 0, "restarts": 0 },
    });
    assert_eq!(service.get("/engine/fleet").await, (200, none));
}

#[actix_web::test]
async fn an_outage_of_the_host_is_told_with_its_canary_by_name() {
    let service = Service::start().await;
    let (canary, _) = service.instance("canary").await;
    let now = service.clock.now();
    let next = now.after(Duration::from_secs(30));
    let dials = View {
        outage_since: Some(now),
        canary: Some(canary),
        next_canary_at: Some(next),
        in_flight: 1,
        waiting: 2,
        held: 3,
        wanting: 7,
        up: 4,
    };
    service.board.hang_fleet(FleetStatus { dials, running: 9, restarting: 5, quarantined: 6, restarts: 8 });
    let (status, mut told) = service.get("/engine/fleet").await;
    let date = |value: Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
    let (since, next) = (date(told["since"].take()), date(told["nextCanaryAt"].take()));
    assert_eq!((status, next - since), (200, chrono::TimeDelta::seconds(30)));
    assert_eq!(
        told,
        json!({
            "mode": "host-outage", "since": null, "canary": "canary", "nextCanaryAt": null, "inFlight": 1, "waiting": 2, "held": 3,
            "wanting": 7, "up": 4, "actors": { "running": 9, "restarting": 5, "quarantined": 6, "restarts": 8 },
        })
    );

    // A canary that was deleted has no name any more.
    assert_eq!(service.delete("/instance/delete/canary").await.0, 200);
    assert_eq!(service.get("/engine/fleet").await.1["canary"], Value::Null);
}

#[actix_web::test]
async fn what_the_process_uses_is_what_it_uses_at_that_moment() {
    let service = Service::start().await;
    let (status, before) = service.get("/engine/process").await;
    let number = |told: &Value, key: &str| told[key].as_u64().unwrap_or_else(|| panic!("{key} in {told}"));
    assert_eq!((status, before.as_object().unwrap().len()), (200, 5), "{before}");
    assert!(number(&before, "residentKib") > 1_000 && number(&before, "threads") >= 2, "{before}");

    // The server opens and closes some of its own meanwhile: there are many more of these.
    let files: Vec<_> = (0..400).map(|_| std::fs::File::open("/proc/self/status").unwrap()).collect();
    let tasks: Vec<_> = (0..400).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
    let (_, during) = service.get("/engine/process").await;
    for key in ["openFiles", "tasks"] {
        assert!(number(&during, key) >= number(&before, key) + 300, "{key}: {before}, then {during}");
    }
    drop(files);
    for task in &tasks {
        task.abort();
    }
    eventually("the end of the tasks", || tasks.iter().all(tokio::task::JoinHandle::is_finished)).await;
    let (_, after) = service.get("/engine/process").await;
    for key in ["openFiles", "tasks"] {
        assert!(number(&after, key) + 300 <= number(&during, key), "{key}: {during}, then {after}");
    }
}
