//! The routes, in one table.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Query, ServiceConfig, get, post};
use serde::Deserialize;

use crate::adoption::AdoptRequest;
use crate::api::groups::GroupRequest;
use crate::api::signs::{DirtyRequest, PingRequest, PresenceRequest, ReceiptRequest};
use crate::api::{EventQuery, MessageRequest, PairingCodeRequest, Problem, ScanRequest};
use crate::door::RefuseRequest;
use crate::faults::FaultRequest;
use crate::operator::Operator;
use crate::rules::Rules;
use crate::traffic::TrafficRequest;

type Answer = Result<HttpResponse, Problem>;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .route("/health", get().to(health))
        .route("/sessions", get().to(sessions))
        .route("/accounts", get().to(accounts))
        .route("/counters", get().to(counters))
        .route("/messages", get().to(messages))
        .route("/events", get().to(events))
        .route("/wait", get().to(wait))
        .route("/scan", post().to(scan))
        .route("/pairing-code", post().to(pairing_code))
        .route("/adopt", post().to(adopt))
        .route("/message", post().to(message))
        .route("/group", post().to(group))
        .route("/groups", get().to(groups))
        .route("/receipt", post().to(receipt))
        .route("/presence", post().to(presence))
        .route("/dirty", post().to(dirty))
        .route("/ping", post().to(ping))
        .route("/traffic", get().to(traffic))
        .route("/traffic", post().to(start_traffic))
        .route("/traffic/stop", post().to(stop_traffic))
        .route("/fault", post().to(fault))
        .route("/rotate-static", post().to(rotate_static))
        .route("/refuse", post().to(refuse))
        .route("/rules", get().to(rules))
        .route("/rules", post().to(change_rules))
        .route("/rules/reset", post().to(reset_rules));
}

#[derive(Deserialize)]
struct JidQuery {
    jid: Option<String>,
}

async fn health(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.health())
}

async fn sessions(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.sessions())
}

async fn accounts(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.accounts())
}

async fn counters(operator: Data<Operator>, query: Query<JidQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.counters(query.jid.as_deref())?))
}

async fn messages(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.messages())
}

async fn events(operator: Data<Operator>, query: Query<EventQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.events(&query)?))
}

async fn wait(operator: Data<Operator>, query: Query<EventQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.wait(&query).await?))
}

async fn scan(operator: Data<Operator>, request: Json<ScanRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.scan(&request).await?))
}

async fn pairing_code(operator: Data<Operator>, request: Json<PairingCodeRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.pairing_code(&request).await?))
}

async fn adopt(operator: Data<Operator>, request: Json<AdoptRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.adopt(request.into_inner()).await?))
}

async fn message(operator: Data<Operator>, request: Json<MessageRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.message(request.into_inner()).await?))
}

async fn group(operator: Data<Operator>, request: Json<GroupRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.group(&request)?))
}

async fn groups(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.groups())
}

async fn receipt(operator: Data<Operator>, request: Json<ReceiptRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.receipt(&request)?))
}

async fn presence(operator: Data<Operator>, request: Json<PresenceRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.presence(&request)?))
}

async fn dirty(operator: Data<Operator>, request: Json<DirtyRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.dirty(&request)?))
}

async fn ping(operator: Data<Operator>, request: Json<PingRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.ping(&request)?))
}

async fn traffic(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.traffic())
}

async fn start_traffic(operator: Data<Operator>, request: Json<TrafficRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.start_traffic(&request)?))
}

async fn stop_traffic(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.stop_traffic())
}

async fn fault(operator: Data<Operator>, request: Json<FaultRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.fault(request.into_inner()).await?))
}

async fn refuse(operator: Data<Operator>, request: Json<RefuseRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.refuse(&request).await?))
}

async fn rules(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.rules())
}

async fn change_rules(operator: Data<Operator>, changes: Json<serde_json::Value>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.change_rules(&changes)?))
}

async fn reset_rules(operator: Data<Operator>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.set_rules(Rules::default())?))
}

async fn rotate_static(operator: Data<Operator>) -> Answer {
    operator.rotate_static()?;
    Ok(HttpResponse::Ok().json(operator.health()))
}
