//! What single values cannot show: whether they are well formed, whether they fit each other, and whether they fit what runs the service.

use std::time::Duration;

use secrecy::ExposeSecret;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::reader::Reader;
use super::{Settings, table};

/// The keys that stand in Evolution's code and in its example: everybody knows them.
const PUBLISHED_KEYS: [&str; 2] = ["BQYHJGJHJ", "429683C4C977415CAAFCCE10F7D57E11"];
/// A shorter key can be tried out.
const SHORT_KEY: usize = 16;
/// What the process needs beyond `SHUTDOWN_TIMEOUT_SECONDS`: the HTTP server's end, and its own.
const LAST_WORDS: Duration = Duration::from_secs(3);
const BROWSERS: [&str; 5] = ["chrome", "firefox", "edge", "opera", "safari"];

/// Checks everything that takes more than one value, or a second look.
pub(super) fn check(settings: &Settings, r: &mut Reader<'_>) {
    api_key(settings, r);
    addresses(settings, r);
    cors(settings, r);
    timing(settings, r);
    grace(settings, r);
    metrics(settings, r);
    database(settings, r);
    fleet(settings, r);
    manager(settings, r);
    log(r);
    let browser = &settings.whatsapp.browser;
    if !BROWSERS.contains(&browser.to_ascii_lowercase().as_str()) {
        r.warn(
            "CONFIG_SESSION_PHONE_NAME",
            "cfg-browser",
            "there is no such browser; Chrome is shown on the phone",
            "write Chrome, Firefox, Edge, Opera or Safari",
        );
    }
}

fn api_key(settings: &Settings, r: &mut Reader<'_>) {
    let Some(key) = &settings.api_key else { return };
    let key = key.expose_secret();
    if PUBLISHED_KEYS.contains(&key) {
        r.error(
            "AUTHENTICATION_API_KEY",
            "cfg-api-key-published",
            "the key is one of those that Evolution API is published with: everybody knows it",
            "choose another, such as the output of `openssl rand -hex 24`, or unset it to have one made",
        );
    } else if key.len() < SHORT_KEY {
        r.recommend(
            "AUTHENTICATION_API_KEY",
            "cfg-api-key-short",
            "the key is short enough to be tried out",
            format!("use at least {SHORT_KEY} characters, such as the output of `openssl rand -hex 24`"),
        );
    }
}

fn addresses(settings: &Settings, r: &mut Reader<'_>) {
    let server = &settings.server;
    if Host::parse(&server.host).is_err() && server.host.parse::<std::net::IpAddr>().is_err() {
        r.error(
            "SERVER_HOST",
            "cfg-server-host",
            "the value is neither an address nor the name of a host",
            "write 0.0.0.0 to listen everywhere, or 127.0.0.1 for this machine alone",
        );
    }
    let reachable =
        |url: &String| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if server.url.as_ref().is_some_and(|url| !reachable(url)) {
        r.warn(
            "SERVER_URL",
            "cfg-server-url",
            "the value is no address under which anybody reaches this service; it stands in events as it is",
            "write https://HOST, as clients see this service",
        );
    }
    let plain = settings.whatsapp.url.as_ref().is_some_and(|url| url.scheme() == "ws" && !is_loopback(url));
    if plain {
        r.warn(
            "WHATSAPP_WEBSOCKET_URL",
            "cfg-websocket-plain",
            "the address is not encrypted: it is not dialled unless it is one of this machine",
            "write wss://, or unset it to dial WhatsApp itself",
        );
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn cors(settings: &Settings, r: &mut Reader<'_>) {
    let cors = &settings.server.cors;
    let is_origin = |text: &String| {
        text == "*"
            || text == "null"
            || Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == *text)
    };
    if !cors.origins.iter().all(is_origin) {
        r.warn(
            "CORS_ORIGIN",
            "cfg-cors-origin",
            "an entry is no origin, and fits no page",
            "write origins as browsers send them, https://HOST without a path or a slash at the end, or *",
        );
    }
    let is_method = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !cors.methods.iter().all(is_method) {
        r.warn(
            "CORS_METHODS",
            "cfg-cors-methods",
            "an entry is no method, and is ignored",
            "write POST,GET,PUT,DELETE",
        );
    }
    if cors.credentials && cors.origins.iter().any(|origin| origin == "*") {
        r.recommend(
            "CORS_CREDENTIALS",
            "cfg-cors-open",
            "every page on the web may send its visitors' cookies here",
            "list the pages in CORS_ORIGIN, or set CORS_CREDENTIALS to false: keys are sent in a header",
        );
    }
}

fn timing(settings: &Settings, r: &mut Reader<'_>) {
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
    if policy.connect_timeout >= policy.login_timeout {
        r.warn(
            "CONNECT_TIMEOUT_SECONDS",
            "cfg-connect-timeout",
            "connecting alone may take as long as the whole login",
            "set CONNECT_TIMEOUT_SECONDS below LOGIN_TIMEOUT_SECONDS",
        );
    }
    let retry = &settings.webhook.retry;
    if retry.initial > retry.max {
        r.warn(
            "WEBHOOK_RETRY_INITIAL_DELAY_SECONDS",
            "cfg-webhook-backoff",
            "the first wait is longer than the longest",
            "set WEBHOOK_RETRY_INITIAL_DELAY_SECONDS below WEBHOOK_RETRY_MAX_DELAY_SECONDS",
        );
    }
}

/// What runs the service kills it when its patience is over; by then the sessions must be saved.
fn grace(settings: &Settings, r: &mut Reader<'_>) {
    let stated = r.optional_duration(table::STOP_GRACE_SECONDS);
    // A manager of systemd's kind is told to wait longer.
    let guessed = match (r.other("KUBERNETES_SERVICE_HOST"), r.other("DOCKER_ENV")) {
        _ if settings.manager.socket.is_some() => None,
        (Some(_), _) => {
            Some((30, "Kubernetes waits 30 seconds unless told otherwise", "terminationGracePeriodSeconds"))
        }
        (None, Some(docker)) if docker == "true" => {
            Some((10, "Docker waits 10 seconds unless told otherwise", "stop_grace_period, or docker stop -t,"))
        }
        (None, _) => None,
    };
    let need = settings.shutdown.forced_after + LAST_WORDS;
    match (stated, guessed) {
        (Some(stated), _) if stated < need => r.warn(
            "STOP_GRACE_SECONDS",
            "cfg-stop-grace",
            "the process is killed before its shutdown has to end",
            format!("let the platform wait at least {} seconds, or set SHUTDOWN_TIMEOUT_SECONDS lower", need.as_secs()),
        ),
        (None, Some((guessed, sentence, setting))) if Duration::from_secs(guessed) < need => r.recommend(
            "SHUTDOWN_TIMEOUT_SECONDS",
            "cfg-stop-grace",
            &format!("{sentence}, and the shutdown may take {}", settings.shutdown.forced_after.as_secs()),
            format!("set {setting} to {} or more, and STOP_GRACE_SECONDS to the same", need.as_secs()),
        ),
        _ => {}
    }
}

fn metrics(settings: &Settings, r: &mut Reader<'_>) {
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
}

fn database(settings: &Settings, r: &mut Reader<'_>) {
    if settings.old_session_key.is_some() && settings.session_key.is_none() {
        r.error(
            "SESSION_ENCRYPTION_KEY_OLD",
            "cfg-old-session-key",
            "there is an old key without a new one",
            "set SESSION_ENCRYPTION_KEY to the new key, or remove the variable",
        );
    }
    if !r.flag(table::DATABASE_SAVE_DATA_INSTANCE) {
        r.warn(
            "DATABASE_SAVE_DATA_INSTANCE",
            "cfg-sessions-always-saved",
            "sessions are always saved; the value false is not honoured",
            "remove the variable",
        );
    }
    if settings.database.file().is_none()
        && settings.database.client_name == table::DATABASE_CONNECTION_CLIENT_NAME.default
    {
        r.warn(
            "DATABASE_CONNECTION_CLIENT_NAME",
            "cfg-client-name",
            "it is the name that every installation has: two of them on this server would take each other's instances for their own",
            "give this installation a name of its own, such as evolution_production; rows keep the name that they were made with",
        );
    }
}

fn fleet(settings: &Settings, r: &mut Reader<'_>) {
    if settings.leases.renew_every * 3 > settings.leases.ttl {
        r.error(
            "LEASE_RENEW_SECONDS",
            "cfg-leases",
            "a lease that is renewed so rarely ends when one renewal is late",
            "set LEASE_RENEW_SECONDS to a third of LEASE_TTL_SECONDS at most",
        );
    }
    if settings.node_url.is_none() && settings.database.file().is_none() {
        r.warn(
            "NODE_URL",
            "cfg-node-url-unset",
            "no other process on this database can hand requests on to this one",
            "set NODE_URL to the address at which the others reach it, unless it is alone there",
        );
    }
}

fn manager(settings: &Settings, r: &mut Reader<'_>) {
    if settings.manager.socket.as_ref().is_some_and(|socket| !socket.starts_with(['/', '@'])) {
        r.warn(
            "NOTIFY_SOCKET",
            "cfg-notify-socket",
            "the value is no socket: the service manager is told nothing",
            "leave the variable to systemd",
        );
    }
    for variable in [table::WATCHDOG_USEC, table::WATCHDOG_PID] {
        if r.optional(variable).is_some_and(|text| text.parse::<u64>().is_err()) {
            r.warn(
                variable.name,
                "cfg-watchdog",
                "the value is no number, and is ignored",
                "leave the variable to systemd",
            );
        }
    }
}

fn log(r: &mut Reader<'_>) {
    if r.optional(table::RUST_LOG).is_some_and(|text| EnvFilter::try_new(text).is_err()) {
        r.warn(
            "RUST_LOG",
            "cfg-rust-log",
            "the value cannot be understood, and is ignored",
            "write directives such as warn,holdfast=debug, or use LOG_LEVEL",
        );
    }
}
