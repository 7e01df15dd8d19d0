//! Bodies: read with a limit, and taken as what they are rather than what their header says.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::form_urlencoded;

use super::api::Api;
use super::error::ApiError;

/// How much of a body that is too large is read and thrown away, so that its sender reads our answer and not a reset.
const DISCARD: usize = 16 * 1024 * 1024;

/// A parsed body; one that is absent is an empty object.
pub(super) struct Body(pub(super) Value);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let Some(api) = request.app_data::<web::Data<Api>>() else {
                return Err(ApiError::internal());
            };
            Ok(Self(parse(request.content_type(), &whole(api, payload).await?)?))
        })
    }
}

/// Reads a body to its end, within the limits.
pub(super) async fn whole(api: &Api, payload: Payload) -> Result<Bytes, ApiError> {
    let limits = &api.settings.limits;
    match timeout(limits.body_within, read(payload, limits.body_bytes)).await {
        Ok(bytes) => Ok(bytes?.freeze()),
        Err(_) => Err(ApiError::too_slow()),
    }
}

async fn read(mut payload: Payload, limit: usize) -> Result<BytesMut, ApiError> {
    let mut bytes = BytesMut::new();
    let mut discarded = 0;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|cause| ApiError::malformed(&format!("the body could not be read: {cause}")))?;
        if discarded == 0 && bytes.len() + chunk.len() <= limit {
            bytes.extend_from_slice(&chunk);
        } else {
            discarded += chunk.len();
            if discarded > DISCARD {
                break;
            }
        }
    }
    if discarded > 0 { Err(ApiError::too_large(limit)) } else { Ok(bytes) }
}

/// Reads a body.
fn parse(content_type: &str, bytes: &[u8]) -> Result<Value, ApiError> {
    let body = understand(content_type, bytes)?;
    if holds_nul(&body) {
        return Err(ApiError::invalid(vec!["The character NUL is in no text that can be stored".to_owned()]));
    }
    Ok(body)
}

/// Clients send JSON under other content types, and content types without a body.
fn understand(content_type: &str, bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    if content_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(form(bytes));
    }
    match serde_json::from_slice(bytes) {
        Ok(body @ (Value::Object(_) | Value::Array(_))) => Ok(body),
        Ok(_) => Err(ApiError::malformed("Unexpected token in JSON at position 0: an object is expected")),
        Err(cause) => Err(ApiError::malformed(&format!("Unexpected token in JSON: {cause}"))),
    }
}

/// Tells whether a text holds NUL, which PostgreSQL does not take.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
    }
}

fn form(bytes: &[u8]) -> Value {
    form_urlencoded::parse(bytes).map(|(key, value)| (key.into_owned(), Value::String(value.into_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use serde_json::json;

    use super::parse;

    #[test]
    fn absent_bodies_are_empty_objects_under_any_content_type() {
        for kind in ["", "application/json", "application/x-www-form-urlencoded", "text/plain"] {
            for body in ["", " \n", "{}"] {
                if kind.ends_with("urlencoded") && body == "{}" {
                    continue;
                }
                assert_eq!(parse(kind, body.as_bytes()).unwrap(), json!({}), "{kind} {body:?}");
            }
        }
    }

    #[test]
    fn json_is_read_whatever_it_is_called_and_forms_are_flat_texts() {
        assert_eq!(parse("text/plain", br#"{"a":1}"#).unwrap(), json!({ "a": 1 }));
        assert_eq!(
            parse("application/x-www-form-urlencoded", b"number=55&text=a+b%21").unwrap(),
            json!({ "number": "55", "text": "a b!" })
        );
    }

    #[test]
    fn a_nul_is_refused_wherever_it_stands() {
        let json = "application/json";
        for body in [r#"{"a":"x\u0000"}"#, r#"{"a":[{"b":"\u0000"}]}"#, r#"{"\u0000":1}"#] {
            assert_eq!(parse(json, body.as_bytes()).unwrap_err().status_code().as_u16(), 400, "{body}");
        }
        assert_eq!(parse("application/x-www-form-urlencoded", b"a=%00").unwrap_err().status_code().as_u16(), 400);
        assert_eq!(parse(json, br#"{"a":"\\u0000"}"#).unwrap(), json!({ "a": "\\u0000" }));
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        let deep = "[".repeat(100_000);
        for body in ["{", "nonsense", "5", "null", "\"text\"", "{\"a\":}", deep.as_str()] {
            let error = parse("application/json", body.as_bytes()).unwrap_err();
            assert_eq!(error.status_code().as_u16(), 400);
        }
    }
}
