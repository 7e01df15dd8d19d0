//! Whose the keys of a prefix are: a key that the living installation renews, with its fingerprint.

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, Client};
use tokio::time::timeout;

use super::look::{DEADLINE, Unseen, connect};
use super::redis::{CacheError, RedisOptions, client};
use crate::ports::fingerprint::Fingerprint;

/// How long it says that an installation lives that has ended.
const KEPT: Duration = Duration::from_secs(90);

/// Renews what is ours, and tells what is not.
const CLAIM: &str = "\
    local held = redis.call('GET', KEYS[1]) \
    if held and held ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
    return 1";

/// The marker of an installation.
pub struct Marker {
    client: Client,
    connection: Option<MultiplexedConnection>,
    key: String,
    fingerprint: Fingerprint,
}

/// Whose the prefix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Us,
    AnotherInstallation,
}

impl Marker {
    /// How often it is to be renewed.
    pub const EVERY: Duration = Duration::from_secs(30);

    /// Prepares it; nothing is connected before the first claim.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn new(options: &RedisOptions, fingerprint: Fingerprint) -> Result<Self, CacheError> {
        Ok(Self { client: client(options)?, connection: None, key: key(&options.prefix), fingerprint })
    }

    /// Says that the installation lives, unless another one does.
    ///
    /// # Errors
    /// If Redis does not answer, or refuses.
    pub async fn claim(&mut self) -> Result<Holder, Unseen> {
        let claimed = timeout(DEADLINE, self.ask()).await.unwrap_or_else(|_elapsed| Err(Unseen::silent()));
        if claimed.is_err() {
            self.connection = None;
        }
        claimed
    }

    async fn ask(&mut self) -> Result<Holder, Unseen> {
        let mut connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => self.connection.insert(connect(&self.client).await?).clone(),
        };
        let mut question = redis::cmd("EVAL");
        question.arg(CLAIM).arg(1).arg(&self.key).arg(self.fingerprint.as_str()).arg(KEPT.as_millis() as u64);
        match question.query_async::<i64>(&mut connection).await {
            Ok(1) => Ok(Holder::Us),
            Ok(_) => Ok(Holder::AnotherInstallation),
            Err(error) => Err(Unseen::of(&error)),
        }
    }
}

/// Returns the key of the marker.
pub(super) fn key(prefix: &str) -> String {
    format!("{prefix}:holdfast:installation")
}
