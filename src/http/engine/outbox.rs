//! `GET /engine/outbox`: how far the sinks are behind, by instance and by target.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use holdfast_core::delivery::origin::Origin;
use serde_json::{Value, json};

use super::date;
use crate::actors::dispatcher::protocol::{SinkStatus, TargetStatus};
use crate::http::api::Api;
use crate::http::error::{Answer, ApiError};
use crate::http::{auth, reply};
use crate::ports::outbox::{InstanceLag, Lag};

/// Answers from the rows, and from what the dispatcher knows of its targets.
pub(in crate::http) async fn outbox(api: web::Data<Api>, request: HttpRequest) -> Answer {
    auth::global(&api, &request)?;
    let instances = api.store.lags().await.map_err(|error| ApiError::of_store(error, ""))?;
    let status = api.sink_status().await.ok_or_else(ApiError::overloaded)?;
    let now_ms = api.clock.wall().timestamp_millis();
    Ok(reply::ok(&view(&instances, &status, now_ms)))
}

fn view(instances: &[InstanceLag], status: &SinkStatus, now_ms: i64) -> Value {
    let mut total = Lag::default();
    let mut targets: BTreeMap<&Origin, Lag> = BTreeMap::new();
    // Targets without a row matter as long as they are not well.
    for target in status.targets.iter().filter(|target| target.failures > 0 || target.under_way > 0) {
        targets.entry(&target.origin).or_default();
    }
    for instance in instances {
        add(&mut total, instance.lag);
        add(targets.entry(&instance.origin).or_default(), instance.lag);
    }
    let known: BTreeMap<&Origin, &TargetStatus> =
        status.targets.iter().map(|target| (&target.origin, target)).collect();
    let mut body = lag(total, now_ms);
    body["sinks"] = json!([{
        "sink": status.sink,
        "underWay": status.under_way,
        "delivered": status.delivered,
        "failed": status.failed,
        "givenUp": status.given_up,
    }]);
    body["instances"] = instances.iter().map(|instance| instance_view(instance, now_ms)).collect();
    body["targets"] = targets
        .into_iter()
        .map(|(origin, behind)| target_view(origin, behind, known.get(origin).copied(), now_ms))
        .collect();
    body
}

fn instance_view(instance: &InstanceLag, now_ms: i64) -> Value {
    let mut view = lag(instance.lag, now_ms);
    view["instanceName"] = json!(instance.name);
    view["instanceId"] = json!(instance.instance);
    view["target"] = json!(instance.origin);
    view
}

fn target_view(origin: &Origin, behind: Lag, known: Option<&TargetStatus>, now_ms: i64) -> Value {
    let mut view = lag(behind, now_ms);
    view["target"] = json!(origin);
    view["breaker"] = json!({
        "state": known.map_or("closed", |target| target.breaker),
        "failures": known.map_or(0, |target| target.failures),
        "since": known.and_then(|target| target.since).map(reply::date),
        "nextTryAt": known.and_then(|target| target.next_try_at).map(reply::date),
    });
    view["underWay"] = json!(known.map_or(0, |target| target.under_way));
    view
}

fn lag(lag: Lag, now_ms: i64) -> Value {
    json!({
        "pending": lag.pending,
        "dead": lag.dead,
        "oldestAt": lag.oldest_ms.map(date),
        "oldestAgeMs": lag.oldest_ms.map(|oldest_ms| (now_ms - oldest_ms).max(0)),
    })
}

fn add(sum: &mut Lag, one: Lag) {
    sum.pending += one.pending;
    sum.dead += one.dead;
    sum.oldest_ms = match (sum.oldest_ms, one.oldest_ms) {
        (Some(sum), Some(one)) => Some(sum.min(one)),
        (sum, one) => sum.or(one),
    };
}
