//! The HTTP server to which clients upload files, and from which they download them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::Problem;
use crate::hub::Hub;
use crate::media::LARGEST_FILE;
use crate::tls::Transport;

const MOST_CONNECTIONS: usize = 256;
/// Uploads that are held in memory at one moment; others wait.
const MOST_UPLOADS: usize = 4;
/// How long a client may take to upload a file.
const UPLOADING: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// What requests need.
struct Host {
    hub: Arc<Hub>,
    uploads: Semaphore,
}

/// Serves files for ever; dropping the future ends all connections.
pub async fn accept(listener: TcpListener, transport: Transport, hub: Arc<Hub>) {
    let host = Arc::new(Host { hub, uploads: Semaphore::new(MOST_UPLOADS) });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((tcp, _)) => {
                    connections.spawn(serve(tcp, transport.clone(), host.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for media");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a media connection failed");
                }
            }
        }
    }
}

async fn serve(tcp: TcpStream, transport: Transport, host: Arc<Host>) {
    let Some(socket) = transport.accept(tcp).await else {
        return;
    };
    let service = service_fn(|request| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(host.answer(request).await) }
    });
    let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a media connection broke");
    }
}

impl Host {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let answered = match *request.method() {
            Method::POST => self.upload(request).await,
            Method::GET => self.download(&request),
            _ => Err(Problem {
                status: 405,
                sentence: "files are uploaded with POST and downloaded with GET".to_owned(),
            }),
        };
        answered.unwrap_or_else(|problem| {
            self.hub.with(|world| world.media_refused(&path, &problem));
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            json_answer(status, &json!({ "error": problem.sentence }))
        })
    }

    async fn upload(&self, request: Request<Incoming>) -> Result<Answer, Problem> {
        let uri = request.uri().clone();
        let asked = |name| parameter(uri.query(), name);
        let place = uri.path().strip_prefix("/mms/").or_else(|| uri.path().strip_prefix("/product/"));
        let place = place.or_else(|| uri.path().strip_prefix("/pps/"));
        let Some((_, token)) = place.and_then(|place| place.split_once('/')) else {
            return Err(Problem::not_found("nothing can be uploaded here; a path is such as /mms/image/TOKEN"));
        };
        self.hub.with(|world| world.check_media_auth(asked("auth")))?;
        if asked("token") != Some(token) {
            return Err(Problem::bad_request("the token in the path is another one than in the query"));
        }
        if asked("resume").is_some() {
            let progress = match self.hub.with(|world| world.stored_media(token)) {
                Some(file) => json!({ "resume": "complete", "url": file.url, "direct_path": file.direct_path }),
                None => json!({ "resume": "0" }),
            };
            return Ok(json_answer(StatusCode::OK, &progress));
        }
        if asked("file_offset").is_some_and(|offset| offset != "0") {
            return Err(Problem::bad_request("there is no upload to go on with; begin at 0"));
        }
        let _place = self.uploads.acquire().await.map_err(|error| Problem::conflict(error.to_string()))?;
        let body = Limited::new(request.into_body(), LARGEST_FILE).collect();
        let content = match tokio::time::timeout(UPLOADING, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                return Err(Problem { status: 413, sentence: format!("the file is too large, or broke off: {error}") });
            }
            Err(_) => return Err(Problem { status: 408, sentence: "the upload took too long".to_owned() }),
        };
        if content.is_empty() || URL_SAFE_NO_PAD.encode(Sha256::digest(&content)) != token {
            return Err(Problem::bad_request("the token is not the hash of the file"));
        }
        let uploaded = self.hub.with(|world| world.store_media(token, content));
        Ok(json_answer(StatusCode::OK, &json!(uploaded)))
    }

    fn download(&self, request: &Request<Incoming>) -> Result<Answer, Problem> {
        // The token is not needed to download; a client that sends one has to send the right one.
        let auth = parameter(request.uri().query(), "auth");
        let content = self.hub.with(|world| {
            if auth.is_some() {
                world.check_media_auth(auth)?;
            }
            world.fetch_media(request.uri().path())
        })?;
        part(request.headers(), content)
    }
}

fn part(headers: &HeaderMap, content: Bytes) -> Result<Answer, Problem> {
    let whole = content.len();
    let mut answer = match headers.get(RANGE).and_then(|range| range.to_str().ok()) {
        None => Response::new(Full::new(content)),
        Some(range) => {
            let Some((start, end)) = read_range(range, whole) else {
                return Err(Problem { status: 416, sentence: format!("the file has {whole} bytes, not '{range}'") });
            };
            let mut answer = Response::new(Full::new(content.slice(start..end)));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let which = format!("bytes {start}-{}/{whole}", end - 1);
            if let Ok(which) = which.try_into() {
                answer.headers_mut().insert(CONTENT_RANGE, which);
            }
            answer
        }
    };
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(answer)
}

/// Reads `bytes=from-to`, `bytes=from-` or `bytes=-last`; the end is exclusive.
fn read_range(range: &str, whole: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (from, to) {
        ("", last) => (whole.saturating_sub(last.parse().ok()?), whole),
        (from, "") => (from.parse().ok()?, whole),
        (from, to) => (from.parse().ok()?, to.parse::<usize>().ok()?.saturating_add(1).min(whole)),
    };
    (start < end).then_some((start, end))
}

/// A parameter of a query. Tokens consist of letters that need no escape.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_means_them() {
        for (range, expected) in [
            ("bytes=0-3", Some((0, 4))),
            ("bytes=4-", Some((4, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=-30", Some((0, 10))),
            ("bytes=8-99", Some((8, 10))),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=-0", None),
            ("bytes=x-", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(read_range(range, 10), expected, "{range}");
        }
    }
}
