//! Where copies of sessions are kept beside the database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::network::{Class, class};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;
use url::{Host, Url};

use super::reader::Reader;
use super::table;

/// Evolution's default, and what its example has.
const COMMON_PREFIXES: [&str; 2] = ["evolution-cache", "evolution"];
/// A copy in Redis should outlive an outage and a night's repair of the database, or there is none when it is needed.
const LEAST_TTL: Duration = Duration::from_secs(60 * 60);
/// Rounds of the files that a copy in Redis should live through.
const ROUNDS: u32 = 3;

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
    let snapshot_every = r.duration(table::PROVIDER_SNAPSHOT_SECONDS);
    Layers { redis: redis(r, snapshot_every), files: files(r), snapshot_every }
}

/// Reads what there is of Redis. It has nothing to do unless it saves instances.
fn redis(r: &mut Reader<'_>, snapshot_every: Duration) -> Option<Redis> {
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
    if let Some(why) = authorities.as_deref().and_then(unfit) {
        r.error(
            "CACHE_REDIS_CA_FILE",
            "cfg-redis-ca",
            why,
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
    keeping(r, &prefix, ttl, snapshot_every);
    Some(Redis { uri: uri.into(), authorities, prefix, ttl })
}

/// Checks how copies are kept, where some are.
fn keeping(r: &mut Reader<'_>, prefix: &str, ttl: Duration, rounds: Duration) {
    if COMMON_PREFIXES.contains(&prefix) {
        r.warn(
            "CACHE_REDIS_PREFIX_KEY",
            "cfg-redis-prefix",
            "it is the prefix that every installation has: two of them on this Redis would find each other's copies among their own",
            "give this installation a prefix of its own, such as evolution-production",
        );
    }
    let least = LEAST_TTL.max(rounds * ROUNDS);
    if ttl < least {
        r.warn(
            "CACHE_REDIS_TTL",
            "cfg-redis-ttl",
            "copies are gone before an outage of some length is over, and none is there when it is needed",
            format!("set CACHE_REDIS_TTL to {} or more; a week is usual", least.as_secs()),
        );
    }
}

/// Says why a file has no certificates.
pub(super) fn unfit(file: &Path) -> Option<&'static str> {
    if !file.is_file() {
        return Some("there is no such file");
    }
    // What else is in the file, a key perhaps, is never told.
    let Ok(found) = CertificateDer::pem_file_iter(file) else { return Some("the file cannot be read") };
    let certificates: Result<Vec<_>, _> = found.collect();
    match certificates.as_deref() {
        Ok([]) => Some("the file holds no certificate in PEM"),
        Ok(certificates) => {
            let mut roots = RootCertStore::empty();
            let all = certificates.iter().all(|certificate| roots.add(certificate.clone()).is_ok());
            (!all).then_some("what the file holds as a certificate is none")
        }
        Err(_) => Some("the file is no PEM that can be read"),
    }
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
    if enabled && url.as_ref().is_some_and(is_public) {
        r.warn(
            "PROVIDER_HOST",
            "cfg-provider-plain",
            "the address is one of the internet, and what is sent there is not encrypted on its way: the API key, and the names of instances",
            "keep the provider in a private network, or reach it through a tunnel that ends on this host",
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

/// Tells whether an address that is written out is one of the internet. What a name means shows only when it is asked for.
fn is_public(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => class(address.into()) == Class::Public,
        Some(Host::Ipv6(address)) => class(address.into()) == Class::Public,
        Some(Host::Domain(_)) | None => false,
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
