//! The settings: read once from the environment, every value typed, all mistakes reported together.

mod check;
mod foreign;
mod layers;
mod problem;
mod proxy;
mod reader;
mod report;
mod session_key;
mod table;
#[cfg(test)]
mod tests;
mod uri;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::Policy;
use holdfast_core::delivery::RetryPolicy;
use holdfast_core::fleet;
use holdfast_core::logging::{Selection, Weight, Word};
use holdfast_core::network::Networks;
use holdfast_core::proxy::Proxy;
use holdfast_core::sending::allowance::Rate;
use holdfast_core::shutdown::Budgets;
use holdfast_core::supervision::RestartPolicy;
use holdfast_core::tenancy;
use secrecy::SecretString;
use url::Url;

pub use self::layers::{Files, Layers, Redis};
pub use self::problem::{Problem, Severity};
use self::reader::Reader;
pub use self::report::{Report, Value};
pub use self::session_key::SessionKey;
use self::table::Variable;
use crate::ports::signing_key::SigningKey;

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
    /// Where copies of sessions are kept beside the database.
    pub layers: Layers,
    pub whatsapp: WhatsApp,
    /// The rules that every instance lives by.
    pub policy: Policy,
    pub supervision: RestartPolicy,
    /// Who may dial when.
    pub fleet: fleet::Policy,
    /// How long this process owns its instances without a renewal, where others share its database.
    pub leases: tenancy::Policy,
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
    /// Where the other nodes reach this one.
    pub node_url: Option<Url>,
    pub log: Log,
    /// The values as they were given, and what was found about them.
    pub report: Arc<Report>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub json: bool,
    pub color: bool,
    /// Which lines are logged.
    pub selection: Selection,
    /// Says all of it in the place of that, in the syntax of tracing.
    pub directives: Option<String>,
}

impl Settings {
    /// Reads the settings through `lookup`, which returns the text of a variable.
    ///
    /// # Errors
    /// All problems at once, if one of them is an error. Otherwise the settings come with the warnings.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (settings, report) = Self::examine(&BTreeSet::new(), lookup);
        settings.map(|settings| (settings, report.findings.clone())).ok_or_else(|| report.findings.clone())
    }

    /// Reads the settings as [`read`](Self::read) does, and looks at the `names` of all variables for those that are not what they look like.
    /// The report comes in any case; the settings only if nothing in it is an error.
    pub fn examine(names: &BTreeSet<String>, lookup: impl Fn(&str) -> Option<String>) -> (Option<Self>, Arc<Report>) {
        let mut r = Reader::new(&lookup);
        let data_dir = PathBuf::from(r.text(table::DATA_DIR));
        let settings = Self {
            server: server(&mut r),
            api_key: r.secret(table::AUTHENTICATION_API_KEY),
            expose_token: r.flag(table::AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES),
            database: Database {
                place: uri::database(&mut r, &data_dir),
                client_name: r.text(table::DATABASE_CONNECTION_CLIENT_NAME),
                pool_size: r.number(table::DATABASE_POOL_SIZE),
                connect_timeout: r.duration(table::DATABASE_CONNECT_TIMEOUT_SECONDS),
                statement_timeout: r.duration(table::DATABASE_STATEMENT_TIMEOUT_SECONDS),
            },
            session_key: session_key(&mut r, table::SESSION_ENCRYPTION_KEY),
            old_session_key: session_key(&mut r, table::SESSION_ENCRYPTION_KEY_OLD),
            layers: layers::layers(&mut r),
            whatsapp: WhatsApp {
                url: uri::websocket(&mut r),
                version: uri::version(&mut r),
                device_name: r.text(table::CONFIG_SESSION_PHONE_CLIENT),
                browser: r.text(table::CONFIG_SESSION_PHONE_NAME),
                proxy: proxy::proxy(&mut r),
            },
            policy: policy(&mut r),
            supervision: RestartPolicy {
                intensity: r.number(table::RESTART_INTENSITY),
                window: r.duration(table::RESTART_WINDOW_SECONDS),
                backoff: redial(&mut Reader::quiet(&lookup)),
                stable_after: Duration::from_secs(300),
            },
            fleet: fleet_policy(&mut r, &lookup),
            leases: tenancy::Policy {
                ttl: r.duration(table::LEASE_TTL_SECONDS),
                renew_every: r.duration(table::LEASE_RENEW_SECONDS),
            },
            store_grace: r.duration(table::STORE_GRACE_SECONDS),
            accepted_retention: r.duration(table::ACCEPTED_RETENTION_DAYS),
            expire_unpaired: expire_unpaired(&mut r),
            shutdown: shutdown(&mut r),
            manager: manager(&mut r),
            webhook: webhook(&mut r),
            metrics: metrics(&mut r),
            node_id: r.optional(table::NODE_ID),
            node_url: uri::node(&mut r),
            log: log(&mut r),
            report: Arc::default(),
            data_dir,
        };
        check::check(&settings, &mut r);
        let mut problems = r.finish();
        problems.extend(foreign::strangers(names, &lookup));
        problems.sort_by_key(|problem| problem.severity);
        let usable = problems.iter().all(|problem| problem.severity != Severity::Error);
        let report = Arc::new(Report::of(&lookup, problems));
        let settings = usable.then(|| Self { report: Arc::clone(&report), ..settings });
        (settings, report)
    }
}

fn session_key(r: &mut Reader<'_>, variable: Variable) -> Option<SessionKey> {
    let text = r.optional(variable)?;
    let key = SessionKey::parse(&text);
    if key.is_none() {
        r.error(
            variable.name,
            "cfg-session-key",
            "the value is not a key",
            "write 32 bytes as 64 hexadecimal digits or as base64",
        );
    }
    key
}

fn server(r: &mut Reader<'_>) -> Server {
    Server {
        host: r.text(table::SERVER_HOST),
        port: r.number(table::SERVER_PORT),
        url: r.optional(table::SERVER_URL),
        cors: Cors {
            origins: r.list(table::CORS_ORIGIN),
            methods: r.list(table::CORS_METHODS),
            credentials: r.flag(table::CORS_CREDENTIALS),
        },
        qr_color: r.color(table::QRCODE_COLOR),
    }
}

fn redial(r: &mut Reader<'_>) -> Backoff {
    Backoff { base: r.duration(table::RECONNECT_BASE_MS), cap: r.duration(table::RECONNECT_MAX_SECONDS) }
}

fn fleet_policy(r: &mut Reader<'_>, lookup: &dyn Fn(&str) -> Option<String>) -> fleet::Policy {
    let usual = fleet::Policy::default();
    let redial = redial(&mut Reader::quiet(lookup));
    fleet::Policy {
        concurrency: r.number(table::DIAL_CONCURRENCY),
        per_second: r.number(table::DIAL_RATE_PER_SECOND),
        outage_share: r.fraction(table::OUTAGE_SHARE),
        outage_min: r.number(table::OUTAGE_MIN),
        outage_window: r.duration(table::OUTAGE_WINDOW_SECONDS),
        canary: Backoff { base: redial.base, cap: redial.cap.min(usual.canary.cap) },
        turn_lasts: Reader::quiet(lookup).duration(table::LOGIN_TIMEOUT_SECONDS),
    }
}

fn policy(r: &mut Reader<'_>) -> Policy {
    Policy {
        redial: redial(r),
        stable_after: r.duration(table::RECONNECT_STABLE_SECONDS),
        connect_timeout: r.duration(table::CONNECT_TIMEOUT_SECONDS),
        login_timeout: r.duration(table::LOGIN_TIMEOUT_SECONDS),
        health_interval: r.duration(table::HEALTH_CHECK_INTERVAL_SECONDS),
        ping_timeout: r.duration(table::HEALTH_PING_TIMEOUT_SECONDS),
        qr_limit: r.number(table::QRCODE_LIMIT),
        send_rate: Rate::per_minute(r.number(table::SEND_RATE_PER_MINUTE)),
        ..Policy::default()
    }
}

fn shutdown(r: &mut Reader<'_>) -> Shutdown {
    let forced_after = r.duration(table::SHUTDOWN_TIMEOUT_SECONDS);
    Shutdown { forced_after, budgets: Budgets::within(forced_after) }
}

/// Reads `DEL_INSTANCE` as Evolution API does: only a number of minutes deletes anything.
fn expire_unpaired(r: &mut Reader<'_>) -> Option<Duration> {
    let text = r.optional(table::DEL_INSTANCE)?;
    if text == "false" {
        return None;
    }
    if text.parse::<i64>().is_ok() {
        let minutes: u32 = r.number(table::DEL_INSTANCE);
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

fn manager(r: &mut Reader<'_>) -> Manager {
    let for_us = r.optional(table::WATCHDOG_PID).is_none_or(|pid| pid == std::process::id().to_string());
    let every = r.optional(table::WATCHDOG_USEC).and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
    Manager { socket: r.optional(table::NOTIFY_SOCKET), watchdog: every.filter(|_| for_us).map(Duration::from_micros) }
}

fn webhook(r: &mut Reader<'_>) -> Webhook {
    Webhook {
        timeout: r.duration(table::WEBHOOK_REQUEST_TIMEOUT_MS),
        retry: RetryPolicy {
            max_attempts: r.number(table::WEBHOOK_RETRY_MAX_ATTEMPTS),
            initial: r.duration(table::WEBHOOK_RETRY_INITIAL_DELAY_SECONDS),
            max: r.duration(table::WEBHOOK_RETRY_MAX_DELAY_SECONDS),
            exponential: r.flag(table::WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF),
            jitter_factor: r.fraction(table::WEBHOOK_RETRY_JITTER_FACTOR),
            non_retryable: r.statuses(table::WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES),
            max_age: r.duration(table::WEBHOOK_RETRY_MAX_AGE_HOURS),
        },
        networks: networks(r),
        signing_key: signing_key(r),
        dead_letters: r.duration(table::DEAD_LETTER_RETENTION_DAYS),
    }
}

fn networks(r: &mut Reader<'_>) -> Networks {
    let entries = r.list(table::WEBHOOK_ALLOWED_NETWORKS);
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
    let entries = r.list(table::METRICS_ALLOWED_IPS);
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
        enabled: r.flag(table::PROMETHEUS_METRICS),
        allowed: (!entries.is_empty()).then_some(allowed),
        auth_required: r.flag(table::METRICS_AUTH_REQUIRED),
        user: r.optional(table::METRICS_USER),
        password: r.secret(table::METRICS_PASSWORD),
    }
}

fn signing_key(r: &mut Reader<'_>) -> Option<SigningKey> {
    let key = SigningKey::parse(&r.optional(table::WEBHOOK_HMAC_KEY)?);
    if let Err(why) = key {
        r.error("WEBHOOK_HMAC_KEY", "cfg-hmac-key", why, "write whsec_ and base64 behind it, or any other text");
    }
    key.ok()
}

fn log(r: &mut Reader<'_>) -> Log {
    let words = r.choices(table::LOG_LEVEL);
    let mut selection = Selection::of(words.into_iter().filter_map(Word::parse));
    selection.protocol = match r.choice(table::LOG_BAILEYS) {
        "fatal" | "error" => Some(Weight::Error),
        "warn" => Some(Weight::Warn),
        "info" => Some(Weight::Info),
        "debug" => Some(Weight::Debug),
        "trace" => Some(Weight::Trace),
        _ => None,
    };
    Log {
        json: r.choice(table::LOG_FORMAT) == "json",
        color: r.flag(table::LOG_COLOR),
        selection,
        directives: r.optional(table::RUST_LOG),
    }
}
