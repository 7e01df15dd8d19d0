//! Where copies of sessions are kept beside the database.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::Reader;

/// The layers beside the database.
#[derive(Debug, Clone)]
pub struct Copies {
    /// The cache, if there is one.
    pub redis: Option<Redis>,
    /// The files, if there are any.
    pub files: Option<Files>,
    /// How long a session may differ from its file.
    pub snapshot_every: Duration,
}

/// Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Its address, which may hold a password.
    pub uri: SecretString,
    /// Its certificate authorities, in PEM; the public ones when unset.
    pub ca_file: Option<PathBuf>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// How long a copy is kept whose instance gives no sign of life.
    pub ttl: Duration,
    /// Whether sessions are copied there.
    pub save_instances: bool,
}

/// Where files are.
#[derive(Debug, Clone)]
pub enum Files {
    /// In this directory.
    Directory(PathBuf),
    /// In an HTTP session provider, which asks for the global API key.
    Provider { url: Url, group: String },
}

pub(super) fn copies(r: &mut Reader<'_>) -> Copies {
    Copies { redis: redis(r), files: files(r), snapshot_every: r.seconds("PROVIDER_SNAPSHOT_SECONDS", 60, 1..=86_400) }
}

fn redis(r: &mut Reader<'_>) -> Option<Redis> {
    const HOW: &str =
        "write redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// for TLS; special characters are written as %XX";
    let enabled = r.flag("CACHE_REDIS_ENABLED", false);
    let save_instances = r.flag("CACHE_REDIS_SAVE_INSTANCES", false);
    let ttl = r.seconds("CACHE_REDIS_TTL", 604_800, 60..=31_536_000);
    let (prefix, uri) = (r.text("CACHE_REDIS_PREFIX_KEY", "evolution-cache"), r.optional("CACHE_REDIS_URI"));
    let ca_file = r.optional("CACHE_REDIS_CA_FILE").map(PathBuf::from);
    match &uri {
        Some(uri) if !is_redis(uri) => {
            r.error("CACHE_REDIS_URI", "cfg-redis-uri", "the value is not an address of Redis", HOW);
        }
        None if enabled => r.error("CACHE_REDIS_URI", "cfg-redis-uri", "Redis is enabled and has no address", HOW),
        Some(_) | None => {}
    }
    if save_instances && !enabled {
        r.warn(
            "CACHE_REDIS_SAVE_INSTANCES",
            "cfg-redis-off",
            "sessions are to be copied to Redis, which is not enabled",
            "set CACHE_REDIS_ENABLED=true, or remove the variable",
        );
    }
    let uri = SecretString::from(uri.filter(|_| enabled)?);
    Some(Redis { uri, ca_file, prefix, ttl, save_instances })
}

fn is_redis(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let number = url.path().trim_start_matches('/');
        let is_number = number.is_empty() || number.parse::<u16>().is_ok();
        matches!(url.scheme(), "redis" | "rediss") && url.has_host() && is_number
    })
}

fn files(r: &mut Reader<'_>) -> Option<Files> {
    let enabled = r.flag("PROVIDER_ENABLED", false);
    let port = r.number("PROVIDER_PORT", 5656_u16, 1..=u16::MAX);
    let (host, group) = (r.optional("PROVIDER_HOST"), r.text("PROVIDER_PREFIX", "evolution"));
    let directory = r.optional("PROVIDER_DIR").map(PathBuf::from);
    if !enabled {
        return directory.map(Files::Directory);
    }
    if directory.is_some() {
        r.error(
            "PROVIDER_DIR",
            "cfg-provider-twice",
            "there is a directory and an HTTP session provider",
            "set PROVIDER_DIR, or PROVIDER_ENABLED=true with PROVIDER_HOST",
        );
    }
    let url = host.and_then(|host| Url::parse(&format!("http://{host}:{port}")).ok()).filter(|url| {
        // A host and nothing else: no path, no account.
        url.path() == "/" && url.username().is_empty() && url.query().is_none() && url.fragment().is_none()
    });
    if url.is_none() {
        r.error(
            "PROVIDER_HOST",
            "cfg-provider-host",
            "the session provider is enabled, and there is no host to find it at",
            "write a name or an address, without http:// and without a port",
        );
    }
    Some(Files::Provider { url: url?, group })
}
