//! Handing requests on: whoever asks any node about an instance is answered by the node that owns it.
//!
//! It takes one step at most. The node that the client asked checks the client's key, and its own credential stands for it from there.

use std::time::Duration;

use actix_web::body::{BoxBody, SizedStream};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use futures_util::stream;
use holdfast_core::elsewhere::{Absence, Course, Owner, course};
use serde::Deserialize;
use serde_json::json;
use tracing::{error, warn};

use super::client::{Answered, Failure, address};
use super::{NODE, credential, spelled};
use crate::http::api::Api;
use crate::http::auth::{self, Key};
use crate::http::error::ApiError;
use crate::http::{body, idempotency, messages};
use crate::ports::leases::Whereabouts;
use crate::ports::store::StoreError;

/// The largest answer that is passed on; ours are far smaller.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// What belongs to one connection and not to the request, and what is made anew for the next one. The origin was judged here.
const NOT_PASSED_ON: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request that another node vouches for: its key was checked there.
pub(in crate::http) struct Vouched;

/// What a request is answered with that cannot be carried out here, once its body was looked at.
pub(in crate::http) struct Refusal(pub(in crate::http) ApiError);

/// Where a request is carried out.
enum Way {
    /// Here; the flag says that there is no such instance in the database either.
    Here { unknown: bool },
    /// By the node of this name, at this address.
    There { node: String, url: String },
}

/// Carries a request out here, or lets its owner do it.
pub(in crate::http) async fn to_its_owner(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(api) = request.app_data::<web::Data<Api>>().cloned() else { return next.call(request).await };
    if api.leases.lease_ttl().is_none() {
        return next.call(request).await;
    }
    if credential::is_claimed(request.request())
        && let Err(refused) = admit(&api, &mut request).await
    {
        return Ok(request.into_response(refused.error_response()));
    }
    match way(&api, &request).await {
        Ok(Way::Here { unknown }) => {
            let answered = next.call(request).await?;
            if unknown { Ok(answered) } else { Ok(unless_it_moved(&api, answered).await) }
        }
        Ok(Way::There { node, url }) => {
            let handed_on = hand_on(&api, &mut request, &node, &url).await;
            Ok(request.into_response(handed_on.unwrap_or_else(|error| error.error_response())))
        }
        Err(refused) => {
            request.extensions_mut().insert(Refusal(refused));
            next.call(request).await
        }
    }
}

/// Lets a request of another node in, whose signature is over its body too.
async fn admit(api: &Api, request: &mut ServiceRequest) -> Result<(), ApiError> {
    let body = body::whole(api, request.take_payload()).await?;
    credential::check(api, request.request(), &body)?;
    request.set_payload(Payload::from(body));
    request.extensions_mut().insert(Vouched);
    Ok(())
}

async fn way(api: &Api, request: &ServiceRequest) -> Result<Way, ApiError> {
    let name = auth::name_in_path(request.request())?;
    if api.board.by_name(&name).is_some() {
        return Ok(Way::Here { unknown: false });
    }
    api.require_running().await?;
    let of_store = |error: StoreError| ApiError::of_store(error, &name);
    let found = api.leases.whereabouts(&name).await.map_err(of_store)?;
    let vouched = request.extensions().contains::<Vouched>();
    if let Some(found) = &found
        && !vouched
        && !Key::of(request.request()).is_global(api)
    {
        let Some(record) = api.store.get(&found.id).await.map_err(of_store)? else {
            return Ok(Way::Here { unknown: true });
        };
        if !Key::of(request.request()).fits(&record.token) {
            return Err(ApiError::unauthorized());
        }
    }
    match course(&api.settings.node.name, found.as_ref().map(owner), vouched) {
        Course::Unknown => Ok(Way::Here { unknown: true }),
        Course::Refused(absence) => Err(ApiError::absent(absence)),
        Course::HandedOn { node, url } => Ok(Way::There { node: node.to_owned(), url: url.to_owned() }),
    }
}

fn owner(found: &Whereabouts) -> Option<Owner<'_>> {
    let owner = found.owner.as_ref()?;
    Some(Owner { node: &owner.node, url: owner.url.as_deref(), alive: owner.alive })
}

/// Corrects the answer that there is no such instance, if it was given up only while the request was carried out: a client would make it anew.
async fn unless_it_moved(api: &Api, answered: ServiceResponse) -> ServiceResponse {
    let unknown = answered.response().error().and_then(Error::as_error::<ApiError>);
    if !unknown.is_some_and(ApiError::is_unknown_instance) {
        return answered;
    }
    let Ok(name) = auth::name_in_path(answered.request()) else { return answered };
    let corrected = match api.leases.whereabouts(&name).await {
        Ok(None) => return answered,
        Ok(Some(_elsewhere)) => ApiError::absent(Absence::Moving),
        Err(error) => ApiError::of_store(error, &name),
    };
    answered.into_response(corrected.error_response())
}

async fn hand_on(api: &Api, request: &mut ServiceRequest, node: &str, url: &str) -> Result<HttpResponse, ApiError> {
    let body = body::whole(api, request.take_payload()).await?;
    let path = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
    let Some(to) = address(url, path) else {
        return Err(ApiError::invalid(vec![
            "The name of this instance cannot be handed on to another node".to_owned(),
        ]));
    };
    let method = request.method().as_str();
    let Ok(known_method) = reqwest::Method::from_bytes(method.as_bytes()) else { return Err(ApiError::internal()) };
    let mut onward = reqwest::Request::new(known_method, to.url);
    passed_on(request.headers(), onward.headers_mut());
    for (name, value) in credential::headers(api, method, &to.arrives, &body) {
        let Ok(value) = reqwest::header::HeaderValue::from_str(&value) else { return Err(ApiError::internal()) };
        onward.headers_mut().insert(name, value);
    }
    let within = api.settings.limits.slowest() + delay(&body);
    // Without a body it has no length either, as it came.
    *onward.body_mut() = (!body.is_empty()).then(|| body.into());
    match api.neighbours.send(onward, within, LARGEST_ANSWER).await {
        // A node never refuses what another one vouches for, except for its credential. To the client it would say that its key is wrong.
        Ok(answered) if answered.status == StatusCode::UNAUTHORIZED.as_u16() => {
            error!(node, "Node {node} does not accept this node's credential: their session keys or clocks differ");
            Err(ApiError::node_refused(StatusCode::SERVICE_UNAVAILABLE).with("node", json!(node)))
        }
        Ok(answered) => answer(request.method(), node, &answered),
        Err(Failure::Unreachable) => {
            warn!(node, "Node {node} cannot be reached at its NODE_URL");
            Err(ApiError::absent(Absence::Unreachable).with("node", json!(node)))
        }
        Err(Failure::Interrupted) => {
            warn!(node, "The connection to node {node} broke after a request was handed on");
            Err(interrupted(request).with("node", json!(node)))
        }
    }
}

/// Says that nobody knows. Clients send again after a 5xx, which must not make two messages of one.
fn interrupted(request: &ServiceRequest) -> ApiError {
    let once = request.headers().contains_key(idempotency::HEADER);
    if request.path().starts_with("/message/") && !once {
        messages::unconfirmed(None)
    } else {
        ApiError::forward_interrupted()
    }
}

/// How long a message may wait before it is sent, as its body asks for. What cannot be read here may be read there.
fn delay(body: &[u8]) -> Duration {
    #[derive(Deserialize)]
    struct Delayed {
        #[serde(default)]
        delay: f64,
    }
    if body.is_empty() {
        return Duration::ZERO;
    }
    let millis = serde_json::from_slice::<Delayed>(body).map_or(f64::MAX, |delayed| delayed.delay);
    Duration::from_secs_f64((millis / 1000.0).clamp(0.0, messages::LONGEST_DELAY.as_secs_f64()))
}

fn passed_on(from: &HeaderMap, to: &mut reqwest::header::HeaderMap) {
    let named = named_by_connection(from.get_all(header::CONNECTION).filter_map(|value| value.to_str().ok()));
    for (name, value) in from {
        let name = name.as_str();
        if NOT_PASSED_ON.contains(&name) || named.iter().any(|one| one == name) {
            continue;
        }
        let name = reqwest::header::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, reqwest::header::HeaderValue::from_bytes(value.as_bytes())) {
            to.append(name, value);
        }
    }
}

fn answer(method: &Method, node: &str, answered: &Answered) -> Result<HttpResponse, ApiError> {
    let Ok(status) = StatusCode::from_u16(answered.status) else { return Err(ApiError::forward_interrupted()) };
    let mut response = HttpResponse::new(status);
    let theirs = &answered.headers;
    let named = named_by_connection(theirs.get_all("connection").iter().filter_map(|value| value.to_str().ok()));
    for (name, value) in theirs {
        let name = name.as_str();
        if NOT_PASSED_ON.contains(&name) || named.iter().any(|one| one == name) {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            response.headers_mut().append(name, value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&spelled(node)) {
        response.headers_mut().insert(HeaderName::from_static(NODE), value);
    }
    Ok(response.set_body(match length(theirs) {
        // The answer to HEAD tells the length of a body that is not there.
        Some(length) if method == Method::HEAD => {
            BoxBody::new(SizedStream::new(length, stream::empty::<Result<Bytes, Error>>()))
        }
        _ => BoxBody::new(answered.body.clone()),
    }))
}

fn length(headers: &reqwest::header::HeaderMap) -> Option<u64> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn named_by_connection<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HeaderMap, HeaderName, HeaderValue, delay, passed_on};

    #[test]
    fn a_message_that_waits_is_waited_for() {
        for (body, seconds) in [
            ("", 0.0),
            ("{}", 0.0),
            (r#"{"delay":1500}"#, 1.5),
            (r#"{"delay":-5}"#, 0.0),
            (r#"{"delay":1e300}"#, 600.0),
            (r#"{"delay":"1500"}"#, 600.0),
            ("delay=1500", 600.0),
            ("[]", 0.0),
        ] {
            assert_eq!(delay(body.as_bytes()), Duration::from_secs_f64(seconds), "{body}");
        }
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("connection", "Close, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("origin", "http://page"),
            ("apikey", "key"),
            ("content-type", "text/plain"),
            ("x-many", "1"),
            ("x-many", "2"),
        ] {
            from.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut to = reqwest::header::HeaderMap::new();
        passed_on(&from, &mut to);
        let mut names: Vec<&str> = to.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["apikey", "content-type", "x-many", "x-many"]);
    }
}
