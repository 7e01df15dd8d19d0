//! The routes. Each describes itself for the document at `/openapi.json`.

use actix_web::web::{Data, Json, Query};
use actix_web::{HttpResponse, get, post};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::adoption::{AdoptAnswer, AdoptRequest};
use crate::api::groups::{GroupAnswer, GroupRequest, GroupView};
use crate::api::signs::{
    CallAnswer, CallRequest, DirtyRequest, HitAnswer, PingRequest, PresenceRequest, ReceiptAnswer, ReceiptRequest,
};
use crate::api::{
    AccountView, CountersView, EventQuery, Health, MessageAnswer, MessageRequest, PairingCodeRequest, Problem,
    ScanAnswer, ScanRequest, SessionView,
};
use crate::door::{RefuseAnswer, RefuseRequest};
use crate::events::Event;
use crate::faults::FaultRequest;
use crate::media::{ExpireAnswer, ExpireRequest, MediaView};
use crate::messages::SentMessage;
use crate::operator::Operator;
use crate::rules::Rules;
use crate::served::ServedView;
use crate::traffic::{TrafficRequest, TrafficView};

type Answer = Result<HttpResponse, Problem>;

/// What the document says besides the routes.
#[derive(OpenApi)]
#[openapi(info(
    title = "Control of a simulated WhatsApp",
    description = "HTTP with JSON, on loopback, without a key. A person is named by phone number or JID. Unknown fields are refused.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
pub(super) struct Document;

/// Why a request was refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `Problem` answers")]
struct Refusal {
    /// What is wrong, for people.
    error: String,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(health)
        .service(sessions)
        .service(served)
        .service(accounts)
        .service(counters)
        .service(messages)
        .service(events)
        .service(wait)
        .service(scan)
        .service(pairing_code)
        .service(adopt)
        .service(message)
        .service(group)
        .service(groups)
        .service(receipt)
        .service(presence)
        .service(call)
        .service(dirty)
        .service(ping)
        .service(traffic)
        .service(start_traffic)
        .service(stop_traffic)
        .service(fault)
        .service(media)
        .service(expire_media)
        .service(rotate_static)
        .service(refuse)
        .service(rules)
        .service(change_rules)
        .service(reset_rules);
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JidQuery {
    /// Of whom: a phone number or JID; of everybody when absent.
    jid: Option<String>,
}

/// Where everything is.
#[utoipa::path(responses((status = 200, body = Health)))]
#[get("/health")]
async fn health(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.health())
}

/// The connections that their clients have not closed.
#[utoipa::path(responses((status = 200, body = Vec<SessionView>)))]
#[get("/sessions")]
async fn sessions(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.sessions())
}

/// Whether each device is served, and since when.
#[utoipa::path(responses((status = 200, body = Vec<ServedView>)))]
#[get("/served")]
async fn served(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.served())
}

/// The phones that have, or had, linked devices.
#[utoipa::path(responses((status = 200, body = Vec<AccountView>)))]
#[get("/accounts")]
async fn accounts(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.accounts())
}

/// What was counted, of a person, a device, or everybody.
#[utoipa::path(responses((status = 200, body = CountersView), (status = "4XX", body = Refusal)))]
#[get("/counters")]
async fn counters(operator: Data<Operator>, query: Query<JidQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.counters(query.jid.as_deref())?))
}

/// What devices sent, as the recipients decrypted it.
#[utoipa::path(responses((status = 200, body = Vec<SentMessage>)))]
#[get("/messages")]
async fn messages(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.messages())
}

/// The event log, the newest 50,000.
#[utoipa::path(responses((status = 200, body = Vec<Event>), (status = "4XX", body = Refusal)))]
#[get("/events")]
async fn events(operator: Data<Operator>, query: Query<EventQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.events(&query)?))
}

/// The first such event, as soon as there is one.
#[utoipa::path(responses((status = 200, body = Event), (status = "4XX", body = Refusal)))]
#[get("/wait")]
async fn wait(operator: Data<Operator>, query: Query<EventQuery>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.wait(&query).await?))
}

/// A phone scans a QR code; answers when the device is linked.
#[utoipa::path(request_body = ScanRequest, responses((status = 200, body = ScanAnswer), (status = "4XX", body = Refusal)))]
#[post("/scan")]
async fn scan(operator: Data<Operator>, request: Json<ScanRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.scan(&request).await?))
}

/// Somebody types on a phone the code that a client shows; answers when the device is linked.
#[utoipa::path(request_body = PairingCodeRequest, responses((status = 200, body = ScanAnswer), (status = "4XX", body = Refusal)))]
#[post("/pairing-code")]
async fn pairing_code(operator: Data<Operator>, request: Json<PairingCodeRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.pairing_code(&request).await?))
}

/// Links devices without a connection, from their public keys: all of them or, if one is wrong, none.
#[utoipa::path(request_body = AdoptRequest, responses((status = 200, body = AdoptAnswer), (status = "4XX", body = Refusal)))]
#[post("/adopt")]
async fn adopt(operator: Data<Operator>, request: Json<AdoptRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.adopt(request.into_inner()).await?))
}

/// A person writes to an account, or in a group.
#[utoipa::path(request_body = MessageRequest, responses((status = 200, body = MessageAnswer), (status = "4XX", body = Refusal)))]
#[post("/message")]
async fn message(operator: Data<Operator>, request: Json<MessageRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.message(request.into_inner()).await?))
}

/// People make a group.
#[utoipa::path(request_body = GroupRequest, responses((status = 200, body = GroupAnswer), (status = "4XX", body = Refusal)))]
#[post("/group")]
async fn group(operator: Data<Operator>, request: Json<GroupRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.group(&request)?))
}

/// The groups there are.
#[utoipa::path(responses((status = 200, body = Vec<GroupView>)))]
#[get("/groups")]
async fn groups(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.groups())
}

/// A person got, read or played what a device sent.
#[utoipa::path(request_body = ReceiptRequest, responses((status = 200, body = ReceiptAnswer), (status = "4XX", body = Refusal)))]
#[post("/receipt")]
async fn receipt(operator: Data<Operator>, request: Json<ReceiptRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.receipt(&request)?))
}

/// A person comes, goes or types.
#[utoipa::path(request_body = PresenceRequest, responses((status = 200, body = HitAnswer), (status = "4XX", body = Refusal)))]
#[post("/presence")]
async fn presence(operator: Data<Operator>, request: Json<PresenceRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.presence(&request)?))
}

/// A person calls an account, or gives up.
#[utoipa::path(request_body = CallRequest, responses((status = 200, body = CallAnswer), (status = "4XX", body = Refusal)))]
#[post("/call")]
async fn call(operator: Data<Operator>, request: Json<CallRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.call(&request)?))
}

/// Devices are told that something changed while they did not look.
#[utoipa::path(request_body = DirtyRequest, responses((status = 200, body = HitAnswer), (status = "4XX", body = Refusal)))]
#[post("/dirty")]
async fn dirty(operator: Data<Operator>, request: Json<DirtyRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.dirty(&request)?))
}

/// The server asks devices whether they are there.
#[utoipa::path(request_body = PingRequest, responses((status = 200, body = HitAnswer), (status = "4XX", body = Refusal)))]
#[post("/ping")]
async fn ping(operator: Data<Operator>, request: Json<PingRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.ping(&request)?))
}

/// How far the load has come.
#[utoipa::path(responses((status = 200, body = TrafficView)))]
#[get("/traffic")]
async fn traffic(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.traffic())
}

/// Begins a load: people write to linked accounts, and answer them.
#[utoipa::path(request_body = TrafficRequest, responses((status = 200, body = TrafficView), (status = "4XX", body = Refusal)))]
#[post("/traffic")]
async fn start_traffic(operator: Data<Operator>, request: Json<TrafficRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.start_traffic(&request)?))
}

/// Ends the load that is under way, if there is one.
#[utoipa::path(responses((status = 200, body = TrafficView)))]
#[post("/traffic/stop")]
async fn stop_traffic(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.stop_traffic())
}

/// Lets something go wrong.
#[utoipa::path(request_body = FaultRequest, responses((status = 200, body = HitAnswer), (status = "4XX", body = Refusal)))]
#[post("/fault")]
async fn fault(operator: Data<Operator>, request: Json<serde_json::Value>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.fault(FaultRequest::read(&request)?).await?))
}

/// The files that can be downloaded.
#[utoipa::path(responses((status = 200, body = Vec<MediaView>)))]
#[get("/media")]
async fn media(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.media())
}

/// Lets the token expire with which clients upload, or all files.
#[utoipa::path(request_body = ExpireRequest, responses((status = 200, body = ExpireAnswer), (status = "4XX", body = Refusal)))]
#[post("/media/expire")]
async fn expire_media(operator: Data<Operator>, request: Json<ExpireRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.expire_media(*request)))
}

/// Replaces the static key of the server; connections live on.
#[utoipa::path(responses((status = 200, body = Health), (status = "4XX", body = Refusal)))]
#[post("/rotate-static")]
async fn rotate_static(operator: Data<Operator>) -> Answer {
    operator.rotate_static()?;
    Ok(HttpResponse::Ok().json(operator.health()))
}

/// Refuses new connections for a while; answers when that is in force.
#[utoipa::path(request_body = RefuseRequest, responses((status = 200, body = RefuseAnswer), (status = "4XX", body = Refusal)))]
#[post("/refuse")]
async fn refuse(operator: Data<Operator>, request: Json<RefuseRequest>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.refuse(&request).await?))
}

/// How the server behaves.
#[utoipa::path(responses((status = 200, body = Rules)))]
#[get("/rules")]
async fn rules(operator: Data<Operator>) -> HttpResponse {
    HttpResponse::Ok().json(operator.rules())
}

/// Replaces the rules that are named; answers all of them.
#[utoipa::path(request_body = Rules, responses((status = 200, body = Rules), (status = "4XX", body = Refusal)))]
#[post("/rules")]
async fn change_rules(operator: Data<Operator>, changes: Json<serde_json::Value>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.change_rules(&changes)?))
}

/// Puts every rule back to what it is at the start.
#[utoipa::path(responses((status = 200, body = Rules), (status = "4XX", body = Refusal)))]
#[post("/rules/reset")]
async fn reset_rules(operator: Data<Operator>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.set_rules(Rules::default())?))
}
