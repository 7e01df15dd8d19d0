//! The headers of a delivery: those that were set with the webhook, and ours.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{jwt, signature};
use crate::ports::outbox::Delivery;
use crate::ports::signing_key::SigningKey;

/// The key among the custom headers whose value signs a token instead of being sent.
const JWT_KEY: &str = "jwt_key";
/// The one whose value signs the delivery instead of being sent.
const HMAC_KEY: &str = "hmac_key";

/// Stays the same through retries and restarts.
const EVENT_ID: HeaderName = HeaderName::from_static("x-holdfast-event-id");
/// Counts the tries from 1.
const ATTEMPT: HeaderName = HeaderName::from_static("x-holdfast-attempt");

/// The three of Standard Webhooks.
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Makes the headers of a try at `now`, in Unix seconds, which carries this body. `key` signs where the webhook has no key of its own.
pub(super) fn of(delivery: &Delivery, key: Option<&SigningKey>, body: &str, now: i64) -> Result<HeaderMap, String> {
    let custom = match &delivery.target.headers {
        None => None,
        Some(Value::Object(custom)) => Some(custom),
        Some(_) => return Err("the webhook's headers cannot be read; set the webhook again".to_owned()),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in custom.into_iter().flatten() {
        if name == JWT_KEY || name == HMAC_KEY {
            continue;
        }
        let (Ok(known), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text(value)))
        else {
            return Err(format!("the webhook's header \"{name}\" cannot be sent"));
        };
        headers.insert(known, value);
    }
    if let Some(key) = custom.and_then(|custom| custom.get(JWT_KEY)) {
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", jwt::signed(&text(key), now)))?);
    }
    let own = custom.and_then(|custom| custom.get(HMAC_KEY)).map(|key| SigningKey::parse(&text(key))).transpose();
    let own = own.map_err(|why| format!("the webhook's {HMAC_KEY} cannot be used: {why}"))?;
    if let Some(key) = own.as_ref().or(key) {
        headers.insert(ID, secret(&delivery.event_id)?);
        headers.insert(TIMESTAMP, HeaderValue::from(now));
        headers.insert(SIGNATURE, secret(&signature::signed(key, &delivery.event_id, now, body))?);
    }
    headers.insert(EVENT_ID, secret(&delivery.event_id)?);
    headers.insert(ATTEMPT, HeaderValue::from(u64::from(delivery.tries) + 1));
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

    use super::{SigningKey, of, signature};
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
            waiting_ms: 0,
            tries: 2,
            attempts: 1,
            target: Target { url: "http://x".into(), headers, by_events: false },
        }
    }

    #[test]
    fn set_headers_are_sent_verbatim_with_ours() {
        let set =
            json!({ "apikey": "mine", "X-Number": 7, "x-holdfast-event-id": "forged", "Authorization": "Basic abc" });
        let headers = of(&delivery(Some(set)), None, "{}", 0).unwrap();
        assert_eq!(headers["apikey"], "mine");
        assert_eq!(headers["x-number"], "7");
        assert_eq!(headers["authorization"], "Basic abc");
        assert_eq!(headers["x-holdfast-event-id"], "e-1");
        assert_eq!(headers["x-holdfast-attempt"], "3");
    }

    #[test]
    fn a_jwt_key_signs_and_is_not_sent() {
        let headers =
            of(&delivery(Some(json!({ "jwt_key": "s3cret", "Authorization": "x" }))), None, "{}", 1_700_000_000);
        let headers = headers.unwrap();
        assert!(!headers.contains_key("jwt_key"));
        assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer eyJ"));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_a_sentence() {
        for headers in [json!({ "bad name": "x" }), json!({ "x": "a\r\nb: c" })] {
            assert!(of(&delivery(Some(headers)), None, "{}", 0).unwrap_err().contains("cannot be sent"));
        }
        assert_eq!(of(&delivery(None), None, "{}", 0).unwrap().len(), 2);
        assert!(of(&delivery(Some(Value::Null)), None, "{}", 0).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_key_signs_and_is_not_sent_and_the_webhooks_own_wins() {
        let (general, own) = (SigningKey::parse("general").unwrap(), SigningKey::parse("s3cret").unwrap());
        let set = json!({ "hmac_key": "s3cret", "webhook-signature": "forged", "webhook-id": "forged" });
        let headers = of(&delivery(Some(set)), Some(&general), "{}", 1_700_000_000).unwrap();
        assert!(!headers.contains_key("hmac_key"));
        assert_eq!(
            (&headers["webhook-id"], &headers["webhook-timestamp"]),
            (&"e-1".parse().unwrap(), &"1700000000".parse().unwrap())
        );
        assert_eq!(headers["webhook-signature"], signature::signed(&own, "e-1", 1_700_000_000, "{}").as_str());
        let headers = of(&delivery(None), Some(&general), "{}", 1_700_000_000).unwrap();
        assert_eq!(headers["webhook-signature"], signature::signed(&general, "e-1", 1_700_000_000, "{}").as_str());
        for unusable in ["", "whsec_s3cret!"] {
            let why = of(&delivery(Some(json!({ "hmac_key": unusable }))), Some(&general), "{}", 0).unwrap_err();
            assert!(why.contains("hmac_key") && !why.contains("s3cret"), "{why}");
        }
    }
}
