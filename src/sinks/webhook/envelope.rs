//! The body of a delivery: the event, and around it what the contract says about whose it is and where it goes.

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_core::event::EventName;
use serde_json::{Value, json};

use super::WebhookSettings;
use crate::ports::outbox::Delivery;

/// Builds the envelope. Every try of one delivery has the same.
pub(super) fn of(delivery: &Delivery, settings: &WebhookSettings) -> Value {
    let mut envelope = json!({
        "event": delivery.event.name.dotted(),
        "instance": delivery.instance_name,
        "data": data(delivery, settings),
        // As it was set: receivers compare it with what they know.
        "destination": delivery.target.url,
        "date_time": date(delivery.at_ms),
    });
    if let Some(jid) = &delivery.owner_jid {
        envelope["sender"] = json!(jid);
    }
    if let Some(url) = &settings.server_url {
        envelope["server_url"] = json!(url);
    }
    envelope["apikey"] = if settings.expose_token { json!(delivery.token) } else { Value::Null };
    envelope
}

/// Returns the payload; a QR code gets its picture here.
fn data(delivery: &Delivery, settings: &WebhookSettings) -> Value {
    let mut data = delivery.event.data.clone();
    if delivery.event.name == EventName::QrcodeUpdated
        && let Some(Value::Object(qrcode)) = data.get_mut("qrcode")
        && !qrcode.contains_key("base64")
        && let Some(picture) = qrcode.get("code").and_then(Value::as_str).and_then(|code| (settings.draw_qr)(code))
    {
        qrcode.insert("base64".to_owned(), Value::String(picture));
    }
    data
}

fn date(at_ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use holdfast_core::event::{EngineEvent, EventName};
    use holdfast_core::id::InstanceId;
    use holdfast_core::network::Networks;
    use serde_json::{Value, json};

    use super::super::WebhookSettings;
    use super::of;
    use crate::ports::outbox::{Delivery, Target};

    fn delivery(event: EngineEvent) -> Delivery {
        Delivery {
            seq: 1,
            event_id: "e-1".into(),
            instance: InstanceId::new("i-1"),
            instance_name: "demo".into(),
            token: Some("SECRET".into()),
            owner_jid: Some("5511999999999@s.whatsapp.net".into()),
            event,
            at_ms: 1_761_037_200_000,
            waiting_ms: 0,
            tries: 0,
            attempts: 0,
            target: Target { url: "https://x/y".into(), headers: None, by_events: true },
        }
    }

    fn settings(server_url: Option<&str>, expose_token: bool) -> WebhookSettings {
        WebhookSettings {
            timeout: Duration::from_secs(1),
            server_url: server_url.map(str::to_owned),
            expose_token,
            draw_qr: Arc::new(|text| Some(format!("data:{text}"))),
            networks: Networks::default(),
            signing_key: None,
        }
    }

    #[test]
    fn the_envelope_is_the_contracts() {
        let event = EngineEvent::connecting("demo", None, &|_| String::new());
        assert_eq!(
            of(&delivery(event.clone()), &settings(Some("https://api.example.com"), true)),
            json!({
                "event": "connection.update",
                "instance": "demo",
                "data": event.data,
                "destination": "https://x/y",
                "date_time": "2025-10-21T09:00:00.000Z",
                "sender": "5511999999999@s.whatsapp.net",
                "server_url": "https://api.example.com",
                "apikey": "SECRET",
            })
        );
    }

    #[test]
    fn what_is_unknown_is_absent_and_the_token_is_null_unless_exposed() {
        let mut delivery = delivery(EngineEvent::bare(EventName::LogoutInstance));
        delivery.owner_jid = None;
        let envelope = of(&delivery, &settings(None, false));
        let keys: Vec<&str> = envelope.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(!keys.contains(&"sender") && !keys.contains(&"server_url"), "{keys:?}");
        assert_eq!(envelope["apikey"], Value::Null);
        assert_eq!(envelope["data"], Value::Null);
        assert!(keys.contains(&"data") && keys.contains(&"apikey"));
    }

    #[test]
    fn a_qr_code_gets_its_picture_on_the_way() {
        let plain = of(&delivery(EngineEvent::qr("demo", Some("2@a"), None, None)), &settings(None, false));
        assert_eq!(plain["data"]["qrcode"]["base64"], "data:2@a");
        let drawn =
            of(&delivery(EngineEvent::qr("demo", Some("2@a"), Some("data:drawn"), None)), &settings(None, false));
        assert_eq!(drawn["data"]["qrcode"]["base64"], "data:drawn");
        let limit = of(&delivery(EngineEvent::qr_limit()), &settings(None, false));
        assert_eq!(limit["data"]["statusCode"], 500);
    }
}
