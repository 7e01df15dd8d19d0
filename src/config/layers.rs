//! Where copies of sessions are kept beside the database.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::reader::Reader;
use super::table;

/// The places beside the database.
#[derive(Debug, Clone)]
pub struct Layers {
    pub redis: Option<Redis>,
    pub files: Option<Files>,
    /// How often files are written of what has changed.
    pub snapshot_every: Duration,
}

/// A Redis that keeps copies of sessions.
#[derive(Debug, Clone)]
pub struct Redis {
    pub uri: SecretString,
    /// Certificate authorities in PEM, instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// How long a copy is kept whose instance gives no sign of life.
    pub ttl: Duration,
}

/// Files with copies of sessions.
#[derive(Debug, Clone)]
pub enum Files {
    /// In this directory.
    Directory(PathBuf),
    /// At an HTTP session provider, in this group.
    Provider { url: Url, group: String },
}

pub(super) fn layers(r: &mut Reader<'_>) -> Layers {
    Layers { redis: redis(r), files: files(r), snapshot_every: r.duration(table::PROVIDER_SNAPSHOT_SECONDS) }
}

/// Reads what there is of Redis. It has nothing to do unless it saves instances.
fn redis(r: &mut Reader<'_>) -> Option<Redis> {
    let (enabled, saves) = (r.flag(table::CACHE_REDIS_ENABLED), r.flag(table::CACHE_REDIS_SAVE_INSTANCES));
    let uri = r.optional(table::CACHE_REDIS_URI);
    let authorities = r.optional(table::CACHE_REDIS_CA_FILE).map(PathBuf::from);
    let (prefix, ttl) = (r.text(table::CACHE_REDIS_PREFIX_KEY), r.duration(table::CACHE_REDIS_TTL));
    if saves && !enabled {
        r.warn(
            "CACHE_REDIS_SAVE_INSTANCES",
            "cfg-redis-off",
            "sessions are to be copied to Redis, and Redis is off",
            "set CACHE_REDIS_ENABLED and CACHE_REDIS_URI, or CACHE_REDIS_SAVE_INSTANCES to false",
        );
    }
    if enabled && !saves {
        r.recommend(
            "CACHE_REDIS_SAVE_INSTANCES",
            "cfg-redis-idle",
            "Redis is on, and nothing is kept there",
            "set CACHE_REDIS_SAVE_INSTANCES to true for a copy of each session, or CACHE_REDIS_ENABLED to false",
        );
    }
    if uri.as_deref().is_some_and(|uri| !is_address(uri)) {
        r.error("CACHE_REDIS_URI", "cfg-redis-uri", "the value is not the address of a Redis", ADDRESS);
        return None;
    }
    let plain = uri.as_deref().is_some_and(|uri| uri.starts_with("redis://"));
    if authorities.as_deref().is_some_and(|file| !file.is_file()) {
        r.error(
            "CACHE_REDIS_CA_FILE",
            "cfg-redis-ca",
            "there is no such file",
            "write the path of a file with certificates in PEM, or unset it for the public authorities",
        );
        return None;
    }
    if authorities.is_some() && plain {
        r.warn(
            "CACHE_REDIS_CA_FILE",
            "cfg-redis-ca-unused",
            "there are authorities, and the connection is not encrypted",
            "write rediss:// in CACHE_REDIS_URI, or unset CACHE_REDIS_CA_FILE",
        );
    }
    if enabled && uri.is_none() {
        r.error("CACHE_REDIS_URI", "cfg-redis-uri", "Redis is on, and has no address", ADDRESS);
    }
    let uri = uri.filter(|_| enabled && saves)?;
    Some(Redis { uri: uri.into(), authorities, prefix, ttl })
}

const ADDRESS: &str = "write redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// for TLS; special characters in a password are written as %XX";

fn is_address(text: &str) -> bool {
    let is_number = |path: &str| path.is_empty() || path.parse::<u8>().is_ok();
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "redis" | "rediss") && url.has_host() && is_number(url.path().trim_matches('/'))
    })
}

fn files(r: &mut Reader<'_>) -> Option<Files> {
    let directory = r.optional(table::PROVIDER_DIR).map(PathBuf::from);
    let (enabled, host) = (r.flag(table::PROVIDER_ENABLED), r.optional(table::PROVIDER_HOST));
    let (port, group) = (r.number::<u16>(table::PROVIDER_PORT), r.text(table::PROVIDER_PREFIX));
    let url = host.as_deref().and_then(|host| address(host, port));
    if host.is_some() && url.is_none() {
        r.error(
            "PROVIDER_HOST",
            "cfg-provider-host",
            "the value is neither an address nor the name of a host",
            "write the host alone; its port is PROVIDER_PORT",
        );
        return None;
    }
    if enabled && host.is_none() {
        r.error(
            "PROVIDER_HOST",
            "cfg-provider-host",
            "the session provider is on, and has no address",
            "set PROVIDER_HOST, or PROVIDER_ENABLED to false",
        );
    }
    if directory.as_deref().is_some_and(|path| path.exists() && !path.is_dir()) {
        r.error(
            "PROVIDER_DIR",
            "cfg-provider-dir",
            "it is a file, and no directory",
            "write the path of a directory, which is made if it is missing",
        );
    }
    match (directory, url.filter(|_| enabled)) {
        (Some(_), Some(_)) => {
            r.error(
                "PROVIDER_DIR",
                "cfg-provider-two",
                "copies can go to a directory or to a session provider, not to both",
                "unset PROVIDER_DIR, or set PROVIDER_ENABLED to false",
            );
            None
        }
        (Some(directory), None) => Some(Files::Directory(directory)),
        (None, Some(url)) => Some(Files::Provider { url, group }),
        (None, None) => None,
    }
}

fn address(host: &str, port: u16) -> Option<Url> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse() {
        Ok(address) => Host::Ipv6(address),
        Err(_no_such_address) => Host::parse(host).ok()?,
    };
    Url::parse(&format!("http://{host}:{port}/")).ok()
}
