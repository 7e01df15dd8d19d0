//! `/metrics` and `?verify=true` over scripted actors.

use std::time::Duration;

use holdfast::actors::instance::protocol::Verified;
use holdfast::http::settings::MetricsSettings;
use holdfast_core::connection::Phase;
use holdfast_core::network::Networks;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;

use super::service::{Service, header};

const USER: &str = "prom";
const PASSWORD: &str = "a:pass:word";

fn open() -> MetricsSettings {
    MetricsSettings { allowed: None, auth_required: false, login: None, server_url: "http://host".to_owned() }
}

async fn read(service: &Service, with: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> (u16, String) {
    let answer = with(service.anonymous(Method::GET, "/metrics")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[actix_web::test]
async fn the_figures_are_evolutions_and_ours_in_the_text_format() {
    let service = Service::measured(open()).await;
    let (id, _) = service.instance("a \"shop\"\\").await;
    service.put(&id, Phase::Online, |_| {});
    let answer = service.anonymous(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(header(&answer, "cache-control"), "no-cache, no-store, must-revalidate");
    let text = answer.text().await.unwrap();
    for line in [
        r#"evolution_environment_info{clientName="it",serverUrl="http://host",version="2.3.6"} 1"#,
        r#"evolution_instance_up{instance="a \"shop\"\\",integration="WHATSAPP-BAILEYS"} 1"#,
        r#"holdfast_instances{phase="online"} 1"#,
        r#"holdfast_deliveries_total{outcome="delivered"} 7"#,
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    // The moment its proof runs out it is counted as what it is.
    service.put(&id, Phase::Online, |entry| entry.status.fresh_until = Some(entry.status.since));
    let (_, text) = read(&service, |request| request).await;
    assert!(text.contains(r#"holdfast_instances{phase="suspect"} 1"#), "{text}");
    assert!(text.contains(r#"holdfast_instances_not_open{code="proof-overdue"} 1"#), "{text}");
}

#[actix_web::test]
async fn without_the_setting_there_is_no_such_path() {
    let service = Service::start().await;
    assert_eq!(service.get("/metrics").await.0, 404);
}

#[actix_web::test]
async fn only_the_address_of_the_connection_counts() {
    let only = |list: &[&str]| MetricsSettings { allowed: Some(Networks::parse(list.to_vec()).unwrap()), ..open() };
    let service = Service::measured(only(&["10.9.8.7"])).await;
    for name in ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip"] {
        let (status, text) = read(&service, |request| request.header(name, "10.9.8.7")).await;
        assert_eq!((status, text.as_str()), (403, "Forbidden: IP not allowed"), "{name} was believed");
    }
    let service = Service::measured(only(&["10.9.8.7", "127.0.0.0/8"])).await;
    assert_eq!(read(&service, |request| request).await.0, 200);
}

#[actix_web::test]
async fn a_login_is_asked_for_and_compared_whole() {
    let login = Some((USER.to_owned(), SecretString::from(PASSWORD)));
    let service = Service::measured(MetricsSettings { auth_required: true, login, ..open() }).await;
    let answer = service.anonymous(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "www-authenticate")),
        (401, r#"Basic realm="Evolution API Metrics""#)
    );
    assert_eq!(answer.text().await.unwrap(), "Authentication required");
    for (user, password) in [(USER, "wrong"), ("wrong", PASSWORD), ("", ""), (USER, ""), ("prom:a", "pass:word")] {
        let (status, text) = read(&service, |request| request.basic_auth(user, Some(password))).await;
        // The last one is the same text cut elsewhere: a user has no colon, so it is the same login.
        let same = user == "prom:a";
        assert_eq!((status, text == "Invalid credentials"), if same { (200, false) } else { (401, true) }, "{user}");
    }
    let (status, text) = read(&service, |request| request.header("authorization", "Basic %%%")).await;
    assert_eq!((status, text.as_str()), (401, "Invalid credentials"));
    assert_eq!(read(&service, |request| request.header("authorization", "Bearer x")).await.0, 401);
    assert_eq!(read(&service, |request| request.basic_auth(USER, Some(PASSWORD))).await.0, 200);

    let service = Service::measured(MetricsSettings { auth_required: true, ..open() }).await;
    let (status, text) = read(&service, |request| request.basic_auth(USER, Some(PASSWORD))).await;
    assert_eq!((status, text.as_str()), (500, "Metrics authentication not configured"));
}

#[actix_web::test]
async fn verify_tells_what_a_ping_has_shown_and_waits_for_no_actor_for_ever() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    let path = "/instance/connectionState/demo?verify=true";
    let (_, body) = service.get(path).await;
    assert_eq!((&body["instance"]["verified"], body["instance"].get("rttMs")), (&json!(false), None));
    assert!(!service.asked().contains(&"verify".to_owned()), "what is not online is not pinged");

    service.put(&id, Phase::Online, |_| {});
    let (_, body) = service.get(path).await;
    assert_eq!((&body["instance"]["verified"], &body["instance"]["rttMs"]), (&json!(true), &json!(7)));
    assert!(service.get("/instance/connectionState/demo").await.1["instance"].get("verified").is_none());

    service.script.lock().verified = Some(Some(Verified { alive: false, rtt: Some(Duration::from_millis(9)) }));
    let (_, body) = service.get(path).await;
    assert_eq!((&body["instance"]["verified"], body["instance"].get("rttMs")), (&json!(false), None));
    service.script.lock().verified = Some(None);
    assert_eq!(service.get(path).await.0, 503, "too many ask already");
    service.script.lock().verified = None;
    let (status, body) = service.get(path).await;
    assert_eq!((status, &body["instance"]["verified"]), (200, &json!(false)), "an actor that does not answer");
    for wrong in ["1", "yes", "TRUE"] {
        assert_eq!(service.get(&format!("/instance/connectionState/demo?verify={wrong}")).await.0, 400);
    }
}
