//! What is answered while the database does not answer at the start: which instances the copies know of, and that nothing dials yet. Every
//! other request is told to come again.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, PoisonError, RwLock};

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, guard};
use serde_json::{Value, json};

use super::auth::{self, Key};
use super::code::ErrorCode;
use super::engine::restoration;
use super::error::{Answer, ApiError};
use super::instances::{fetch, state};
use super::nodes::{self, fleet};
use super::settings::HttpSettings;
use super::{cors, query, reply, system};
use crate::ports::board::Entry;
use crate::ports::clock::Clock;
use crate::ports::restoration::Restoration;
use crate::ports::store::InstanceRecord;

/// What is known without the database.
#[derive(Clone)]
pub struct Awaiting {
    pub settings: Arc<HttpSettings>,
    pub report: Arc<Restoration>,
    pub clock: Clock,
    /// The instances that copies know of, as they would hang on the board.
    pub known: Arc<RwLock<Vec<(InstanceRecord, Entry)>>>,
}

/// Serves what is known on `listener` until the returned server is stopped.
///
/// # Errors
/// Fails if the listener cannot be used.
pub fn serve(awaiting: Awaiting, listener: TcpListener) -> io::Result<Server> {
    let stop = awaiting.settings.limits.stop_timeout.as_secs();
    let node = nodes::spelled(&awaiting.settings.node.name);
    let factory = move || {
        App::new()
            .wrap(cors::layer(&awaiting.settings.cors))
            .wrap(from_fn(cors::refuse_foreign_origins))
            .wrap(
                DefaultHeaders::new()
                    .add(("Cache-Control", "no-store"))
                    .add(("X-Content-Type-Options", "nosniff"))
                    .add((nodes::NODE, node.as_str())),
            )
            .app_data(Data::new(awaiting.clone()))
            .configure(routes)
    };
    // Few ask, and not for long.
    Ok(HttpServer::new(factory).workers(1).shutdown_timeout(stop).disable_signals().listen(listener)?.run())
}

fn routes(config: &mut web::ServiceConfig) {
    let get = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    config
        .route("/", get().to(welcome))
        .route("/health/live", get().to(system::live))
        .route("/health/ready", get().to(readiness))
        .route("/instance/connectionState/{name}{slash:/*}", get().to(connection_state))
        .route("/instance/fetchInstances{slash:/*}", get().to(fetch_instances))
        .route("/engine/restoration{slash:/*}", get().to(report))
        .default_service(web::to(later));
}

impl Awaiting {
    fn known(&self) -> Vec<(InstanceRecord, Entry)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn welcome(awaiting: Data<Awaiting>) -> HttpResponse {
    reply::ok(&system::welcome_of(&awaiting.settings))
}

async fn readiness(awaiting: Data<Awaiting>) -> HttpResponse {
    let restoration = restoration::progress(&awaiting.report);
    reply::json(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({ "ready": false, "phase": "starting", "restoration": restoration }),
    )
}

async fn connection_state(awaiting: Data<Awaiting>, request: HttpRequest) -> Answer {
    let name = auth::name_in_path(&request)?;
    let key = Key::of(&request);
    let known = awaiting.known();
    let Some((_, entry)) = known.iter().find(|(record, _)| record.name == name) else {
        // It may be one that only the database knows.
        return if key.is(&awaiting.settings) { Err(away()) } else { Err(ApiError::unauthorized()) };
    };
    if !key.is(&awaiting.settings) && !key.fits(&entry.token.0) {
        return Err(ApiError::unauthorized());
    }
    Ok(reply::ok(&json!({ "instance": state::full(awaiting.clock, entry) })))
}

async fn fetch_instances(awaiting: Data<Awaiting>, request: HttpRequest) -> Answer {
    let key = Key::of(&request);
    let (id, name) = (query::parameter(&request, "instanceId"), query::parameter(&request, "instanceName"));
    let number = query::parameter(&request, "number");
    let global = key.is(&awaiting.settings);
    let now = awaiting.clock.now();
    let rows: Vec<Value> = awaiting
        .known()
        .iter()
        .filter(|(record, _)| global || key.fits(&record.token))
        .filter(|(record, _)| id.as_ref().is_none_or(|id| record.id.as_str() == id))
        .filter(|(record, _)| number.as_ref().is_none_or(|number| fetch::has_number(record, number)))
        .filter(|(record, _)| name.as_ref().is_none_or(|name| record.name == *name))
        .map(|(record, entry)| fetch::row(&fleet::here(entry, now), record))
        .collect();
    match (rows.is_empty(), global) {
        (true, false) => Err(ApiError::unauthorized()),
        // What no copy knows may still be in the database.
        (true, true) => Err(away()),
        (false, _) => Ok(reply::ok(&Value::Array(rows))),
    }
}

async fn report(awaiting: Data<Awaiting>, request: HttpRequest) -> Answer {
    if !Key::of(&request).is(&awaiting.settings) {
        return Err(ApiError::unauthorized());
    }
    Ok(reply::ok(&restoration::body(&awaiting.report.read(), awaiting.clock, |_| None)))
}

async fn later() -> Answer {
    Err(away())
}

fn away() -> ApiError {
    ApiError::unavailable(ErrorCode::StoreUnavailable)
}
