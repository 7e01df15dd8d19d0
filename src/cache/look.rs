//! A look at a Redis from outside, for whoever checks a setup: nothing in it is changed.

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, Value};
use tokio::time::timeout;

use super::marker;
use super::redis::{RedisOptions, client, pipeline};
use crate::ports::fingerprint::Fingerprint;

/// How long the whole look may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Letters of an answer that are told.
const LONGEST_DETAIL: usize = 160;

/// What was seen. `None` is what it does not tell: hosted services and access lists keep some of it to themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisLook {
    /// The Unix millisecond on its clock.
    pub clock_ms: Option<i64>,
    /// Whether it gives keys up when its memory is full, and by which policy.
    pub eviction: Option<Eviction>,
    /// Whether what is written there survives its restart.
    pub persistent: Option<bool>,
    /// The fingerprint of the installation that lives under the prefix.
    pub holder: Option<String>,
}

/// What becomes of keys when the memory is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eviction {
    /// They stay, or there is no limit.
    Never,
    /// Some are given up, by this policy.
    By(String),
}

/// Why nothing was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// It is not reached, or does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It answers, and refuses: the login, the database's number, or a command that copies need.
    #[error("{0}")]
    Refused(String),
}

impl RedisLook {
    /// Tells whether another installation lives under the prefix; `ours` is `None` before the first start.
    pub fn is_held_by_another(&self, ours: Option<&Fingerprint>) -> bool {
        self.holder.as_deref().is_some_and(|holder| ours.is_none_or(|ours| ours.as_str() != holder))
    }
}

impl Unseen {
    pub(super) fn of(error: &RedisError) -> Self {
        let why: String = error.to_string().chars().take(LONGEST_DETAIL).collect();
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
            Self::Unreachable(why)
        } else {
            Self::Refused(why)
        }
    }

    pub(super) fn silent() -> Self {
        Self::Unreachable("it has not answered in time".to_owned())
    }
}

/// Connects, and asks what it is like.
///
/// # Errors
/// If it is not reached, or refuses what copies need.
pub async fn look(options: &RedisOptions) -> Result<RedisLook, Unseen> {
    let client = client(options).map_err(|error| Unseen::Unreachable(error.to_string()))?;
    timeout(DEADLINE, ask(&client, &options.prefix)).await.unwrap_or_else(|_elapsed| Err(Unseen::silent()))
}

/// Makes a connection of one's own.
pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection, Unseen> {
    let waits =
        AsyncConnectionConfig::new().set_connection_timeout(Some(DEADLINE)).set_response_timeout(Some(DEADLINE));
    client.get_multiplexed_async_connection_with_config(&waits).await.map_err(|error| Unseen::of(&error))
}

async fn ask(client: &Client, prefix: &str) -> Result<RedisLook, Unseen> {
    let mut connection = connect(client).await?;
    let mut questions = pipeline();
    questions.cmd("GET").arg(marker::key(prefix));
    // Copies are written by a script.
    questions.cmd("EVAL").arg("return 1").arg(0);
    questions.cmd("TIME");
    questions.cmd("INFO").arg("memory");
    questions.cmd("INFO").arg("persistence");
    questions.cmd("CONFIG").arg("GET").arg("save");
    let answers: Vec<RedisResult<Value>> =
        questions.query_async(&mut connection).await.map_err(|error| Unseen::of(&error))?;
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
    let holder = needed(next())?;
    needed::<i64>(next())?;
    let clock_ms = told::<(i64, i64)>(next()).map(|(seconds, micros)| seconds * 1000 + micros / 1000);
    let (memory, persistence) = (told::<String>(next()), told::<String>(next()));
    let saves = told::<Vec<String>>(next()).and_then(|pair| pair.into_iter().nth(1));
    Ok(RedisLook {
        clock_ms,
        eviction: memory.as_deref().and_then(eviction),
        persistent: persistent(persistence.as_deref(), saves.as_deref()),
        holder,
    })
}

/// What copies cannot do without.
fn needed<T: FromRedisValue>(answer: RedisResult<Value>) -> Result<T, Unseen> {
    let value = answer.map_err(|error| Unseen::of(&error))?;
    T::from_redis_value(value).map_err(|error| Unseen::Refused(error.to_string()))
}

/// What may be kept from us.
fn told<T: FromRedisValue>(answer: RedisResult<Value>) -> Option<T> {
    answer.ok().and_then(|value| T::from_redis_value(value).ok())
}

/// Finds a figure in what `INFO` says.
fn figure<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn eviction(memory: &str) -> Option<Eviction> {
    let policy = figure(memory, "maxmemory_policy")?;
    let limited = figure(memory, "maxmemory").is_none_or(|limit| limit != "0");
    Some(if limited && policy != "noeviction" { Eviction::By(policy.to_owned()) } else { Eviction::Never })
}

/// Either of the two ways to disk is enough.
fn persistent(persistence: Option<&str>, saves: Option<&str>) -> Option<bool> {
    let log = persistence.and_then(|info| figure(info, "aof_enabled")).map(|enabled| enabled == "1");
    match (log, saves.map(|saves| !saves.trim().is_empty())) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_with_an_evicting_policy_gives_copies_up() {
        let by = |limit: &str, policy: &str| {
            eviction(&format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n"))
        };
        assert_eq!(by("0", "allkeys-lru"), Some(Eviction::Never));
        assert_eq!(by("1000", "noeviction"), Some(Eviction::Never));
        // Copies expire, so that this one is about them too.
        assert_eq!(by("1000", "volatile-lru"), Some(Eviction::By("volatile-lru".to_owned())));
        assert_eq!(eviction("maxmemory_human:1K"), None);
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        let log = |on: &str| format!("loading:0\r\naof_enabled:{on}\r\n");
        assert_eq!(persistent(Some(&log("0")), Some("")), Some(false));
        assert_eq!(persistent(Some(&log("1")), None), Some(true));
        assert_eq!(persistent(None, Some("3600 1")), Some(true));
        assert_eq!(persistent(Some(&log("0")), None), None);
        assert_eq!(persistent(None, Some("")), None);
    }
}
