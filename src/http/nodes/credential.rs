//! How one node knows another: a request carries a signature under the fleet's key over everything that it asks for.
//!
//! Whoever can read the traffic can repeat a request for a minute, and nothing else: the addresses of nodes belong into a private network,
//! or behind TLS.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::spelled;
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::ports::meter::Measure;
use crate::ports::node_key::NodeKey;

/// The node that hands a request on. Where it is there, the request is never handed on again.
pub(super) const FORWARDED: &str = "x-holdfast-forwarded";
/// That node's credential: the version of this scheme, Unix seconds, the signature.
pub(super) const CREDENTIAL: &str = "x-holdfast-credential";

const VERSION: &str = "v1";
/// How far the clocks of two nodes may be apart, in seconds, the way between them included.
const WINDOW: i64 = 60;
/// Characters of a claimed name in the log.
const SHOWN: usize = 64;

/// What a credential is for.
#[derive(Debug, Clone, Copy)]
struct Claim<'a> {
    node: &'a str,
    method: &'a str,
    /// Path and query, as they arrive.
    path: &'a str,
    body: &'a [u8],
}

/// What is wrong with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Missing,
    Unreadable,
    OutOfTime,
    Wrong,
}

/// Returns the headers of a request of ours.
pub(super) fn headers(api: &Api, method: &str, path: &str, body: &[u8]) -> [(&'static str, String); 2] {
    let own = &api.settings.node;
    let node = spelled(&own.name);
    let claim = Claim { node: &node, method, path, body };
    let credential = issue(&own.key, claim, api.clock.wall().timestamp());
    [(FORWARDED, node), (CREDENTIAL, credential)]
}

/// Lets a request of another node pass.
pub(in crate::http) fn check(api: &Api, request: &HttpRequest, body: &[u8]) -> Result<(), ApiError> {
    let node = one(request, FORWARDED).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
    let claim = Claim { node, method: request.method().as_str(), path, body };
    let now = api.clock.wall().timestamp();
    verify(&api.settings.node.key, claim, one(request, CREDENTIAL), now).map_err(|flaw| {
        api.meter.note(Measure::CredentialRefused);
        let claimed: String = node.chars().take(SHOWN).collect();
        warn!(?claimed, ?flaw, "The credential of a node was refused");
        ApiError::node_refused(StatusCode::UNAUTHORIZED)
    })
}

/// Tells whether a request says that it comes from another node.
pub(in crate::http) fn is_claimed(request: &HttpRequest) -> bool {
    request.headers().contains_key(FORWARDED)
}

fn one<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut values = request.headers().get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn issue(key: &NodeKey, claim: Claim<'_>, at: i64) -> String {
    let signature = with_parts(claim, at, |parts| key.sign(parts));
    format!("{VERSION},{at},{}", STANDARD.encode(signature))
}

fn verify(key: &NodeKey, claim: Claim<'_>, credential: Option<&str>, now: i64) -> Result<(), Flaw> {
    let credential = credential.ok_or(Flaw::Missing)?;
    let mut fields = credential.split(',');
    let (Some(VERSION), Some(at), Some(signature), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Flaw::Unreadable);
    };
    let (Ok(at), Ok(signature)) = (at.parse::<i64>(), STANDARD.decode(signature)) else {
        return Err(Flaw::Unreadable);
    };
    // The signature first: only a node is told that its clock is wrong.
    if !with_parts(claim, at, |parts| key.has_signed(parts, &signature)) {
        return Err(Flaw::Wrong);
    }
    if now.abs_diff(at) > WINDOW.unsigned_abs() { Err(Flaw::OutOfTime) } else { Ok(()) }
}

fn with_parts<T>(claim: Claim<'_>, at: i64, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let Claim { node, method, path, body } = claim;
    let (at, body) = (at.to_string(), Sha256::digest(body));
    then(&[VERSION.as_bytes(), node.as_bytes(), at.as_bytes(), method.as_bytes(), path.as_bytes(), body.as_slice()])
}

#[cfg(test)]
mod tests {
    use super::{Claim, Flaw, NodeKey, issue, verify};

    const CLAIM: Claim<'static> =
        Claim { node: "a", method: "POST", path: "/message/sendText/shop?x=1", body: br#"{"text":"hello"}"# };
    const AT: i64 = 1_800_000_000;

    #[test]
    fn a_credential_is_good_for_a_minute_and_for_nothing_but_its_request() {
        let key = NodeKey::derived_from(&[7; 32]);
        let credential = issue(&key, CLAIM, AT);
        let judged = |claim, now| verify(&key, claim, Some(&credential), now);
        for now in [AT - 60, AT, AT + 60] {
            assert_eq!(judged(CLAIM, now), Ok(()), "{now}");
        }
        for now in [AT - 61, AT + 61, 0, i64::MIN, i64::MAX] {
            assert_eq!(judged(CLAIM, now), Err(Flaw::OutOfTime), "{now}");
        }
        for other in [
            Claim { node: "b", ..CLAIM },
            Claim { method: "DELETE", ..CLAIM },
            Claim { path: "/message/sendText/other?x=1", ..CLAIM },
            Claim { path: "/message/sendText/shop", ..CLAIM },
            Claim { body: b"", ..CLAIM },
        ] {
            assert_eq!(judged(other, AT), Err(Flaw::Wrong), "{other:?}");
        }
        let stranger = NodeKey::derived_from(&[8; 32]);
        assert_eq!(verify(&stranger, CLAIM, Some(&credential), AT), Err(Flaw::Wrong));
        let later = credential.replace(&AT.to_string(), &(AT + 100).to_string());
        assert_eq!(verify(&key, CLAIM, Some(&later), AT + 100), Err(Flaw::Wrong), "the time is signed");
    }

    #[test]
    fn what_is_no_credential_is_refused() {
        let key = NodeKey::derived_from(&[7; 32]);
        let good = issue(&key, CLAIM, AT);
        assert_eq!(verify(&key, CLAIM, None, AT), Err(Flaw::Missing));
        let version = good.replace("v1", "v2");
        let more = format!("{good},");
        for text in ["", "v1", "v1,,", "v1,x,AAAA", "v1,1,***", "v1,99999999999999999999,AAAA", &version, &more] {
            assert_eq!(verify(&key, CLAIM, Some(text), AT), Err(Flaw::Unreadable), "{text}");
        }
        assert_eq!(verify(&key, CLAIM, Some("v1,1800000000,"), AT), Err(Flaw::Wrong));
    }
}
