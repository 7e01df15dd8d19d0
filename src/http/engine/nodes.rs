//! `GET /engine/nodes`: the processes that share the database.

use actix_web::{HttpRequest, web};
use holdfast_core::time::Timestamp;
use serde_json::{Value, json};

use crate::http::api::Api;
use crate::http::error::{Answer, ApiError};
use crate::http::{auth, reply};
use crate::ports::leases::Node;

/// Answers from the database, so that every node says the same.
pub(in crate::http) async fn nodes(api: web::Data<Api>, request: HttpRequest) -> Answer {
    auth::global(&api, &request)?;
    let nodes = if api.leases.lease_ttl().is_some() {
        api.leases.nodes().await.map_err(|error| ApiError::of_store(error, ""))?
    } else {
        vec![alone(&api).await]
    };
    let nodes: Vec<Value> = nodes.iter().map(|node| view(node, &api.settings.node.name)).collect();
    Ok(reply::ok(&json!({ "nodes": nodes })))
}

/// Describes the only node that can exist.
async fn alone(api: &Api) -> Node {
    let own = &api.settings.node;
    let status = api.system_status().await;
    Node {
        name: own.name.clone(),
        url: own.url.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: api.clock.wall_at(Timestamp::from_millis(0)),
        silent_for: std::time::Duration::ZERO,
        alive: true,
        draining: status.is_some_and(|status| status.phase > holdfast_core::shutdown::Phase::Running),
        instances: u32::try_from(api.board.all().len()).unwrap_or(u32::MAX),
    }
}

fn view(node: &Node, own: &str) -> Value {
    json!({
        "name": node.name,
        "url": node.url,
        "version": node.version,
        "alive": node.alive,
        "draining": node.draining,
        "instances": node.instances,
        "since": reply::date(node.since),
        "seenSecondsAgo": node.silent_for.as_secs(),
        "self": node.name == own,
    })
}
