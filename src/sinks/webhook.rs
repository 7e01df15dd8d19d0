//! The webhook: one POST per event, as Evolution sends it, with an id by which receivers recognise a repetition.

mod envelope;
mod failure;
mod guard;
mod headers;
mod jwt;
mod signature;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::delivery::Outcome;
use holdfast_core::network::Networks;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::time::timeout;

use self::guard::Guard;
use crate::ports::address;
use crate::ports::clock::Clock;
use crate::ports::outbox::{Delivery, Target};
use crate::ports::signing_key::SigningKey;
use crate::ports::sink::Sink;

/// How much of an answer is read, so that its connection can be used again; nothing in it is looked at.
const LONGEST_ANSWER: usize = 4 * 1024;
/// And for how long: whoever has answered has no reason to keep a lane.
const LONGEST_READ: Duration = Duration::from_secs(1);
/// How many idle connections are kept for one receiver.
const IDLE_PER_HOST: usize = 8;

/// Draws the QR code of a text as a data URL.
pub type DrawQr = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the webhook sink needs to be told.
#[derive(Clone)]
pub struct WebhookSettings {
    /// How long one try may take (`WEBHOOK_REQUEST_TIMEOUT_MS`).
    pub timeout: Duration,
    /// The address of this service (`SERVER_URL`), which each envelope carries.
    pub server_url: Option<String>,
    /// Whether envelopes carry the instance's token (`AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES`).
    pub expose_token: bool,
    /// Draws the picture that `qrcode.updated` carries; it is not kept in the outbox.
    pub draw_qr: DrawQr,
    /// Where webhooks may go besides public addresses (`WEBHOOK_ALLOWED_NETWORKS`).
    pub networks: Networks,
    /// Signs the deliveries of webhooks without a key of their own (`WEBHOOK_HMAC_KEY`).
    pub signing_key: Option<SigningKey>,
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("timeout", &self.timeout)
            .field("server_url", &self.server_url)
            .field("expose_token", &self.expose_token)
            .field("networks", &self.networks)
            .finish_non_exhaustive()
    }
}

/// Why there is no webhook sink.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// TLS cannot be set up.
    #[error("TLS for webhooks cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("the HTTP client for webhooks cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Delivers events to the webhooks of the instances.
pub struct WebhookSink {
    client: Client,
    guard: Arc<Guard>,
    settings: WebhookSettings,
    clock: Clock,
}

impl WebhookSink {
    /// Makes the sink. It follows no redirect, uses no proxy of the environment, and calls no address that is not allowed.
    pub fn new(settings: WebhookSettings, clock: Clock) -> Result<Self, WebhookError> {
        let guard = Arc::new(Guard::new(settings.networks.clone()));
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client().map_err(WebhookError::Tls)?)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::clone(&guard))
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(WebhookError::Client)?;
        Ok(Self { client, guard, settings, clock })
    }

    async fn post(&self, url: Url, delivery: &Delivery) -> Outcome {
        if let Err(refused) = self.guard.check(&url) {
            return Outcome::Unreachable(format!("the receiver is not called: {refused}"));
        }
        let body = envelope::of(delivery, &self.settings).to_string();
        let now = self.clock.wall().timestamp();
        let headers = match headers::of(delivery, self.settings.signing_key.as_ref(), &body, now) {
            Ok(headers) => headers,
            Err(why) => return Outcome::Unsendable(why),
        };
        let request =
            self.client.post(url).header(CONTENT_TYPE, HeaderValue::from_static("application/json")).headers(headers);
        match request.body(body).send().await {
            Ok(response) => {
                let status = response.status();
                let retry_after = retry_after(response.headers());
                let _unread = timeout(LONGEST_READ, read_some(response)).await;
                if status.is_success() {
                    Outcome::Delivered
                } else {
                    Outcome::Status { code: status.as_u16(), retry_after }
                }
            }
            Err(error) if error.is_builder() => Outcome::Unsendable(failure::sentence(&error, self.settings.timeout)),
            Err(error) => Outcome::Unreachable(failure::sentence(&error, self.settings.timeout)),
        }
    }
}

#[async_trait]
impl Sink for WebhookSink {
    fn name(&self) -> &'static str {
        "webhook"
    }

    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        match address(&delivery.target, &delivery.event.name.suffix()) {
            Ok(url) => self.post(url, delivery).await,
            Err(why) => Outcome::Unsendable(why),
        }
    }
}

/// Returns where to post: the URL as it was set, with the event's suffix behind its path if the webhook wants one URL per event.
fn address(target: &Target, suffix: &str) -> Result<Url, String> {
    let mut url = address::parse(&target.url)?;
    if target.by_events
        && let Ok(mut path) = url.path_segments_mut()
    {
        path.pop_if_empty().push(suffix);
    }
    Ok(url)
}

/// Returns for how many seconds the receiver asks to be left alone; a date instead of a number is not looked at.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Reads the beginning of the answer. The status has decided already; what fails here changes nothing.
async fn read_some(mut response: Response) {
    let mut read = 0;
    while read < LONGEST_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, address};

    fn target(url: &str, by_events: bool) -> Target {
        Target { url: url.to_owned(), headers: None, by_events }
    }

    #[test]
    fn the_suffix_goes_behind_the_path() {
        let table = [
            ("http://x/y", "http://x/y/messages-upsert"),
            ("http://x/y/", "http://x/y/messages-upsert"),
            ("http://x", "http://x/messages-upsert"),
            ("https://x/y?k=v", "https://x/y/messages-upsert?k=v"),
        ];
        for (url, expected) in table {
            assert_eq!(address(&target(url, true), "messages-upsert").unwrap().as_str(), expected);
        }
        assert_eq!(address(&target("http://x/y", false), "messages-upsert").unwrap().as_str(), "http://x/y");
    }
}
