//! `GET /instance/connect/{name}`.

use std::time::Duration;

use holdfast_core::connection::Phase;
use serde_json::json;

use super::actors::Dial;
use super::service::Service;

#[actix_web::test]
async fn a_closed_instance_is_dialled_once_and_shows_its_code() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    let (status, body) = service.get("/instance/connect/demo").await;
    assert_eq!((status, &body["code"], &body["count"]), (200, &json!("2@ref1,noise,identity,secret"), &json!(1)));
    let mut keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["base64", "code", "count", "pairingCode"]);
    // Repeating it while the code is shown gives the same code and asks nobody.
    assert_eq!(service.get("/instance/connect/demo").await.1, body);
    assert_eq!(service.asked(), ["connect by qr"]);
}

#[actix_web::test]
async fn an_open_instance_is_left_alone() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    service.asked();
    for path in ["/instance/connect/demo", "/instance/connect/demo?number=5511999990001"] {
        assert_eq!(service.get(path).await, (200, json!({ "instance": { "instanceName": "demo", "state": "open" } })));
    }
    assert!(service.asked().is_empty());
}

#[actix_web::test]
async fn no_get_dials_an_instance_that_redials_by_itself() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.asked();
    for phase in [Phase::Connecting, Phase::Syncing, Phase::BackingOff, Phase::Waiting, Phase::Suspect] {
        service.put(&id, phase, |_| {});
        assert_eq!(service.get("/instance/connect/demo?number=5511999990001").await, (200, json!({ "count": 0 })));
    }
    assert!(service.asked().is_empty());
}

#[actix_web::test]
async fn a_dial_under_way_is_waited_for() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.put(&id, Phase::Connecting, |entry| entry.status.paired = false);
    service.asked();
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        service.put(&id, Phase::Pairing, |entry| entry.pairing.qr = Some("2@later".to_owned()));
    };
    let ((_, body), ()) = futures_util::future::join(service.get("/instance/connect/demo"), later).await;
    assert_eq!(body["code"], "2@later");
    assert!(service.asked().is_empty());
}

#[actix_web::test]
async fn a_number_asks_for_a_pairing_code_also_on_a_link_that_shows_qr_codes() {
    let service = Service::start().await;
    service.instance("demo").await;
    service.asked();
    let (_, body) = service.get("/instance/connect/demo?number=%2B55%2011%2099999-0001").await;
    assert_eq!(body["pairingCode"], "CODE0001");
    assert_eq!(service.asked(), ["connect by code 5511999990001"]);

    service.instance("late").await;
    service.get("/instance/connect/late").await;
    let (_, body) = service.get("/instance/connect/late?number=5511999990002").await;
    assert_eq!(body["pairingCode"], "LATE0001");
    // The code is kept: typing it takes a person longer than asking again takes a client.
    assert_eq!(service.get("/instance/connect/late?number=5511999990002").await.1["pairingCode"], "LATE0001");

    let (status, body) = service.get("/instance/connect/demo?number=abc").await;
    assert_eq!(
        (status, &body["response"]["message"][0][0]),
        (400, &json!("number does not match pattern \"^\\\\d+[\\\\.@\\\\w-]+\""))
    );
}

#[actix_web::test]
async fn nothing_stale_is_shown_after_pairing() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    service.get("/instance/connect/demo").await;
    service.script.lock().dial = Dial::Online;
    service.put(&id, Phase::Parked, |entry| entry.pairing = holdfast::ports::board::PairingView::default());
    assert_eq!(
        service.get("/instance/connect/demo").await.1,
        json!({ "instance": { "instanceName": "demo", "state": "open" } })
    );
}

#[actix_web::test]
async fn a_dial_that_ends_or_brings_nothing_shows_only_the_count() {
    let service = Service::start().await;
    service.instance("demo").await;
    for dial in [Dial::Refused, Dial::Nothing] {
        service.script.lock().dial = dial;
        assert_eq!(service.get("/instance/connect/demo").await, (200, json!({ "count": 0 })));
    }
}
