//! The HTTP session provider that Evolution API knows, with the routes and the answers of the real one, which can be broken.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

/// What it asks for unless another key is named.
pub(crate) const API_KEY: &str = "the-key-of-the-provider";

#[derive(Default)]
struct Disk {
    /// Documents by group, instance and key.
    groups: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<u8>>>>,
}

#[derive(Default)]
struct State {
    api_key: &'static str,
    disk: Mutex<Disk>,
    /// Answers with this status instead, so many times.
    refuses_with: AtomicU16,
    refusals: AtomicU32,
    /// Ends the silence of those that are not answered.
    speaks: Notify,
    /// Requests that came in.
    requests: AtomicU32,
    /// Keeps only the first half of what is written next.
    tears: AtomicU32,
}

/// A provider.
pub(crate) struct Provider {
    state: Arc<State>,
    address: SocketAddr,
    url: String,
    server: Mutex<ServerHandle>,
}

impl Provider {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_for(API_KEY)
    }

    /// Starts one that asks for this key.
    pub(crate) fn start_for(api_key: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { api_key, ..State::default() });
        let server = Mutex::new(serve(&state, listener)?);
        Ok(Self { state, address, url: format!("http://{address}"), server })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers the next requests with this status; with 0 not before it is told to answer otherwise.
    pub(crate) fn refuse(&self, times: u32, status: u16) {
        self.state.refuses_with.store(status, Ordering::Relaxed);
        self.state.refusals.store(times, Ordering::Relaxed);
        self.state.speaks.notify_waiters();
    }

    /// Crashes in the middle of the next write: half of the document is there.
    pub(crate) fn tear_next(&self) {
        self.state.tears.store(1, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u32 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Changes the documents of an instance.
    pub(crate) fn change(&self, group: &str, id: &str, change: impl Fn(&str, &mut Vec<u8>)) {
        let mut disk = self.state.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = disk.groups.get_mut(group).and_then(|instances| instances.get_mut(id));
        for (key, document) in documents.into_iter().flatten() {
            change(key, document);
        }
    }

    /// Returns the names of an instance's documents.
    pub(crate) fn keys(&self, group: &str, id: &str) -> Vec<String> {
        let disk = self.state.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = disk.groups.get(group).and_then(|instances| instances.get(id));
        documents.into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Stops it: nobody listens any more.
    pub(crate) async fn stop(&self) {
        let server = self.server();
        server.stop(false).await;
    }

    /// Starts it again, where it was and with what it had.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        let server = serve(&self.state, TcpListener::bind(self.address)?)?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
        Ok(())
    }

    fn server(&self) -> ServerHandle {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(state: &Arc<State>, listener: TcpListener) -> anyhow::Result<ServerHandle> {
    let shared = web::Data::from(Arc::clone(state));
    let factory = move || {
        App::new()
            .app_data(shared.clone())
            .app_data(web::PayloadConfig::new(100 << 20))
            .default_service(web::to(answer))
    };
    let server = HttpServer::new(factory).workers(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

impl Drop for Provider {
    fn drop(&mut self) {
        let server = self.server();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { server.stop(false).await });
        }
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    state.requests.fetch_add(1, Ordering::Relaxed);
    if state.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let status = state.refuses_with.load(Ordering::Relaxed);
        if status == 0 {
            let _spoken = timeout(Duration::from_secs(120), state.speaks.notified()).await;
        }
        return HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY))
            .insert_header(("location", "/ping"))
            .finish();
    }
    let path: Vec<&str> = request.path().trim_matches('/').split('/').collect();
    if request.method().as_str() == "OPTIONS" && path == ["ping"] {
        return HttpResponse::Ok().body("pong");
    }
    if request.headers().get("apikey").and_then(|key| key.to_str().ok()) != Some(state.api_key) {
        return HttpResponse::Unauthorized().finish();
    }
    let fields: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
    let mut disk = state.disk.lock().unwrap_or_else(PoisonError::into_inner);
    match (request.method().as_str(), path.as_slice()) {
        ("POST", ["session"]) => {
            disk.groups.entry(text("group")).or_default();
            HttpResponse::NoContent().finish()
        }
        ("POST", ["session", group]) => {
            disk.groups.entry((*group).to_owned()).or_default().entry(text("instance")).or_default();
            HttpResponse::NoContent().finish()
        }
        ("GET", ["session", group, "list-instances"]) => match disk.groups.get(*group) {
            Some(instances) => HttpResponse::Ok().json(instances.keys().collect::<Vec<_>>()),
            None => missing(request.path()),
        },
        (method, ["session", group, id, key]) => {
            let documents = disk.groups.get_mut(*group).and_then(|instances| instances.get_mut(*id));
            match (method, documents) {
                ("POST", Some(documents)) => {
                    let mut document = text("data").into_bytes();
                    let torn =
                        state.tears.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                    if torn.is_ok() {
                        document.truncate(document.len() / 2);
                    }
                    documents.insert((*key).to_owned(), document);
                    HttpResponse::NoContent().finish()
                }
                ("POST", None) => HttpResponse::InternalServerError().finish(),
                ("GET", Some(documents)) => match documents.get(*key) {
                    None => missing(request.path()),
                    // It gives objects alone, and says with status 200 what else it has found.
                    Some(document) => match serde_json::from_slice::<serde_json::Map<String, Value>>(document) {
                        Ok(object) => HttpResponse::Ok().json(object),
                        Err(error) => HttpResponse::Ok().json(json!({ "statusCode": 200, "error": error.to_string() })),
                    },
                },
                ("DELETE", documents) => {
                    if let Some(documents) = documents {
                        documents.remove(*key);
                    }
                    HttpResponse::Ok().finish()
                }
                _ => missing(request.path()),
            }
        }
        _ => HttpResponse::NotFound().finish(),
    }
}

fn missing(path: &str) -> HttpResponse {
    let error = format!("open instances{path}: no such file or directory");
    HttpResponse::BadRequest().json(json!({ "statusCode": 400, "error": error }))
}
