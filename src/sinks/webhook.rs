//! The webhook: one POST per event, as Evolution sends it, with an id by which receivers recognise a repetition.

mod envelope;
mod failure;
mod headers;
mod jwt;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::delivery::Outcome;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::ports::clock::Clock;
use crate::ports::outbox::{Delivery, Target};
use crate::ports::sink::Sink;

/// How much of an answer is read, so that its connection can be used again; nothing in it is looked at.
const LONGEST_ANSWER: usize = 4 * 1024;
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
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("timeout", &self.timeout)
            .field("server_url", &self.server_url)
            .field("expose_token", &self.expose_token)
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
    settings: WebhookSettings,
    clock: Clock,
}

impl WebhookSink {
    /// Makes the sink. It follows no redirect and uses no proxy of the environment.
    pub fn new(settings: WebhookSettings, clock: Clock) -> Result<Self, WebhookError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client().map_err(WebhookError::Tls)?)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(WebhookError::Client)?;
        Ok(Self { client, settings, clock })
    }

    async fn post(&self, url: Url, delivery: &Delivery) -> Outcome {
        let headers = match headers::of(delivery, self.clock.wall().timestamp()) {
            Ok(headers) => headers,
            Err(why) => return Outcome::Unreachable(why),
        };
        let body = envelope::of(delivery, &self.settings).to_string();
        let request =
            self.client.post(url).header(CONTENT_TYPE, HeaderValue::from_static("application/json")).headers(headers);
        match request.body(body).send().await {
            Ok(response) => {
                let status = response.status();
                read_some(response).await;
                if status.is_success() { Outcome::Delivered } else { Outcome::Status(status.as_u16()) }
            }
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
            Err(why) => Outcome::Unreachable(why),
        }
    }
}

/// Returns where to post: the URL as it was set, with the event's suffix behind its path if the webhook wants one URL per event.
fn address(target: &Target, suffix: &str) -> Result<Url, String> {
    let mut url = Url::parse(target.url.trim()).map_err(|cause| format!("the webhook's URL is none: {cause}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the webhook's URL has the scheme {}, only http and https are called", url.scheme()));
    }
    if target.by_events
        && let Ok(mut path) = url.path_segments_mut()
    {
        path.pop_if_empty().push(suffix);
    }
    Ok(url)
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

    #[test]
    fn only_http_is_called() {
        for url in
            ["", "vazio", "ftp://x/y", "file:///etc/passwd", "javascript:alert(1)", "mailto:a@b", "http://", "//x/y"]
        {
            assert!(address(&target(url, true), "call").is_err(), "{url}");
        }
    }
}
