//! Requests that carry an `Idempotency-Key`: one message for one key, however often the request comes.
//!
//! A request is kept, with the id of its message, before anything leaves. When it comes again, its final answer is given again; if it has
//! none, because of a crash, a lost connection or a lost answer, the message is sent again under that id, and a recipient who has it
//! already drops it. Nothing of it hangs on the client's connection: a request with a key is carried out to its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use holdfast_core::id::InstanceId;
use holdfast_core::sending::key::{Earlier, Keep, Key, Repeat};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::timeout;
use tracing::warn;

use super::error::ApiError;
use super::reply;
use crate::ports::chance;
use crate::ports::sends::{KeptAnswer, NewSend, Sends};
use crate::ports::store::StoreError;

pub(super) const HEADER: &str = "idempotency-key";
/// Tells an answer that is given again.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Reads the key of a request, if it has one. Two keys are none: which of them counts would be a guess.
pub(super) fn key(request: &HttpRequest) -> Result<Option<Key>, ApiError> {
    let mut values = request.headers().get_all(HEADER);
    let invalid = |why: String| ApiError::idempotency_key_invalid(&why);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(invalid("the header comes twice".to_owned())),
        (Some(value), None) => {
            let text = std::str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}");
            Key::parse(text).map(Some).map_err(|error| invalid(error.to_string()))
        }
    }
}

/// Tells requests of one kind apart: the same for bodies that mean the same JSON.
pub(super) fn fingerprint(kind: &str, body: &Value) -> Vec<u8> {
    // Keys of objects are in order here, whatever the order was in which they came.
    Sha256::new().chain_update(kind).chain_update([0]).chain_update(body.to_string()).finalize().to_vec()
}

/// A request that may be carried out now.
pub(super) enum Begun {
    /// Its message is to be sent under this id. It may have left in an earlier request, or not.
    Send { message_id: String, left_before: bool },
    /// It was answered earlier.
    Answered(HttpResponse),
}

/// Keeps a request, or finds what is kept of it.
pub(super) async fn begin(
    sends: &dyn Sends,
    id: &InstanceId,
    name: &str,
    key: &Key,
    fingerprint: Vec<u8>,
) -> Result<Begun, ApiError> {
    let Some(message_id) = chance::message_id() else { return Err(ApiError::internal()) };
    let new = NewSend { fingerprint: fingerprint.clone(), message_id };
    let kept = sends.begin_send(id, key, new).await.map_err(|error| ApiError::of_store(error, name))?;
    let earlier = (!kept.is_new)
        .then(|| Earlier { same_request: kept.first.fingerprint == fingerprint, answered: kept.answer.is_some() });
    match (Repeat::of(earlier), kept.answer) {
        (Repeat::Mismatch, _) => Err(ApiError::idempotency_key_reused()),
        (Repeat::Replay, Some(answer)) => Ok(Begun::Answered(again(&answer))),
        (Repeat::Send | Repeat::Replay, _) => {
            Ok(Begun::Send { message_id: kept.first.message_id, left_before: kept.may_have_left })
        }
    }
}

/// Keeps what became of a request. Without it the same message would be sent again under the same id, which does no harm.
pub(super) async fn finish(
    sends: &dyn Sends,
    id: &InstanceId,
    key: &Key,
    keep: Keep,
    answer: impl FnOnce() -> (StatusCode, Value),
) {
    let kept = match keep {
        Keep::Answer => {
            let (status, body) = answer();
            sends.finish_send(id, key, KeptAnswer { status: status.as_u16(), body }).await
        }
        Keep::NotLeft => sends.unsent(id, key).await,
        Keep::Nothing => Ok(()),
    };
    match kept {
        Ok(()) | Err(StoreError::NoSuchInstance(_)) => {}
        Err(cause) => {
            warn!(instance.id = %id, error = &cause as &dyn std::error::Error, "What became of a request with a key was not kept");
        }
    }
}

fn again(answer: &KeptAnswer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = reply::json(status, &answer.body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The keys whose requests are under way at this moment.
#[derive(Debug, Default)]
pub struct KeysInUse {
    gates: Mutex<HashMap<Name, Arc<AsyncMutex<()>>>>,
}

type Name = (InstanceId, Key);

/// A key in the hands of one request. The next one that waits for it gets it when this is dropped.
pub(super) struct Turn {
    // Dropped first.
    _gate: OwnedMutexGuard<()>,
    _place: Place,
}

impl KeysInUse {
    /// Waits until no other request with this key is under way; `None` if that takes longer than `within`.
    pub(super) async fn take(self: &Arc<Self>, id: &InstanceId, key: &Key, within: Duration) -> Option<Turn> {
        let name = (id.clone(), key.clone());
        let gate = Arc::clone(self.gates().entry(name.clone()).or_default());
        let place = Place { keys: Arc::clone(self), name, gate: Some(Arc::clone(&gate)) };
        let gate = timeout(within, gate.lock_owned()).await.ok()?;
        Some(Turn { _gate: gate, _place: place })
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<Name, Arc<AsyncMutex<()>>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place at a gate, which is taken down when the last one has left.
struct Place {
    keys: Arc<KeysInUse>,
    name: Name,
    gate: Option<Arc<AsyncMutex<()>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut gates = self.keys.gates();
        // Under the lock, so that of two that leave at once the second one sees that it is the last.
        self.gate = None;
        if gates.get(&self.name).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fingerprint_knows_the_meaning_of_a_body_and_not_its_look() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let one = fingerprint("sendText", &parse(r#"{"number":"1","text":"a"}"#));
        assert_eq!(one, fingerprint("sendText", &parse("{ \"text\": \"a\",\n \"number\": \"1\" }")));
        for (kind, body) in [
            ("sendMedia", json!({ "number": "1", "text": "a" })),
            ("sendText", json!({ "number": "1", "text": "b" })),
            ("sendText", json!({ "number": 1, "text": "a" })),
            ("sendText", json!({ "number": "1", "text": "a", "delay": 0 })),
        ] {
            assert_ne!(one, fingerprint(kind, &body), "{kind} {body}");
        }
    }

    #[tokio::test]
    async fn one_request_at_a_time_has_a_key_and_nothing_is_left_of_it() {
        let keys = Arc::new(KeysInUse::default());
        let (shop, other) = (InstanceId::new("shop"), InstanceId::new("other"));
        let key = Key::parse("k").unwrap();
        let soon = Duration::from_millis(20);
        let turn = keys.take(&shop, &key, soon).await.unwrap();
        assert!(keys.take(&shop, &key, soon).await.is_none(), "it is in use");
        assert!(keys.take(&other, &key, soon).await.is_some(), "another instance's keys are others");
        let (second, ()) = tokio::join!(keys.take(&shop, &key, Duration::from_secs(5)), async { drop(turn) });
        assert!(keys.take(&shop, &key, soon).await.is_none(), "the second one has it");
        drop(second);
        assert!(keys.gates().is_empty());

        let turn = keys.take(&shop, &key, soon).await.unwrap();
        let (gone, ()) = tokio::join!(keys.take(&shop, &key, soon), async {
            tokio::time::sleep(soon / 4).await;
        });
        assert!(gone.is_none());
        drop(turn);
        assert!(keys.gates().is_empty(), "one that gave up leaves nothing behind either");
    }
}
