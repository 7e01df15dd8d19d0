//! A receiver of webhooks: a real HTTP server that remembers what it was sent, and refuses when told to.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

use super::eventually::eventually;

/// One request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) event_id: String,
    pub(crate) attempt: String,
    pub(crate) body: Value,
    /// Whether it was answered with success.
    pub(crate) taken: bool,
}

impl Received {
    pub(crate) fn event(&self) -> &str {
        self.body["event"].as_str().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        self.body["data"]["message"]["conversation"].as_str().unwrap_or_default()
    }
}

#[derive(Default)]
struct Desk {
    received: Vec<Received>,
    refusals: u32,
    /// The status of a refusal.
    refuses_with: u16,
}

/// What a receiver was sent, for somebody who outlives a call.
#[derive(Clone)]
pub(crate) struct Mail(Arc<Mutex<Desk>>);

impl Mail {
    /// Returns what has come since the last call, and forgets it.
    pub(crate) fn drain(&self) -> Vec<Received> {
        std::mem::take(&mut self.0.lock().expect("a desk that no panic has left").received)
    }
}

pub(crate) struct Receiver {
    desk: Arc<Mutex<Desk>>,
    address: String,
    server: ServerHandle,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    /// Starts where nobody has listened so far.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::over(TcpListener::bind(address).expect("a port that is still free"))
    }

    fn over(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("its address");
        let desk = Arc::new(Mutex::new(Desk::default()));
        let shared = web::Data::from(Arc::clone(&desk));
        let factory = move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::PayloadConfig::new(16 << 20))
                .default_service(web::to(take))
        };
        let server =
            HttpServer::new(factory).workers(1).disable_signals().listen(listener).expect("the listener").run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { desk, address: format!("http://{address}"), server: handle }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/hook", self.address)
    }

    /// Refuses the next `times` requests with 503.
    pub(crate) fn refuse(&self, times: u32) {
        self.refuse_with(times, 503);
    }

    /// Refuses the next `times` requests with this status.
    pub(crate) fn refuse_with(&self, times: u32, status: u16) {
        let mut desk = self.desk.lock().expect("a desk that no panic has left");
        (desk.refusals, desk.refuses_with) = (times, status);
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.desk.lock().expect("a desk that no panic has left").received.clone()
    }

    /// Returns what has come since the last call, and forgets it.
    pub(crate) fn drain(&self) -> Vec<Received> {
        self.mail().drain()
    }

    /// What was sent to it, to be taken elsewhere.
    pub(crate) fn mail(&self) -> Mail {
        Mail(Arc::clone(&self.desk))
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.all()
            .iter()
            .filter(|one| one.taken && one.event() == "messages.upsert")
            .map(|one| one.text().to_owned())
            .collect()
    }

    /// Waits for a taken message with this text.
    pub(crate) async fn message(&self, text: &str) -> Received {
        eventually(&format!("a webhook with the message {text:?}"), || async {
            self.all().into_iter().find(|one| one.taken && one.event() == "messages.upsert" && one.text() == text)
        })
        .await
    }

    /// Waits for a taken event whose data pass.
    pub(crate) async fn event(&self, name: &str, passes: impl Fn(&Value) -> bool) -> Received {
        eventually(&format!("a webhook with the event {name}"), || async {
            self.all().into_iter().find(|one| one.taken && one.event() == name && passes(&one.body["data"]))
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let server = self.server.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { server.stop(false).await });
        }
    }
}

async fn take(request: HttpRequest, body: web::Bytes, desk: web::Data<Mutex<Desk>>) -> HttpResponse {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut desk = desk.lock().expect("a desk that no panic has left");
    let taken = desk.refusals == 0;
    desk.refusals = desk.refusals.saturating_sub(1);
    desk.received.push(Received {
        event_id: header("x-holdfast-event-id"),
        attempt: header("x-holdfast-attempt"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        taken,
    });
    let refusal = StatusCode::from_u16(desk.refuses_with).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    HttpResponse::build(if taken { StatusCode::OK } else { refusal }).finish()
}
