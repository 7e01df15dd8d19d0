//! What the HTTP interface needs to be told.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::network::Networks;
use secrecy::SecretString;

use super::qr::Color;
use crate::config::Report;
use crate::ports::node_key::NodeKey;

/// The settings of the HTTP interface.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The global key (`AUTHENTICATION_API_KEY`).
    pub api_key: SecretString,
    /// The name of this installation (`DATABASE_CONNECTION_CLIENT_NAME`).
    pub client_name: String,
    /// The version that `GET /` reports; clients look for a `2.` in front.
    pub version: String,
    /// The WhatsApp version that `GET /` reports, if it is known.
    pub whatsapp_web_version: Option<String>,
    /// Which web pages may call.
    pub cors: CorsSettings,
    /// The colour of QR codes (`QRCODE_COLOR`).
    pub qr_color: Color,
    /// Where webhooks may go besides public addresses (`WEBHOOK_ALLOWED_NETWORKS`).
    pub webhook_networks: Networks,
    /// Who may read `/metrics`, if there is such a path (`PROMETHEUS_METRICS`).
    pub metrics: Option<MetricsSettings>,
    /// How long a ping may take (`HEALTH_PING_TIMEOUT_SECONDS`).
    pub ping_timeout: Duration,
    /// Which node this is.
    pub node: NodeSettings,
    /// The settings of the service as they were read, for whoever asks.
    pub report: Arc<Report>,
    /// Sizes and times.
    pub limits: Limits,
}

/// Which of the processes that share a database this one is.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Its name (`NODE_ID`).
    pub name: String,
    /// Where the other nodes reach it (`NODE_URL`).
    pub url: Option<String>,
    /// By which the nodes know each other.
    pub key: NodeKey,
}

/// Who may read `/metrics`.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// The addresses it is read from (`METRICS_ALLOWED_IPS`); every one unless set.
    pub allowed: Option<Networks>,
    /// Whether a login is asked for (`METRICS_AUTH_REQUIRED`).
    pub auth_required: bool,
    /// User and password (`METRICS_USER`, `METRICS_PASSWORD`); without them nobody passes where a login is asked for.
    pub login: Option<(String, SecretString)>,
    /// The address of this service, as it is set (`SERVER_URL`).
    pub server_url: String,
}

/// Which web pages may call, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsSettings {
    /// Origins (`CORS_ORIGIN`); one `*` allows every one.
    pub origins: Vec<String>,
    /// Methods (`CORS_METHODS`); those that are none are ignored.
    pub methods: Vec<String>,
    /// Whether pages may send cookies (`CORS_CREDENTIALS`).
    pub credentials: bool,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self {
            origins: vec!["*".to_owned()],
            methods: ["POST", "GET", "PUT", "DELETE"].map(str::to_owned).to_vec(),
            credentials: false,
        }
    }
}

/// Sizes and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_within: Duration,
    /// How long a request waits for a QR or pairing code.
    pub qr_wait: Duration,
    /// How long a message waits for its instance to be open.
    pub send_wait: Duration,
    /// How long a message may take from there until WhatsApp's answer, besides its own delay.
    pub ack_within: Duration,
    /// How long the supervisor may take to take a command.
    pub command_within: Duration,
    /// How long an unlinking may take.
    pub unlink_within: Duration,
    /// How long another node may take to tell what it knows of its instances.
    pub board_within: Duration,
    /// How long a kept connection may be idle. Longer than the pools of common clients keep theirs: a request that meets a closing
    /// connection is sent again by some, messages included.
    pub keep_alive: Duration,
    /// How long a stop waits for requests under way.
    pub stop_timeout: Duration,
    /// Threads; one per core if unset.
    pub workers: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            body_within: Duration::from_secs(30),
            qr_wait: Duration::from_secs(10),
            send_wait: Duration::from_secs(10),
            ack_within: Duration::from_secs(60),
            command_within: Duration::from_secs(5),
            unlink_within: Duration::from_secs(25),
            board_within: Duration::from_secs(2),
            keep_alive: Duration::from_secs(75),
            stop_timeout: Duration::from_secs(10),
            workers: None,
        }
    }
}

impl Limits {
    /// Returns a time that no request takes, besides the delay that it asks for itself: what each of its steps may take, and some.
    pub(super) fn slowest(&self) -> Duration {
        self.send_wait * 2 + self.ack_within + self.qr_wait + self.unlink_within + self.command_within * 4
    }
}
