//! The engine's webhook: a server that notes when each message comes.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use serde_json::Value;

use crate::meter::Meter;

/// A running server. Stop it when nothing more is to come.
pub(crate) struct Receiver {
    pub(crate) url: String,
    server: ServerHandle,
}

impl Receiver {
    pub(crate) fn start(meter: Arc<Meter>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let meter = web::Data::from(meter);
        let factory = move || App::new().app_data(meter.clone()).default_service(web::to(take));
        let server = HttpServer::new(factory).workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { url, server: handle })
    }

    pub(crate) async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn take(body: web::Bytes, meter: web::Data<Meter>) -> HttpResponse {
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(text) = event["data"]["message"]["conversation"].as_str() {
        meter.arrives(text);
    }
    HttpResponse::Ok().finish()
}
