//! The HTTP session provider of Evolution API: a small server that keeps documents under group, instance and key.
//!
//! It writes its files in place, so a crash of its own can leave half of one. Each instance therefore has two documents, of which the older one is
//! written, and the newer whole one counts.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use holdfast_core::id::{DatabaseId, InstanceId};
use holdfast_core::restoration::neighbours::Signs;
use holdfast_core::restoration::{Mark, Source};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::names::{id_of, name_of};
use crate::ports::chance;
use crate::ports::clock::Clock;
use crate::ports::layer::{Found, Kept, LONGEST_COPY, Layer, LayerError, Reading, SessionCopy};

const NAME: &str = "the session provider";
/// How long connecting may take, and one request.
const CONNECTING: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(10);
/// How often a request is sent that was not answered.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How many instances are read at the same time.
const READERS: usize = 8;
/// How many may fail until the others are not asked for.
const MOST_FAILURES: usize = 8;
/// What a document holds besides the copy.
const FORMAT: &str = "holdfast-copy/1";
const KEYS: [&str; 2] = ["holdfast-copy-0", "holdfast-copy-1"];
/// What the name begins with under which the engine of a database shows that it lives, and the key of the document there.
const LIVING: &str = "holdfast-database-";
const SIGN: &str = "holdfast-alive";
/// Letters of a sign that are looked at, and signs.
const LONGEST_SIGN: usize = 100;
const MOST_SIGNS: usize = 20;
const LONGEST_ANSWER: usize = LONGEST_COPY / 3 * 4 + 4096;

/// Where the provider is.
#[derive(Clone)]
pub struct HttpProviderOptions {
    /// Its address (`PROVIDER_HOST`, `PROVIDER_PORT`).
    pub url: Url,
    /// The group of this installation's sessions (`PROVIDER_PREFIX`).
    pub group: String,
    /// The key that it asks for (`AUTHENTICATION_API_KEY`).
    pub api_key: SecretString,
}

impl fmt::Debug for HttpProviderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProviderOptions").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Why there is no provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its address is none that paths can be added to, or its key is none that a header can hold.
    #[error("the address or the key of the session provider cannot be used")]
    Options,
    /// The HTTP client cannot be made.
    #[error("the HTTP client for the session provider cannot be made")]
    Client(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("TLS for the session provider cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Copies of sessions in an HTTP session provider.
pub struct HttpProvider {
    client: Client,
    url: Url,
    group: String,
    clock: Clock,
    /// Which document of an instance was written last and with which state, as far as this process knows.
    written: Mutex<HashMap<InstanceId, (usize, Mark)>>,
    /// Databases for whose signs of life there is a place.
    shown: Mutex<BTreeSet<DatabaseId>>,
}

impl HttpProvider {
    /// Makes one. It follows no redirect and uses no proxy of the environment.
    ///
    /// # Errors
    /// If address or key cannot be used.
    pub fn new(options: HttpProviderOptions, clock: Clock) -> Result<Self, ProviderError> {
        let HttpProviderOptions { url, group, api_key } = options;
        if url.cannot_be_a_base() {
            return Err(ProviderError::Options);
        }
        let mut key = HeaderValue::from_str(api_key.expose_secret()).map_err(|_secret| ProviderError::Options)?;
        key.set_sensitive(true);
        let client = Client::builder()
            .tls_backend_preconfigured(tls().map_err(ProviderError::Tls)?)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECTING)
            .timeout(REQUEST)
            .default_headers(HeaderMap::from_iter([(reqwest::header::HeaderName::from_static("apikey"), key)]))
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ProviderError::Client)?;
        Ok(Self { client, url, group, clock, written: Mutex::default(), shown: Mutex::default() })
    }

    /// Asks whether it is there.
    ///
    /// # Errors
    /// If it does not answer, or somebody else does.
    pub async fn ping(&self) -> Result<(), LayerError> {
        let answer = self.ask(Method::OPTIONS, self.at(&["ping"])?, None).await?;
        if answer.status == StatusCode::OK && answer.body.trim_ascii() == b"pong" {
            return Ok(());
        }
        Err(unavailable("what answers there is no session provider".to_owned()))
    }

    fn at(&self, segments: &[&str]) -> Result<Url, LayerError> {
        let mut url = self.url.clone();
        // Each segment is escaped.
        url.path_segments_mut()
            .map_err(|()| unavailable("its address has no paths".to_owned()))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    fn document(&self, id: &InstanceId, key: &str) -> Result<Url, LayerError> {
        self.at(&["session", &self.group, &named(id)?, key])
    }

    /// Sends a request until it is answered. Each of them can be repeated safely.
    async fn ask(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Answer, LayerError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self.client.request(method.clone(), url.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            let why = match timeout(REQUEST, async { Answer::of(request.send().await?).await }).await {
                Ok(Ok(answer)) if !answer.status.is_server_error() => return Ok(answer),
                Ok(Ok(answer)) => format!("it has answered {}", answer.status.as_u16()),
                // Without its address, which says where the sessions are.
                Ok(Err(error)) => error.without_url().to_string(),
                Err(_elapsed) => "it has not answered in time".to_owned(),
            };
            if tries == TRIES {
                return Err(unavailable(why));
            }
            sleep(FIRST_WAIT * 2_u32.pow(tries - 1)).await;
            sleep(FIRST_WAIT.mul_f64(chance::unit())).await;
        }
    }

    /// Reads one document.
    async fn read_document(&self, id: &InstanceId, key: &str) -> Result<Document, LayerError> {
        let answer = self.ask(Method::GET, self.document(id, key)?, None).await?;
        if answer.too_long {
            return Ok(Document::Corrupt("it is too long".to_owned()));
        }
        if answer.status == StatusCode::OK {
            return Ok(understood(&answer.body));
        }
        if answer.status == StatusCode::BAD_REQUEST && says_missing(&answer.body) {
            return Ok(Document::Absent);
        }
        Err(unavailable(format!("it has answered {}", answer.status.as_u16())))
    }

    /// Reads both documents of an instance; returns what counts, and which of them should be written next.
    async fn read_both(&self, id: &InstanceId) -> Result<(Reading, usize), LayerError> {
        let mut best: Option<(usize, Box<Found>)> = None;
        let (mut corrupt, mut spare) = (None, None);
        for (number, key) in KEYS.iter().enumerate() {
            match self.read_document(id, key).await? {
                Document::Absent => spare = spare.or(Some(number)),
                Document::Corrupt(why) => {
                    corrupt = corrupt.or(Some(why));
                    spare = Some(number);
                }
                Document::Bytes(bytes) => match Reading::of(id, &bytes, self.clock.wall()) {
                    Reading::Found(found) => {
                        if best.as_ref().is_none_or(|(_, best)| found.copy.mark() > best.copy.mark()) {
                            best = Some((number, found));
                        }
                    }
                    Reading::Corrupt { why } | Reading::Unreadable { why } => {
                        corrupt = corrupt.or(Some(why));
                        spare = Some(number);
                    }
                    Reading::Absent => spare = spare.or(Some(number)),
                },
            }
        }
        Ok(match (best, corrupt) {
            (Some((number, found)), _) => (Reading::Found(found), spare.unwrap_or(1 - number)),
            (None, Some(why)) => (Reading::Corrupt { why }, spare.unwrap_or(0)),
            (None, None) => (Reading::Absent, 0),
        })
    }

    /// Lists what there is in the group.
    async fn names(&self) -> Result<Vec<String>, LayerError> {
        // A group that was never made is an error there: it is made first, which changes nothing if it is there.
        self.post(self.at(&["session"])?, &json!({ "group": self.group })).await?;
        let answer = self.ask(Method::GET, self.at(&["session", &self.group, "list-instances"])?, None).await?;
        if answer.status != StatusCode::OK || answer.too_long {
            return Err(refused(&answer));
        }
        // An empty list is told as nothing at all, and what is no folder as an empty name. Sessions of others are of no concern here.
        let names: Option<Vec<String>> = serde_json::from_slice(&answer.body)
            .map_err(|_no_list| unavailable("its list cannot be understood".to_owned()))?;
        Ok(names.unwrap_or_default())
    }

    async fn post(&self, url: Url, body: &Value) -> Result<(), LayerError> {
        let answer = self.ask(Method::POST, url, Some(body)).await?;
        // The usual server answers 400 to what is too long for it. To try the same again would change nothing.
        if matches!(answer.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST) {
            let why = format!("the server does not take it ({}); it may be too long for it", answer.status.as_u16());
            return Err(LayerError::Unfit { layer: NAME, why });
        }
        if answer.status.is_success() { Ok(()) } else { Err(refused(&answer)) }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeSet<DatabaseId>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<InstanceId, (usize, Mark)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Layer for HttpProvider {
    fn source(&self) -> Source {
        Source::Files
    }

    async fn list(&self) -> Result<Vec<InstanceId>, LayerError> {
        let names = self.names().await?;
        Ok(names.iter().filter(|name| !name.starts_with(LIVING)).filter_map(|name| id_of(name)).collect())
    }

    async fn read(&self, ids: &[InstanceId]) -> Vec<(InstanceId, Reading)> {
        let failures = std::sync::atomic::AtomicUsize::new(0);
        let failures = &failures;
        let reads = ids.iter().cloned().map(|id| async move {
            use std::sync::atomic::Ordering::Relaxed;
            let reading = if failures.load(Relaxed) >= MOST_FAILURES {
                Err(LayerError::LeftAlone { layer: NAME })
            } else {
                self.read_both(&id).await.inspect_err(|_silent| {
                    failures.fetch_add(1, Relaxed);
                })
            };
            let reading =
                reading.map_or_else(|error| Reading::Unreadable { why: error.to_string() }, |(reading, _)| reading);
            (id, reading)
        });
        futures_util::stream::iter(reads).buffered(READERS).collect().await
    }

    async fn write(&self, copy: &SessionCopy) -> Result<Kept, LayerError> {
        let id = &copy.header.id;
        let bytes = copy.encode().map_err(|error| LayerError::Unfit { layer: NAME, why: error.to_string() })?;
        let known = self.written().get(id).copied();
        let (number, there) = if let Some((last, mark)) = known {
            (1 - last, Some(mark))
        } else {
            self.post(self.at(&["session", &self.group])?, &json!({ "instance": named(id)? })).await?;
            let (reading, number) = self.read_both(id).await?;
            let there = if let Reading::Found(found) = reading { Some(found.copy.mark()) } else { None };
            (number, there)
        };
        let mark = copy.mark();
        if there.is_some_and(|there| there > mark) {
            return Ok(Kept::Outdated);
        }
        let document = json!({ "format": FORMAT, "copy": STANDARD.encode(bytes) }).to_string();
        let key = KEYS.get(number).copied().unwrap_or(KEYS[0]);
        let posted = self.post(self.document(id, key)?, &json!({ "data": document })).await;
        match &posted {
            Ok(()) => self.written().insert(id.clone(), (number, mark)),
            // What is there now is not known.
            Err(_) => self.written().remove(id),
        };
        posted.map(|()| Kept::Written)
    }

    /// Files do not grow old.
    async fn refresh(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, LayerError> {
        let there: BTreeSet<InstanceId> = self.list().await?.into_iter().collect();
        self.written().retain(|id, _| there.contains(id));
        Ok(ids.iter().filter(|id| !there.contains(id)).cloned().collect())
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), LayerError> {
        self.written().remove(id);
        for key in KEYS {
            let answer = self.ask(Method::DELETE, self.document(id, key)?, None).await?;
            let gone =
                answer.status.is_success() || (answer.status == StatusCode::BAD_REQUEST && says_missing(&answer.body));
            if !gone {
                return Err(refused(&answer));
            }
        }
        Ok(())
    }

    async fn set_aside(&self, id: &InstanceId) -> Result<Option<String>, LayerError> {
        self.written().remove(id);
        let now = self.clock.wall().timestamp_millis();
        let mut aside = None;
        for (number, key) in KEYS.iter().enumerate() {
            let answer = self.ask(Method::GET, self.document(id, key)?, None).await?;
            if answer.status == StatusCode::BAD_REQUEST && says_missing(&answer.body) {
                continue;
            }
            if answer.status != StatusCode::OK {
                return Err(refused(&answer));
            }
            if let Document::Bytes(bytes) = understood(&answer.body)
                && SessionCopy::decode(&bytes).is_ok_and(|copy| copy.header.id == *id)
            {
                continue;
            }
            // Whatever the server gave for it: what it has of half a document it may not give at all.
            let name = format!("holdfast-corrupt-{now}-{number}");
            let kept = json!({ "answer": STANDARD.encode(&answer.body) }).to_string();
            self.post(self.document(id, &name)?, &json!({ "data": kept })).await?;
            let removed = self.ask(Method::DELETE, self.document(id, key)?, None).await?;
            if !removed.status.is_success() {
                return Err(refused(&removed));
            }
            aside = aside.or(Some(name));
        }
        Ok(aside)
    }

    async fn show_life(&self, database: &DatabaseId, sign: &str) -> Result<(), LayerError> {
        let name = signs_of(database);
        if !self.shown().contains(database) {
            self.post(self.at(&["session", &self.group])?, &json!({ "instance": name })).await?;
        }
        let document = json!({ "sign": sign }).to_string();
        let posted = self.post(self.at(&["session", &self.group, &name, SIGN])?, &json!({ "data": document })).await;
        match &posted {
            Ok(()) => self.shown().insert(database.clone()),
            // Perhaps there is no place for it any more.
            Err(_) => self.shown().remove(database),
        };
        posted
    }

    async fn signs_of_life(&self) -> Result<Signs, LayerError> {
        let mut found = Signs::new();
        let databases =
            self.names().await?.into_iter().filter_map(|name| DatabaseId::parse(name.strip_prefix(LIVING)?));
        for database in databases.take(MOST_SIGNS) {
            let url = self.at(&["session", &self.group, &signs_of(&database), SIGN])?;
            let answer = self.ask(Method::GET, url, None).await?;
            if answer.status == StatusCode::OK {
                found.insert(database, sign_in(&answer.body).chars().take(LONGEST_SIGN).collect());
            } else if !(answer.status == StatusCode::BAD_REQUEST && says_missing(&answer.body)) {
                return Err(refused(&answer));
            }
        }
        Ok(found)
    }

    async fn end_life(&self, database: &DatabaseId) -> Result<(), LayerError> {
        let url = self.at(&["session", &self.group, &signs_of(database), SIGN])?;
        let answer = self.ask(Method::DELETE, url, None).await?;
        let gone =
            answer.status.is_success() || (answer.status == StatusCode::BAD_REQUEST && says_missing(&answer.body));
        if gone { Ok(()) } else { Err(refused(&answer)) }
    }
}

/// What is under a key.
enum Document {
    Absent,
    Bytes(Vec<u8>),
    Corrupt(String),
}

/// An answer, read as far as it may be long.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    too_long: bool,
}

impl Answer {
    async fn of(mut response: Response) -> Result<Self, reqwest::Error> {
        let status = response.status();
        let (mut body, mut too_long) = (Vec::new(), false);
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                too_long = true;
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, body, too_long })
    }
}

fn understood(body: &[u8]) -> Document {
    let bytes = || {
        let fields: Value = serde_json::from_slice(body).ok()?;
        if fields.get("format")?.as_str()? != FORMAT {
            return None;
        }
        STANDARD.decode(fields.get("copy")?.as_str()?).ok()
    };
    bytes().map_or_else(|| Document::Corrupt("it is no document of ours, or half of one".to_owned()), Document::Bytes)
}

/// Tells whether a refusal says that there is no such document. The server answers alike where it cannot read one, in other words.
fn says_missing(body: &[u8]) -> bool {
    let fields: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = fields.get("error").map(|error| error.as_str().map_or_else(|| error.to_string(), ToOwned::to_owned));
    text.is_some_and(|text| {
        let text = text.to_lowercase();
        text.contains("no such file") || text.contains("not found") || text.contains("cannot find")
    })
}

/// Returns the name of an instance there.
fn named(id: &InstanceId) -> Result<String, LayerError> {
    name_of(id).ok_or_else(|| LayerError::Unfit { layer: NAME, why: "the id of the instance makes no name".to_owned() })
}

/// Reads a sign. Half of one is a sign as well: it is another one than the whole.
fn sign_in(body: &[u8]) -> String {
    let fields: Value = serde_json::from_slice(body).unwrap_or_default();
    let sign = fields.get("sign").and_then(Value::as_str).map(ToOwned::to_owned);
    sign.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// Returns the name under which the engine of a database shows that it lives.
fn signs_of(database: &DatabaseId) -> String {
    format!("{LIVING}{}", database.as_str())
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Named here, so that nothing depends on one installed for the whole process.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn refused(answer: &Answer) -> LayerError {
    unavailable(format!("it has answered {}", answer.status.as_u16()))
}

fn unavailable(why: String) -> LayerError {
    LayerError::Unavailable { layer: NAME, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_to_be_missing_is_missing() {
        for missing in [
            r#"{"statusCode":400,"error":"open instances/evolution/a/b: no such file or directory"}"#,
            r#"{"statusCode":400,"error":"record not found"}"#,
            r#"{"statusCode":400,"error":["record not found"]}"#,
        ] {
            assert!(says_missing(missing.as_bytes()), "{missing}");
        }
        for other in [r#"{"statusCode":400,"error":"open a: permission denied"}"#, "{}", "", "<html>not found</html>"] {
            assert!(!says_missing(other.as_bytes()), "{other}");
        }
    }
}
