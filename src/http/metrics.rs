//! `GET /metrics`: the figures, for those who may read them. The texts are Evolution's.

use std::net::IpAddr;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::warn;

use super::api::Api;
use super::error::{Answer, ApiError};
use super::nodes::fleet::Fleet;
use super::settings::MetricsSettings;
use crate::ports::meter::{Picture, Portrait, SinkFigures, Sketch};
use crate::ports::store::{InstanceRecord, StoreError};

/// What `METRICS_AUTH_REQUIRED` asks for.
const CHALLENGE: &str = r#"Basic realm="Evolution API Metrics""#;

/// Answers from the board and the counters; touches no instance's actor, and the store only where other nodes share it.
pub(super) async fn metrics(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let Some(settings) = &api.settings.metrics else {
        return Err(ApiError::unknown_route(request.method().as_str(), &request.uri().to_string()));
    };
    // Whoever the connection comes from; what a header says about it anybody can write.
    let peer = request.peer_addr().map(|address| address.ip().to_canonical());
    if let Some(refusal) = admit(settings, peer, request.headers().get(header::AUTHORIZATION)) {
        return Ok(refusal);
    }
    let picture = picture(&api, settings).await;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, api.meter.content_type()))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"))
        .body(api.meter.write(&picture)))
}

/// Makes the answer that a reader gets who may not pass.
fn admit(
    settings: &MetricsSettings,
    peer: Option<IpAddr>,
    authorization: Option<&header::HeaderValue>,
) -> Option<HttpResponse> {
    if let Some(allowed) = &settings.allowed
        && !peer.is_some_and(|peer| allowed.lists(peer))
    {
        return Some(text(StatusCode::FORBIDDEN, "Forbidden: IP not allowed"));
    }
    if !settings.auth_required {
        return None;
    }
    let Some((user, password)) = &settings.login else {
        return Some(text(StatusCode::INTERNAL_SERVER_ERROR, "Metrics authentication not configured"));
    };
    let given = authorization.and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Basic "));
    let Some(given) = given else {
        let mut answer = text(StatusCode::UNAUTHORIZED, "Authentication required");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(CHALLENGE));
        return Some(answer);
    };
    let wanted = format!("{user}:{}", password.expose_secret());
    // Digests of one length: the time of the comparison depends on neither.
    let (given, wanted) = (Sha256::digest(STANDARD.decode(given.trim()).unwrap_or_default()), Sha256::digest(wanted));
    if given.as_slice().ct_eq(wanted.as_slice()).into() {
        None
    } else {
        Some(text(StatusCode::UNAUTHORIZED, "Invalid credentials"))
    }
}

fn text(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(text)
}

async fn picture(api: &Api, settings: &MetricsSettings) -> Picture {
    let now = api.clock.now();
    let mut instances: Vec<Portrait> = api
        .board
        .all()
        .into_iter()
        .map(|(_, entry)| Portrait {
            state: entry.status.state_at(now),
            phase: entry.status.phase_at(now),
            code: entry.status.explanation_at(now).map(|why| why.code),
            integration: entry.integration,
            name: entry.name,
        })
        .collect();
    instances.sort_by(|one, other| one.name.cmp(&other.name));
    let sink = api.sink_status().await.map(|sink| SinkFigures {
        under_way: sink.under_way,
        delivered: sink.delivered,
        failed: sink.failed,
        given_up: sink.given_up,
    });
    let (elsewhere, complete) = elsewhere(api).await.unwrap_or_else(|error| {
        warn!(error = &error as &dyn std::error::Error, "The figures do not cover the instances of other nodes");
        (Vec::new(), false)
    });
    Picture {
        version: api.settings.version.clone(),
        client_name: api.settings.client_name.clone(),
        server_url: settings.server_url.clone(),
        instances,
        elsewhere,
        complete,
        sink,
        copies: api.copying.iter().map(|one| one.figures()).collect(),
    }
}

/// Returns the instances that are not on the board, and whether every node has told of its own.
async fn elsewhere(api: &Api) -> Result<(Vec<Sketch>, bool), StoreError> {
    if api.leases.lease_ttl().is_none() {
        return Ok((Vec::new(), true));
    }
    let fleet = Fleet::ask(api).await?;
    let rows = api.store.list().await?;
    let sketch = |row: &InstanceRecord| Sketch {
        name: row.name.clone(),
        integration: row.integration.clone().unwrap_or_default(),
        state: fleet.standing(api, row).state,
    };
    let elsewhere = rows.iter().filter(|row| api.board.get(&row.id).is_none()).map(sketch).collect();
    Ok((elsewhere, fleet.is_complete()))
}
