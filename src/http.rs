//! Evolution API's HTTP interface, and the routes of our own: health, and `/engine` for what Evolution has no route for.
//!
//! One request's way: [`cors`] looks at its origin, [`nodes`] hands it on if another node owns its instance, [`body`] reads and parses what it carries, [`auth`] finds the instance that the
//! path names and checks the key, [`schema`] checks the fields, a handler speaks to the actors or the store, and [`error`] turns
//! whatever went wrong into the contract's shape. Status is read from the board, never from a row.

mod api;
mod auth;
pub mod awaiting;
mod body;
pub mod code;
mod cors;
mod engine;
mod error;
mod idempotency;
mod instance_settings;
mod instances;
mod messages;
mod metrics;
mod nodes;
mod pairing;
mod proxies;
pub mod qr;
mod query;
mod reply;
mod restore;
mod schema;
pub mod settings;
mod system;
mod webhooks;

use std::io;
use std::net::TcpListener;

use actix_web::dev::{Handler, Server};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, FromRequest, HttpServer, Responder, Route, guard};

pub use self::api::Api;
pub use self::idempotency::KeysInUse;
pub use self::nodes::{Neighbours, NoClient};
use self::settings::Limits;

/// Returns the routing table, to be given to `App::configure`.
pub fn configure(api: Api) -> impl Fn(&mut ServiceConfig) {
    move |config| {
        config.app_data(web::Data::new(api.clone()));
        config.default_service(web::to(system::unknown_route));

        let mut table = Table(config);
        table.get("/", system::welcome);
        table.post("/verify-creds", system::verify_credentials);
        table.get("/health/live", system::live);
        table.get("/health/ready", system::readiness);
        table.get("/metrics", metrics::metrics);

        table.post("/instance/create", instances::create::create);
        table.get("/instance/connect/{name}", instances::connect::connect);
        table.get("/instance/connectionState/{name}", instances::state::connection_state);
        table.get("/instance/fetchInstances", instances::fetch::fetch_instances);
        table.post("/instance/restart/{name}", instances::restart::restart);
        table.put("/instance/restart/{name}", instances::restart::restart);
        table.post("/instance/setPresence/{name}", instances::presence::set_presence);
        table.delete("/instance/logout/{name}", instances::logout::log_out);
        table.delete("/instance/delete/{name}", instances::delete::delete);

        table.post("/message/sendText/{name}", messages::send_text);
        table.post("/webhook/set/{name}", webhooks::set);
        table.get("/webhook/find/{name}", webhooks::find);
        table.post("/settings/set/{name}", instance_settings::set);
        table.get("/settings/find/{name}", instance_settings::find);
        table.post("/proxy/set/{name}", proxies::set);
        table.get("/proxy/find/{name}", proxies::find);

        table.get("/engine/config", engine::config::config);
        table.get("/engine/log", engine::log::get);
        table.put("/engine/log", engine::log::put);
        table.get("/engine/fleet", engine::fleet::fleet);
        table.get("/engine/nodes", engine::nodes::nodes);
        table.get("/engine/board", engine::board::board);
        table.get("/engine/process", engine::process::process);
        table.get("/engine/restoration", engine::restoration::restoration);
        table.get("/engine/outbox", engine::outbox::outbox);
        table.get("/engine/dead-letters", engine::dead_letters::list);
        table.post("/engine/dead-letters/redrive", engine::dead_letters::redrive);
        table.delete("/engine/dead-letters", engine::dead_letters::discard);
        table.get("/engine/unrecovered", engine::unrecovered::list);
        table.post("/engine/restore", restore::restore);
    }
}

/// Serves the API on `listener` until the returned server is stopped; signals are left to the caller.
///
/// # Errors
/// Fails if the listener cannot be used.
pub fn serve(api: Api, listener: TcpListener) -> io::Result<Server> {
    let limits = api.settings.limits.clone();
    let node = nodes::spelled(&api.settings.node.name);
    let factory = move || {
        // The last layer is the outermost.
        App::new()
            .wrap(cors::layer(&api.settings.cors))
            .wrap(from_fn(cors::refuse_foreign_origins))
            .wrap(
                DefaultHeaders::new()
                    .add(("Cache-Control", "no-store"))
                    .add(("X-Content-Type-Options", "nosniff"))
                    .add((nodes::NODE, node.as_str())),
            )
            .configure(configure(api.clone()))
    };
    let Limits { workers, keep_alive, stop_timeout, .. } = limits;
    let server =
        HttpServer::new(factory).keep_alive(keep_alive).shutdown_timeout(stop_timeout.as_secs()).disable_signals();
    let server = if let Some(workers) = workers { server.workers(workers) } else { server };
    Ok(server.listen(listener)?.run())
}

/// The routes, one line each. A path that matches with another method is unknown, as in Evolution, not a 405.
struct Table<'a>(&'a mut ServiceConfig);

impl Table<'_> {
    fn get<F, Args>(&mut self, path: &str, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        // HEAD is answered like GET; the server leaves the body out.
        self.add(path, web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler));
    }

    fn post<F, Args>(&mut self, path: &str, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, web::post().to(handler));
    }

    fn put<F, Args>(&mut self, path: &str, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, web::put().to(handler));
    }

    fn delete<F, Args>(&mut self, path: &str, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, web::delete().to(handler));
    }

    fn add(&mut self, path: &str, route: Route) {
        let route = if path.contains("{name}") { route.wrap(from_fn(nodes::forward::to_its_owner)) } else { route };
        // Clients put a slash after any path.
        let path = format!("{}{{slash:/*}}", path.trim_end_matches('/'));
        self.0.route(&path, route);
    }
}
