//! The control interface: HTTP with JSON, for tests in other processes and for people with curl.

mod answers;
mod routes;

use std::future::ready;
use std::io;
use std::net::TcpListener;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};

use utoipa::OpenApi as _;
use utoipa_actix_web::AppExt as _;

use crate::operator::Operator;

/// Largest body of a request.
const LARGEST_BODY: usize = 16 << 20;

/// A running control interface.
pub struct ControlServer(ServerHandle);

impl ControlServer {
    /// Stops it at once.
    pub fn stop(&self) {
        // The order is given by the call; its future only tells when it was carried out.
        drop(self.0.stop(false));
    }
}

/// Serves the control interface on the current runtime.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, operator: Operator) -> io::Result<ControlServer> {
    let app = move || {
        let (app, document) = App::new()
            .into_utoipa_app()
            .openapi(routes::Document::openapi())
            .configure(routes::configure)
            .split_for_parts();
        app.app_data(web::Data::new(operator.clone()))
            .app_data(
                web::JsonConfig::default()
                    .limit(LARGEST_BODY)
                    .content_type_required(false)
                    .error_handler(|error, _| answers::unreadable(&error)),
            )
            .app_data(web::QueryConfig::default().error_handler(|error, _| answers::unreadable(&error)))
            .route("/openapi.json", web::get().to(move || ready(answers::document(&document))))
            .default_service(web::to(answers::no_such_route))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run();
    let handle = server.handle();
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the control interface failed");
        }
    });
    Ok(ControlServer(handle))
}
