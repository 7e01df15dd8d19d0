//! The settings: read once from the environment, every value typed, all mistakes reported together.

mod problem;
mod proxy;
mod reader;
mod session_key;
#[cfg(test)]
mod tests;
mod uri;

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::Policy;
use holdfast_core::delivery::RetryPolicy;
use holdfast_core::fleet;
use holdfast_core::network::Networks;
use holdfast_core::proxy::Proxy;
use holdfast_core::sending::allowance::Rate;
use holdfast_core::shutdown::Budgets;
use holdfast_core::supervision::RestartPolicy;
use secrecy::SecretString;
use url::Url;

pub use self::problem::{Problem, Severity};
use self::reader::Reader;
pub use self::session_key::SessionKey;
use crate::ports::signing_key::SigningKey;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// WhatsApp keeps messages for a linked device for about 30 days. What it delivers again must be recognised, or it is handed over twice.
const LEAST_ACCEPTED_DAYS: u32 = 31;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the embedded database, the keys and the lock are.
    pub data_dir: PathBuf,
    pub server: Server,
    /// The global API key; generated and kept in the data directory when unset.
    pub api_key: Option<SecretString>,
    /// Whether events carry the instance's token.
    pub expose_token: bool,
    pub database: Database,
    /// 32 bytes in hex or base64; a key file in the data directory when unset.
    pub session_key: Option<SessionKey>,
    /// The key before that one, while a rotation is under way.
    pub old_session_key: Option<SessionKey>,
    pub whatsapp: WhatsApp,
    /// The rules that every instance lives by.
    pub policy: Policy,
    pub supervision: RestartPolicy,
    /// Who may dial when.
    pub fleet: fleet::Policy,
    /// How long a store operation may err or hang before the link is sealed.
    pub store_grace: Duration,
    /// How long the id of an accepted message is kept.
    pub accepted_retention: Duration,
    /// How long after its creation an instance is deleted that was never paired; never unless set.
    pub expire_unpaired: Option<Duration>,
    pub shutdown: Shutdown,
    /// The service manager that wants to hear how the process is.
    pub manager: Manager,
    pub webhook: Webhook,
    pub metrics: Metrics,
    /// Names this process among those that share a database; kept in the data directory when unset.
    pub node_id: Option<String>,
    pub log: Log,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// The address under which clients reach it, for events.
    pub url: Option<String>,
    pub cors: Cors,
    /// The dark colour of QR codes, `#rrggbb`.
    pub qr_color: String,
}

/// Cross-origin rules.
#[derive(Debug, Clone)]
pub struct Cors {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub credentials: bool,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Where it is.
    pub place: Place,
    /// Whose rows in a shared database are ours.
    pub client_name: String,
    /// Connections to a server, at the same time.
    pub pool_size: usize,
    /// How long connecting to a server may take.
    pub connect_timeout: Duration,
    /// How long a server may take for a statement.
    pub statement_timeout: Duration,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Place {
    /// The embedded database, in this file.
    File(PathBuf),
    /// PostgreSQL, at this address, which holds a password.
    Server(SecretString),
}

impl Database {
    /// Returns the file of the embedded database, if that is the one.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }
}

/// How WhatsApp is reached and what it is told about us.
#[derive(Debug, Clone)]
pub struct WhatsApp {
    /// The WebSocket; WhatsApp's own when unset.
    pub url: Option<Url>,
    /// The web version to claim; looked up when unset.
    pub version: Option<(u32, u32, u32)>,
    /// The device name that the phone shows.
    pub device_name: String,
    /// The browser that the phone shows.
    pub browser: String,
    /// The proxy of instances that have none of their own.
    pub proxy: Option<Proxy>,
}

/// The end.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// After this time the process ends whatever is still under way.
    pub forced_after: Duration,
    pub budgets: Budgets,
}

/// What a service manager of systemd's kind hands to its services.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    /// The path of its socket; one that begins with `@` is in the abstract namespace.
    pub socket: Option<String>,
    /// How often it wants to hear that the process is well, or ends it.
    pub watchdog: Option<Duration>,
}

/// Deliveries to webhooks.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub timeout: Duration,
    pub retry: RetryPolicy,
    /// Where webhooks may go besides public addresses.
    pub networks: Networks,
    /// Signs the deliveries of webhooks without a key of their own.
    pub signing_key: Option<SigningKey>,
    /// How long deliveries are kept that were given up.
    pub dead_letters: Duration,
}

/// The figures for Prometheus.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Whether they can be read.
    pub enabled: bool,
    /// From where; from everywhere unless set.
    pub allowed: Option<Networks>,
    pub auth_required: bool,
    pub user: Option<String>,
    pub password: Option<SecretString>,
}

/// Logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub json: bool,
    pub color: bool,
}

impl Settings {
    /// Reads the settings through `lookup`, which returns the text of a variable.
    ///
    /// # Errors
    /// All problems at once, if one of them is an error. Otherwise the settings come with the warnings.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut r = Reader::new(&lookup);
        let data_dir = PathBuf::from(r.text("DATA_DIR", "./data"));
        let settings = Self {
            server: server(&mut r),
            api_key: r.secret("AUTHENTICATION_API_KEY"),
            expose_token: r.flag("AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES", false),
            database: Database {
                place: uri::database(&mut r, &data_dir),
                client_name: r.text("DATABASE_CONNECTION_CLIENT_NAME", "evolution"),
                pool_size: r.number("DATABASE_POOL_SIZE", 10_usize, 2..=500),
                connect_timeout: r.seconds("DATABASE_CONNECT_TIMEOUT_SECONDS", 5, 1..=60),
                statement_timeout: r.seconds("DATABASE_STATEMENT_TIMEOUT_SECONDS", 10, 1..=300),
            },
            session_key: session_key(&mut r, "SESSION_ENCRYPTION_KEY"),
            old_session_key: session_key(&mut r, "SESSION_ENCRYPTION_KEY_OLD"),
            whatsapp: WhatsApp {
                url: uri::websocket(&mut r),
                version: uri::version(&mut r),
                device_name: r.text("CONFIG_SESSION_PHONE_CLIENT", "Evolution API"),
                browser: r.text("CONFIG_SESSION_PHONE_NAME", "Chrome"),
                proxy: proxy::proxy(&mut r),
            },
            policy: policy(&mut r),
            supervision: RestartPolicy {
                intensity: r.number("RESTART_INTENSITY", 5_usize, 1..=1000),
                window: r.seconds("RESTART_WINDOW_SECONDS", 60, 1..=86_400),
                backoff: redial(&mut Reader::quiet(&lookup)),
                stable_after: Duration::from_secs(300),
            },
            fleet: fleet_policy(&mut r, &lookup),
            store_grace: r.seconds("STORE_GRACE_SECONDS", 5, 1..=60),
            accepted_retention: DAY * r.number("ACCEPTED_RETENTION_DAYS", 90_u32, LEAST_ACCEPTED_DAYS..=3_650),
            expire_unpaired: expire_unpaired(&mut r),
            shutdown: shutdown(&mut r),
            manager: manager(&r),
            webhook: webhook(&mut r),
            metrics: metrics(&mut r),
            node_id: r.optional("NODE_ID"),
            log: Log { json: r.choice("LOG_FORMAT", &["text", "json"]) == "json", color: r.flag("LOG_COLOR", false) },
            data_dir,
        };
        check(&settings, &mut r);
        let problems = r.finish();
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        Ok((settings, problems))
    }
}

fn session_key(r: &mut Reader<'_>, name: &'static str) -> Option<SessionKey> {
    let text = r.optional(name)?;
    let key = SessionKey::parse(&text);
    if key.is_none() {
        r.error(
            name,
            "cfg-session-key",
            "the value is not a key",
            "write 32 bytes as 64 hexadecimal digits or as base64",
        );
    }
    key
}

fn server(r: &mut Reader<'_>) -> Server {
    Server {
        host: r.text("SERVER_HOST", "0.0.0.0"),
        port: r.number("SERVER_PORT", 8080_u16, 0..=u16::MAX),
        url: r.optional("SERVER_URL"),
        cors: Cors {
            origins: r.list("CORS_ORIGIN", "*"),
            methods: r.list("CORS_METHODS", "POST,GET,PUT,DELETE"),
            credentials: r.flag("CORS_CREDENTIALS", false),
        },
        qr_color: r.color("QRCODE_COLOR", "#198754"),
    }
}

fn redial(r: &mut Reader<'_>) -> Backoff {
    Backoff {
        base: r.millis("RECONNECT_BASE_MS", 1000, 10..=60_000),
        cap: r.seconds("RECONNECT_MAX_SECONDS", 300, 1..=3_600),
    }
}

fn fleet_policy(r: &mut Reader<'_>, lookup: &dyn Fn(&str) -> Option<String>) -> fleet::Policy {
    let usual = fleet::Policy::default();
    let redial = redial(&mut Reader::quiet(lookup));
    fleet::Policy {
        concurrency: r.number("DIAL_CONCURRENCY", usual.concurrency, 1..=1000),
        per_second: r.number("DIAL_RATE_PER_SECOND", usual.per_second, 1..=1000),
        outage_share: r.fraction("OUTAGE_SHARE", usual.outage_share),
        outage_min: r.number("OUTAGE_MIN", usual.outage_min, 1..=100_000),
        outage_window: r.seconds("OUTAGE_WINDOW_SECONDS", 10, 1..=300),
        canary: Backoff { base: redial.base, cap: redial.cap.min(usual.canary.cap) },
        turn_lasts: Reader::quiet(lookup).seconds("LOGIN_TIMEOUT_SECONDS", 60, 1..=600),
    }
}

fn policy(r: &mut Reader<'_>) -> Policy {
    Policy {
        redial: redial(r),
        stable_after: r.seconds("RECONNECT_STABLE_SECONDS", 30, 1..=3_600),
        connect_timeout: r.seconds("CONNECT_TIMEOUT_SECONDS", 20, 1..=300),
        login_timeout: r.seconds("LOGIN_TIMEOUT_SECONDS", 60, 1..=600),
        health_interval: r.seconds("HEALTH_CHECK_INTERVAL_SECONDS", 30, 1..=3_600),
        ping_timeout: r.seconds("HEALTH_PING_TIMEOUT_SECONDS", 10, 1..=300),
        qr_limit: r.number("QRCODE_LIMIT", 30_u32, 1..=1000),
        send_rate: Rate::per_minute(r.number("SEND_RATE_PER_MINUTE", 0_u32, 0..=100_000)),
        ..Policy::default()
    }
}

fn shutdown(r: &mut Reader<'_>) -> Shutdown {
    let forced_after = r.seconds("SHUTDOWN_TIMEOUT_SECONDS", 30, 3..=600);
    Shutdown { forced_after, budgets: Budgets::within(forced_after) }
}

/// Reads `DEL_INSTANCE` as Evolution API does: only a number of minutes deletes anything.
fn expire_unpaired(r: &mut Reader<'_>) -> Option<Duration> {
    let text = r.optional("DEL_INSTANCE")?;
    if text == "false" {
        return None;
    }
    if text.parse::<i64>().is_ok() {
        let minutes = r.number("DEL_INSTANCE", 0_u32, 0..=525_600);
        return (minutes > 0).then(|| Duration::from_secs(60) * minutes);
    }
    r.warn(
        "DEL_INSTANCE",
        "cfg-del-instance",
        "the value is no number of minutes, so that nothing is deleted by itself",
        "write the minutes after which an instance is deleted that nobody paired, or false",
    );
    None
}

fn manager(r: &Reader<'_>) -> Manager {
    let for_us = r.optional("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let every = r.optional("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
    Manager { socket: r.optional("NOTIFY_SOCKET"), watchdog: every.filter(|_| for_us).map(Duration::from_micros) }
}

fn webhook(r: &mut Reader<'_>) -> Webhook {
    let usual = RetryPolicy::default();
    Webhook {
        timeout: r.millis("WEBHOOK_REQUEST_TIMEOUT_MS", 30_000, 100..=600_000),
        retry: RetryPolicy {
            max_attempts: r.number("WEBHOOK_RETRY_MAX_ATTEMPTS", usual.max_attempts, 1..=1000),
            initial: r.seconds("WEBHOOK_RETRY_INITIAL_DELAY_SECONDS", 5, 1..=3_600),
            max: r.seconds("WEBHOOK_RETRY_MAX_DELAY_SECONDS", 300, 1..=86_400),
            exponential: r.flag("WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF", true),
            jitter_factor: r.fraction("WEBHOOK_RETRY_JITTER_FACTOR", usual.jitter_factor),
            non_retryable: r.numbers("WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES", usual.non_retryable),
            max_age: r.seconds_of("WEBHOOK_RETRY_MAX_AGE_HOURS", 3600, 72, 1..=720),
        },
        networks: networks(r),
        signing_key: signing_key(r),
        dead_letters: r.seconds_of("DEAD_LETTER_RETENTION_DAYS", 86_400, 30, 1..=3650),
    }
}

fn networks(r: &mut Reader<'_>) -> Networks {
    let entries = r.list("WEBHOOK_ALLOWED_NETWORKS", "");
    Networks::parse(entries.iter().map(String::as_str)).unwrap_or_else(|_entry| {
        r.error(
            "WEBHOOK_ALLOWED_NETWORKS",
            "cfg-networks",
            "an entry is no network",
            "write addresses and networks like 10.1.0.0/16 with commas between them, or private, or *",
        );
        Networks::default()
    })
}

fn metrics(r: &mut Reader<'_>) -> Metrics {
    let entries = r.list("METRICS_ALLOWED_IPS", "");
    let entries: Vec<&str> = entries.iter().map(String::as_str).filter(|entry| !entry.is_empty()).collect();
    let allowed = Networks::parse(entries.iter().copied()).unwrap_or_else(|_entry| {
        r.error(
            "METRICS_ALLOWED_IPS",
            "cfg-metrics-ips",
            "an entry is no address",
            "write addresses and networks like 10.1.0.0/16 with commas between them",
        );
        Networks::default()
    });
    Metrics {
        enabled: r.flag("PROMETHEUS_METRICS", false),
        allowed: (!entries.is_empty()).then_some(allowed),
        auth_required: r.flag("METRICS_AUTH_REQUIRED", false),
        user: r.optional("METRICS_USER"),
        password: r.secret("METRICS_PASSWORD"),
    }
}

fn signing_key(r: &mut Reader<'_>) -> Option<SigningKey> {
    let key = SigningKey::parse(&r.optional("WEBHOOK_HMAC_KEY")?);
    if let Err(why) = key {
        r.error("WEBHOOK_HMAC_KEY", "cfg-hmac-key", why, "write whsec_ and base64 behind it, or any other text");
    }
    key.ok()
}

/// Rules between values.
fn check(settings: &Settings, r: &mut Reader<'_>) {
    let policy = &settings.policy;
    if policy.ping_timeout >= policy.health_interval {
        r.warn(
            "HEALTH_PING_TIMEOUT_SECONDS",
            "cfg-ping-timeout",
            "the ping deadline is not shorter than the check interval",
            "set HEALTH_PING_TIMEOUT_SECONDS below HEALTH_CHECK_INTERVAL_SECONDS",
        );
    }
    if policy.redial.base > policy.redial.cap {
        r.error(
            "RECONNECT_BASE_MS",
            "cfg-backoff",
            "the first wait is longer than the longest",
            "set RECONNECT_BASE_MS below RECONNECT_MAX_SECONDS",
        );
    }
    let metrics = &settings.metrics;
    if metrics.enabled && metrics.auth_required && (metrics.user.is_none() || metrics.password.is_none()) {
        r.warn(
            "METRICS_AUTH_REQUIRED",
            "cfg-metrics-login",
            "a login is asked for, but there is none: nobody can read /metrics",
            "set METRICS_USER and METRICS_PASSWORD",
        );
    }
    if metrics.enabled && !metrics.auth_required && metrics.allowed.is_none() {
        r.warn(
            "PROMETHEUS_METRICS",
            "cfg-metrics-open",
            "everybody who reaches this service can read /metrics, with the names of all instances",
            "set METRICS_AUTH_REQUIRED with METRICS_USER and METRICS_PASSWORD, or METRICS_ALLOWED_IPS",
        );
    }
    if settings.old_session_key.is_some() && settings.session_key.is_none() {
        r.error(
            "SESSION_ENCRYPTION_KEY_OLD",
            "cfg-old-session-key",
            "there is an old key without a new one",
            "set SESSION_ENCRYPTION_KEY to the new key, or remove the variable",
        );
    }
    if r.optional("DATABASE_SAVE_DATA_INSTANCE").as_deref() == Some("false") {
        r.warn(
            "DATABASE_SAVE_DATA_INSTANCE",
            "cfg-sessions-always-saved",
            "sessions are always saved; the value false is not honoured",
            "remove the variable",
        );
    }
}
