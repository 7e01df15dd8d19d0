//! The places for copies of sessions. The engine starts without them, so that nothing here is an error.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use holdfast_core::id::InstanceId;
use holdfast_core::network::{Class, class};
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use super::{skew, space};
use crate::app::data_dir::{SessionKeys, read_api_key};
use crate::cache::{Eviction, RedisLook, RedisOptions, Unseen, look};
use crate::config::{Files, Problem, Redis, Settings, Severity};
use crate::ports::clock::Clock;
use crate::ports::fingerprint::Fingerprint;
use crate::ports::layer::{Layer as _, Reading};
use crate::provider::{HttpProvider, HttpProviderOptions};

/// How long the session provider may take, with all that it is asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// No instance has this id: a provider says that it has no copy of it, or why it says nothing.
const NOBODY: &str = "holdfast-check";

/// Returns how Redis is reached.
///
/// # Errors
/// If the file of authorities cannot be read.
pub(in crate::app) fn options(redis: &Redis) -> std::io::Result<RedisOptions> {
    Ok(RedisOptions {
        uri: redis.uri.clone(),
        prefix: redis.prefix.clone(),
        ttl: redis.ttl,
        authorities: redis.authorities.as_ref().map(std::fs::read).transpose()?,
    })
}

/// Returns by what this installation is told from others.
pub(in crate::app) fn fingerprint(settings: &Settings, keys: &SessionKeys) -> Fingerprint {
    Fingerprint::of(&keys.current.0, &settings.database.client_name)
}

/// Looks at Redis, if copies go there.
pub(in crate::app) async fn redis(settings: &Settings, keys: Option<&SessionKeys>) -> Vec<Problem> {
    let Some(redis) = &settings.layers.redis else { return Vec::new() };
    let ours = keys.map(|keys| fingerprint(settings, keys));
    let seen = match options(redis) {
        Ok(options) => look(&options).await,
        Err(error) => Err(Unseen::Unreachable(format!("the file of authorities cannot be read: {error}"))),
    };
    judge(seen, ours.as_ref(), Clock::start().wall().timestamp_millis())
}

fn judge(seen: Result<RedisLook, Unseen>, ours: Option<&Fingerprint>, now_ms: i64) -> Vec<Problem> {
    let found =
        |severity, code, variable, sentence: String, fix: &str| Problem::new(severity, code, variable, sentence, fix);
    let seen = match seen {
        Ok(seen) => seen,
        Err(Unseen::Unreachable(why)) => {
            return vec![found(
                Severity::Warning,
                "live-redis-unreachable",
                "CACHE_REDIS_URI",
                format!("Redis is not reached: {why}"),
                "start it, and check address, port and TLS; nothing waits for it, and no copies are kept there meanwhile",
            )];
        }
        Err(Unseen::Refused(why)) => {
            return vec![found(
                Severity::Warning,
                "live-redis-refused",
                "CACHE_REDIS_URI",
                format!("Redis answers and refuses: {why}"),
                "check user, password and the number of the database; the user needs GET, HGET, HGETALL, HSTRLEN, HSET, HDEL, SET, EVAL, PEXPIRE, SCAN, EXISTS, RENAME and DEL on the keys of CACHE_REDIS_PREFIX_KEY",
            )];
        }
    };
    let mut problems = Vec::new();
    if seen.is_held_by_another(ours) {
        problems.push(found(
            Severity::Warning,
            "live-redis-prefix-taken",
            "CACHE_REDIS_PREFIX_KEY",
            "another installation, with another session key or client name, lives under this prefix, or did until a minute ago".to_owned(),
            "give each installation a prefix of its own; if it is this one, whose key was just rotated, wait two minutes",
        ));
    }
    if let Some(Eviction::By(policy)) = &seen.eviction {
        problems.push(found(
            Severity::Warning,
            "live-redis-evicts",
            "CACHE_REDIS_URI",
            format!("Redis gives copies up when its memory is full (maxmemory-policy {policy})"),
            "set maxmemory-policy to noeviction, or take a Redis that is not used as a cache by others",
        ));
    }
    if seen.persistent == Some(false) {
        problems.push(found(
            Severity::Recommendation,
            "live-redis-not-persistent",
            "CACHE_REDIS_URI",
            "Redis keeps nothing on disk (no RDB, no AOF): when it ends, all copies are gone".to_owned(),
            "set appendonly yes, or save 60 1; what is lost is written again while the engine runs",
        ));
    }
    let kept: Vec<&str> = [
        (seen.eviction.is_none(), "whether it gives copies up when its memory is full"),
        (seen.persistent.is_none(), "whether it keeps them on disk"),
        (seen.clock_ms.is_none(), "what time it is"),
    ]
    .into_iter()
    .filter_map(|(kept, what)| kept.then_some(what))
    .collect();
    if !kept.is_empty() {
        problems.push(found(
            Severity::Recommendation,
            "live-redis-untold",
            "CACHE_REDIS_URI",
            format!("Redis does not tell {}: INFO, CONFIG or TIME is refused", kept.join(", nor ")),
            "look at it by hand: maxmemory-policy should be noeviction, and RDB or AOF be on",
        ));
    }
    problems.extend(seen.clock_ms.and_then(|clock| skew("CACHE_REDIS_URI", "Redis", now_ms, clock)));
    problems
}

/// Looks at the place for files, if copies go there.
pub(in crate::app) async fn files(settings: &Settings) -> Vec<Problem> {
    match &settings.layers.files {
        None => Vec::new(),
        Some(Files::Directory(path)) => {
            let mut found = space::provider_dir(path);
            if settings.database.file().is_some_and(|database| are_beside(path, database)) {
                found.push(Problem::new(
                    Severity::Recommendation,
                    "live-provider-dir-beside",
                    "PROVIDER_DIR",
                    "it is on the disk of the database, and is lost with it",
                    "set PROVIDER_DIR to a directory on another disk",
                ));
            }
            found
        }
        Some(Files::Provider { url, group }) => {
            let mut found = plain(url).await;
            let asked = timeout(PATIENCE, ask(settings, url, group)).await;
            let asked = asked.unwrap_or_else(|_elapsed| {
                Err(("live-provider-unreachable", "it has not answered in time".to_owned()))
            });
            if let Err((code, why)) = asked {
                found.push(Problem::new(
                    Severity::Warning,
                    code,
                    "PROVIDER_HOST",
                    format!("copies cannot be kept at the session provider: {why}"),
                    "start it, and check PROVIDER_HOST, PROVIDER_PORT and whether it takes AUTHENTICATION_API_KEY; nothing waits for it",
                ));
            }
            found
        }
    }
}

/// Tells whether two paths, or where they would be, are on one device.
fn are_beside(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        let there = path.ancestors().find(|path| path.exists())?;
        std::fs::metadata(there).ok().map(|found| found.dev())
    };
    device(one).is_some_and(|found| device(other) == Some(found))
}

async fn ask(settings: &Settings, url: &Url, group: &str) -> Result<(), (&'static str, String)> {
    let unreachable = |why: String| ("live-provider-unreachable", why);
    let api_key = match &settings.api_key {
        Some(key) => key.clone(),
        // Before the first start there is no key yet, and nobody can have been told it.
        None => read_api_key(&settings.data_dir).map_err(|error| ("live-provider-refused", format!("{error:#}")))?,
    };
    let options = HttpProviderOptions { url: url.clone(), group: group.to_owned(), api_key };
    let provider = HttpProvider::new(options, Clock::start()).map_err(|error| unreachable(error.to_string()))?;
    provider.ping().await.map_err(|error| unreachable(error.to_string()))?;
    match provider.read(&[InstanceId::new(NOBODY)]).await.pop() {
        Some((_, Reading::Unreadable { why })) => Err(("live-provider-refused", why)),
        Some((_, Reading::Absent | Reading::Found(_) | Reading::Corrupt { .. })) | None => Ok(()),
    }
}

/// Warns of a name that means an address of the internet. One that is written out is judged with the settings.
async fn plain(url: &Url) -> Vec<Problem> {
    let Some(Host::Domain(name)) = url.host() else { return Vec::new() };
    let Ok(Ok(found)) = timeout(PATIENCE, lookup_host((name, 0))).await else { return Vec::new() };
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    if !found.iter().any(|address| class(*address) == Class::Public) {
        return Vec::new();
    }
    vec![Problem::new(
        Severity::Warning,
        "live-provider-plain",
        "PROVIDER_HOST",
        "the session provider is on the internet, and what is sent there is not encrypted on its way: the API key, and the names of instances",
        "keep the provider in a private network, or reach it through a tunnel that ends on this host",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(seen: &RedisLook, ours: Option<&Fingerprint>) -> Vec<&'static str> {
        judge(Ok(seen.clone()), ours, 1_000_000).iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_redis_is_judged_by_what_becomes_of_copies_and_nothing_about_it_is_an_error() {
        let ours = Fingerprint::of(&[1; 32], "production");
        let good = RedisLook {
            clock_ms: Some(1_004_000),
            eviction: Some(Eviction::Never),
            persistent: Some(true),
            holder: Some(ours.as_str().to_owned()),
        };
        assert_eq!(codes(&good, Some(&ours)), [""; 0]);
        assert_eq!(codes(&RedisLook { holder: None, ..good.clone() }, None), [""; 0]);
        let other = Fingerprint::of(&[2; 32], "production");
        assert_eq!(codes(&good, Some(&other)), ["live-redis-prefix-taken"]);
        assert_eq!(codes(&good, None), ["live-redis-prefix-taken"], "somebody is there before the first start");
        let evicts = RedisLook { eviction: Some(Eviction::By("allkeys-lru".to_owned())), ..good.clone() };
        assert_eq!(codes(&evicts, Some(&ours)), ["live-redis-evicts"]);
        let forgets = RedisLook { persistent: Some(false), clock_ms: Some(2_000_000), ..good.clone() };
        assert_eq!(codes(&forgets, Some(&ours)), ["live-redis-not-persistent", "live-clock-skew"]);
        assert_eq!(codes(&RedisLook::default(), Some(&ours)), ["live-redis-untold"]);
        for why in [Unseen::Unreachable("gone".to_owned()), Unseen::Refused("WRONGPASS".to_owned())] {
            let found = judge(Err(why), Some(&ours), 0);
            assert!(found.iter().all(|problem| problem.severity > Severity::Error), "{found:?}");
        }
    }
}
