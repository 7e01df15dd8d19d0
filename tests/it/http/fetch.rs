//! `GET /instance/fetchInstances`.

use holdfast_core::connection::Phase;
use reqwest::Method;
use serde_json::{Value, json};

use super::service::{Service, answer};

fn is_date(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.')
}

#[actix_web::test]
async fn the_row_is_the_contracts() {
    let service = Service::start().await;
    let (id, token) = service.instance("demo").await;
    service.put(&id, Phase::Online, |_| {});
    let (status, mut rows) = service.get("/instance/fetchInstances").await;
    assert_eq!((status, rows.as_array().unwrap().len()), (200, 1));
    let row = &mut rows[0];
    for key in ["createdAt", "updatedAt"] {
        assert!(is_date(&row[key].take()) && is_date(&row["Setting"][key].take()), "{row}");
    }
    assert!(row["Setting"]["id"].take().is_string());
    assert_eq!(
        *row,
        json!({
            "id": id, "name": "demo", "connectionStatus": "open", "ownerJid": "5511999990001@s.whatsapp.net", "profileName": "Shop",
            "profilePicUrl": null, "integration": "WHATSAPP-BAILEYS", "number": null, "businessId": null, "token": token,
            "clientName": "it", "disconnectionReasonCode": null, "disconnectionObject": null, "disconnectionAt": null,
            "createdAt": null, "updatedAt": null, "Chatwoot": null, "Proxy": null, "Rabbitmq": null, "Nats": null, "Sqs": null,
            "Websocket": null,
            "Setting": { "id": null, "rejectCall": false, "msgCall": "", "groupsIgnore": false, "alwaysOnline": false,
                "readMessages": false, "readStatus": false, "syncFullHistory": false, "wavoipToken": "", "createdAt": null,
                "updatedAt": null, "instanceId": id },
            "_count": { "Message": 0, "Contact": 0, "Chat": 0 },
        })
    );
}

#[actix_web::test]
async fn the_state_is_the_one_that_connection_state_tells() {
    let service = Service::start().await;
    let (id, _) = service.instance("demo").await;
    for phase in [Phase::Online, Phase::Suspect, Phase::BackingOff, Phase::Parked, Phase::Pairing, Phase::Unpaired] {
        service.put(&id, phase, |_| {});
        let (_, rows) = service.get("/instance/fetchInstances").await;
        let (_, state) = service.get("/instance/connectionState/demo").await;
        assert_eq!(rows[0]["connectionStatus"], state["instance"]["state"], "{phase:?}");
    }
    // A proof that has grown old is none, even if nobody has noticed yet.
    service.put(&id, Phase::Online, |entry| entry.status.fresh_until = Some(service.clock.now()));
    let (_, rows) = service.get("/instance/fetchInstances").await;
    assert_eq!(rows[0]["connectionStatus"], "connecting");
}

#[actix_web::test]
async fn filters_choose_and_what_is_not_there_is_404() {
    let service = Service::start().await;
    let (a, _) = service.instance("a").await;
    let body = json!({ "instanceName": "b", "integration": "WHATSAPP-BAILEYS", "number": "5511999990009" });
    service.post("/instance/create", body).await;
    let names = |(status, rows): (u16, Value)| {
        assert_eq!(status, 200, "{rows}");
        let mut names: Vec<String> =
            rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    for (query, expected) in [
        ("", vec!["a", "b"]),
        ("?instanceName=", vec!["a", "b"]),
        ("?instanceName=b", vec!["b"]),
        (&format!("?instanceId={a}"), vec!["a"]),
        (&format!("?instanceId={a}&instanceName=b"), vec!["a"]),
        ("?number=5511999990009", vec!["b"]),
    ] {
        assert_eq!(names(service.get(&format!("/instance/fetchInstances{query}")).await), expected, "{query}");
    }
    for (query, wanted) in [("instanceName=x%20y", "x y"), ("instanceId=nope", "nope"), ("number=1", "1")] {
        let (status, body) = service.get(&format!("/instance/fetchInstances?{query}")).await;
        assert_eq!((status, &body["response"]["message"]), (404, &json!([format!("Instance \"{wanted}\" not found")])));
    }
}

#[actix_web::test]
async fn a_token_sees_its_own_row_only() {
    let service = Service::start().await;
    let (_, token) = service.instance("mine").await;
    service.instance("other").await;
    let by = |key: &str, query: &str| {
        answer(service.anonymous(Method::GET, &format!("/instance/fetchInstances{query}")).header("apikey", key))
    };
    for query in ["", "?instanceName=mine", "?number=5511"] {
        let (status, rows) = by(&token, query).await;
        assert_eq!((status, rows.as_array().unwrap().len(), &rows[0]["name"]), (200, 1, &json!("mine")));
    }
    assert_eq!(by(&token, "?instanceName=other").await.0, 401);
    assert_eq!(by("wrong", "").await.0, 401);
    assert_eq!(answer(service.anonymous(Method::GET, "/instance/fetchInstances")).await.0, 401);
}
