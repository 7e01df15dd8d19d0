//! The headers of a delivery: those that were set with the webhook, and ours.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::jwt;
use crate::ports::outbox::Delivery;

/// The key among the custom headers whose value signs a token instead of being sent.
const JWT_KEY: &str = "jwt_key";

/// Stays the same through retries and restarts.
const EVENT_ID: HeaderName = HeaderName::from_static("x-holdfast-event-id");
/// Counts the tries from 1.
const ATTEMPT: HeaderName = HeaderName::from_static("x-holdfast-attempt");

/// Makes the headers of a try at `now`, in Unix seconds.
pub(super) fn of(delivery: &Delivery, now: i64) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in delivery.target.headers.iter().filter_map(Value::as_object).flatten() {
        if name == JWT_KEY {
            continue;
        }
        let (Ok(known), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text(value)))
        else {
            return Err(format!("the webhook's header \"{name}\" cannot be sent"));
        };
        headers.insert(known, value);
    }
    if let Some(key) = delivery.target.headers.as_ref().and_then(|headers| headers.get(JWT_KEY)) {
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", jwt::signed(&text(key), now)))?);
    }
    headers.insert(EVENT_ID, secret(&delivery.event_id)?);
    headers.insert(ATTEMPT, HeaderValue::from(u64::from(delivery.attempts) + 1));
    Ok(headers)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn secret(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|cause| format!("a header of the delivery cannot be sent: {cause}"))
}

#[cfg(test)]
mod tests {
    use holdfast_core::event::{EngineEvent, EventName};
    use holdfast_core::id::InstanceId;
    use serde_json::{Value, json};

    use super::of;
    use crate::ports::outbox::{Delivery, Target};

    fn delivery(headers: Option<Value>) -> Delivery {
        Delivery {
            seq: 1,
            event_id: "e-1".into(),
            instance: InstanceId::new("i-1"),
            instance_name: "demo".into(),
            token: None,
            owner_jid: None,
            event: EngineEvent::bare(EventName::Call),
            at_ms: 0,
            attempts: 2,
            target: Target { url: "http://x".into(), headers, by_events: false },
        }
    }

    #[test]
    fn set_headers_are_sent_verbatim_with_ours() {
        let set =
            json!({ "apikey": "mine", "X-Number": 7, "x-holdfast-event-id": "forged", "Authorization": "Basic abc" });
        let headers = of(&delivery(Some(set)), 0).unwrap();
        assert_eq!(headers["apikey"], "mine");
        assert_eq!(headers["x-number"], "7");
        assert_eq!(headers["authorization"], "Basic abc");
        assert_eq!(headers["x-holdfast-event-id"], "e-1");
        assert_eq!(headers["x-holdfast-attempt"], "3");
    }

    #[test]
    fn a_jwt_key_signs_and_is_not_sent() {
        let headers = of(&delivery(Some(json!({ "jwt_key": "s3cret", "Authorization": "x" }))), 1_700_000_000).unwrap();
        assert!(!headers.contains_key("jwt_key"));
        assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer eyJ"));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_a_sentence() {
        for headers in [json!({ "bad name": "x" }), json!({ "x": "a\r\nb: c" })] {
            assert!(of(&delivery(Some(headers)), 0).unwrap_err().contains("cannot be sent"));
        }
        assert_eq!(of(&delivery(None), 0).unwrap().len(), 2);
    }
}
