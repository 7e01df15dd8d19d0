//! The layer in Redis: one hash for each session, with the copy and the state that it is of.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{
    self, Client, ClientTlsConfig, FromRedisValue, Pipeline, RedisResult, TlsCertificates, Value,
};
use deadpool_redis::{Manager, Pool, Runtime, Timeouts};
use holdfast_core::id::{DatabaseId, InstanceId};
use holdfast_core::restoration::Source;
use holdfast_core::restoration::neighbours::Signs;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::gate::Gate;
use crate::ports::clock::Clock;
use crate::ports::layer::{CopyHeader, Kept, LONGEST_COPY, Layer, LayerError, Reading, SessionCopy};

const NAME: &str = "Redis";
/// How long one call may take, with its connection.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long it may take to list all copies.
const LISTING: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 4;
/// Sessions whose sizes are asked for at once.
const CHUNK: usize = 200;
/// Bytes that are read at once.
const MOST_BYTES: usize = 8 << 20;
/// Letters of a refusal that are told.
const LONGEST_DETAIL: usize = 100;
/// How long signs of life are kept that nobody renews.
const SIGNS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Signs that are looked at. Each is of another database.
const MOST_SIGNS: usize = 1000;
/// How long a damaged copy is kept for a person to look at.
const KEPT_ASIDE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Writes a copy, unless there is one of a later state. States are texts of one length, so that their order is that of the states.
const WRITE: &str = "\
    local held = redis.call('HGET', KEYS[1], 'mark') \
    if held and held > ARGV[1] then return 0 end \
    redis.call('HSET', KEYS[1], 'mark', ARGV[1], 'copy', ARGV[2]) \
    redis.call('PEXPIRE', KEYS[1], ARGV[3]) \
    return 1";

/// Where Redis is, and how copies are kept there.
#[derive(Clone)]
pub struct RedisOptions {
    /// The address (`CACHE_REDIS_URI`): `redis://` or `rediss://`, with user, password and number of the database.
    pub uri: SecretString,
    /// What the names of all keys begin with (`CACHE_REDIS_PREFIX_KEY`).
    pub prefix: String,
    /// How long a copy is kept whose instance gives no sign of life (`CACHE_REDIS_TTL`).
    pub ttl: Duration,
    /// The certificate authorities, in PEM, instead of the public ones.
    pub authorities: Option<Vec<u8>>,
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("prefix", &self.prefix).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The address cannot be understood. What it is is not told: it holds a password.
    #[error("the address of Redis cannot be used")]
    Address,
    /// The pool of connections cannot be made.
    #[error("connections to Redis cannot be prepared")]
    Pool,
}

/// Copies of sessions in Redis. Its calls belong on the shared runtime, where its connections live.
pub struct RedisCache {
    pool: Pool,
    prefix: String,
    ttl: Duration,
    gate: Gate,
    clock: Clock,
}

impl RedisCache {
    /// Prepares connections; none is made before the first call.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn new(options: RedisOptions, clock: Clock) -> Result<Self, CacheError> {
        let client = client(&options)?;
        let RedisOptions { prefix, ttl, .. } = options;
        let manager =
            Manager::new(client.get_connection_info().clone()).map_err(|_holds_a_password| CacheError::Address)?;
        let waits = Timeouts { wait: Some(DEADLINE), create: Some(DEADLINE), recycle: Some(DEADLINE) };
        let pool = Pool::builder(manager).max_size(CONNECTIONS).timeouts(waits).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|_no_runtime| CacheError::Pool)?;
        Ok(Self { pool, prefix, ttl, gate: Gate::new(clock), clock })
    }

    fn key(&self, id: &InstanceId) -> String {
        format!("{}:holdfast:copy:{id}", self.prefix)
    }

    fn key_of_signs(&self) -> String {
        format!("{}:holdfast:signs", self.prefix)
    }

    fn key_aside(&self, id: &InstanceId) -> String {
        format!("{}:holdfast:corrupt:{id}:{}", self.prefix, self.clock.wall().timestamp_millis())
    }

    /// Asks for several things at once. What Redis refuses of them is among the answers; the error is that nothing was answered.
    async fn ask(&self, questions: &Pipeline) -> Result<Vec<RedisResult<Value>>, LayerError> {
        let Some(pass) = self.gate.pass() else { return Err(LayerError::LeftAlone { layer: NAME }) };
        let asking = async {
            let mut connection = self.pool.get().await.map_err(|error| error.to_string())?;
            questions.query_async::<Vec<RedisResult<Value>>>(&mut connection).await.map_err(|error| error.to_string())
        };
        let why = match timeout(DEADLINE, asking).await {
            Ok(Ok(answers)) if answers.len() == questions.len() => {
                pass.alive();
                return Ok(answers);
            }
            Ok(Ok(_)) => "it has answered something else".to_owned(),
            Ok(Err(why)) => why,
            Err(_elapsed) => "it has not answered in time".to_owned(),
        };
        pass.failed(&why);
        Err(unavailable(why))
    }

    /// Asks for one thing.
    async fn ask_one<T: FromRedisValue>(&self, question: &redis::Cmd) -> Result<T, LayerError> {
        let mut questions = pipeline();
        questions.add_command(question.clone());
        let answer = self.ask(&questions).await?.pop().unwrap_or(Ok(Value::Nil));
        understood(answer).map_err(|why| {
            self.gate.complain(&why);
            unavailable(why)
        })
    }

    /// Reads the copies of a few instances.
    async fn read_chunk(&self, ids: &[InstanceId]) -> Result<Vec<Reading>, LayerError> {
        let mut sizes = pipeline();
        for id in ids {
            sizes.cmd("HSTRLEN").arg(self.key(id)).arg("copy");
        }
        let sizes: Vec<Result<usize, String>> = self.ask(&sizes).await?.into_iter().map(understood).collect();
        let mut readings = Vec::with_capacity(ids.len());
        let mut rest = ids.iter().zip(sizes).peekable();
        while rest.peek().is_some() {
            // A batch of what is there and can be a copy; everything else is decided by its size.
            let (mut wanted, mut batch, mut bytes) = (pipeline(), Vec::new(), 0);
            while let Some((id, size)) = rest.next_if(|(_, size)| bytes == 0 || bytes + as_bytes(size) <= MOST_BYTES) {
                let decided = match size {
                    Ok(0) => Some(Reading::Absent),
                    Ok(size) if size > LONGEST_COPY => Some(Reading::Corrupt { why: "it is too long".to_owned() }),
                    Ok(size) => {
                        bytes += size;
                        wanted.cmd("HGET").arg(self.key(id)).arg("copy");
                        None
                    }
                    Err(why) if why.contains("WRONGTYPE") => {
                        Some(Reading::Corrupt { why: "something else has its name".to_owned() })
                    }
                    Err(why) => Some(Reading::Unreadable { why }),
                };
                batch.push((id, decided));
            }
            let answers = if wanted.is_empty() { Vec::new() } else { self.ask(&wanted).await? };
            let mut answers = answers.into_iter();
            readings.extend(batch.into_iter().map(|(id, decided)| match decided {
                Some(reading) => reading,
                None => self.reading(id, answers.next().unwrap_or(Ok(Value::Nil))),
            }));
        }
        Ok(readings)
    }

    fn reading(&self, id: &InstanceId, answer: RedisResult<Value>) -> Reading {
        match understood::<Option<Vec<u8>>>(answer) {
            Ok(Some(bytes)) => Reading::of(id, &bytes, self.clock.wall()),
            Ok(None) => Reading::Absent,
            Err(why) => Reading::Unreadable { why },
        }
    }

    async fn scan(&self) -> Result<Vec<InstanceId>, LayerError> {
        let begin = self.key(&InstanceId::new(""));
        let pattern = format!("{}*", literally(&begin));
        let (mut found, mut cursor) = (std::collections::BTreeSet::new(), 0_u64);
        loop {
            let mut question = redis::cmd("SCAN");
            question.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<String>) = self.ask_one(&question).await?;
            found.extend(keys.iter().filter_map(|key| key.strip_prefix(&begin)).map(InstanceId::new));
            if next == 0 {
                return Ok(found.into_iter().collect());
            }
            cursor = next;
        }
    }
}

#[async_trait]
impl Layer for RedisCache {
    fn source(&self) -> Source {
        Source::Redis
    }

    async fn list(&self) -> Result<Vec<InstanceId>, LayerError> {
        timeout(LISTING, self.scan())
            .await
            .unwrap_or_else(|_elapsed| Err(unavailable("the list takes too long".to_owned())))
    }

    async fn read(&self, ids: &[InstanceId]) -> Vec<(InstanceId, Reading)> {
        let mut readings = Vec::with_capacity(ids.len());
        let mut silent: Option<String> = None;
        for chunk in ids.chunks(CHUNK) {
            // Where one chunk was not answered, the others are not waited for.
            let answered = match &silent {
                Some(why) => Err(why.clone()),
                None => self.read_chunk(chunk).await.map_err(|error| error.to_string()),
            };
            match answered {
                Ok(found) => readings.extend(chunk.iter().cloned().zip(found)),
                Err(why) => {
                    let unreadable = |id: &InstanceId| (id.clone(), Reading::Unreadable { why: why.clone() });
                    readings.extend(chunk.iter().map(unreadable));
                    silent = Some(why);
                }
            }
        }
        readings
    }

    async fn write(&self, copy: &SessionCopy) -> Result<Kept, LayerError> {
        let bytes = copy.encode().map_err(|error| LayerError::Unfit { layer: NAME, why: error.to_string() })?;
        let (mark, CopyHeader { epoch, revision, .. }) = (copy.mark(), &copy.header);
        let mark = format!("{:016x}-{:016x}-{:016x}", mark.era(), epoch.0, revision.0);
        let mut question = redis::cmd("EVAL");
        question.arg(WRITE).arg(1).arg(self.key(&copy.header.id)).arg(mark).arg(bytes).arg(millis(self.ttl));
        let written = self.ask_one::<i64>(&question).await? == 1;
        Ok(if written { Kept::Written } else { Kept::Outdated })
    }

    async fn refresh(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, LayerError> {
        let mut missing = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            let mut questions = pipeline();
            for id in chunk {
                questions.cmd("PEXPIRE").arg(self.key(id)).arg(millis(self.ttl));
            }
            let answers = self.ask(&questions).await?;
            for (id, answer) in chunk.iter().zip(answers) {
                if understood::<i64>(answer).map_err(unavailable)? == 0 {
                    missing.push(id.clone());
                }
            }
        }
        Ok(missing)
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), LayerError> {
        let mut question = redis::cmd("DEL");
        question.arg(self.key(id));
        self.ask_one::<i64>(&question).await.map(drop)
    }

    async fn set_aside(&self, id: &InstanceId) -> Result<Option<String>, LayerError> {
        let (key, aside) = (self.key(id), self.key_aside(id));
        let mut there = redis::cmd("EXISTS");
        there.arg(&key);
        if self.ask_one::<i64>(&there).await? == 0 {
            return Ok(None);
        }
        let mut rename = redis::cmd("RENAME");
        rename.arg(key).arg(&aside);
        self.ask_one::<Value>(&rename).await?;
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&aside).arg(millis(KEPT_ASIDE));
        self.ask_one::<i64>(&expire).await?;
        Ok(Some(aside))
    }

    async fn show_life(&self, database: &DatabaseId, sign: &str) -> Result<(), LayerError> {
        let mut questions = pipeline();
        questions.cmd("HSET").arg(self.key_of_signs()).arg(database.as_str()).arg(sign);
        questions.cmd("PEXPIRE").arg(self.key_of_signs()).arg(millis(SIGNS_KEPT));
        for answer in self.ask(&questions).await? {
            understood::<i64>(answer).map_err(unavailable)?;
        }
        Ok(())
    }

    async fn signs_of_life(&self) -> Result<Signs, LayerError> {
        let mut question = redis::cmd("HGETALL");
        question.arg(self.key_of_signs());
        let found: Vec<(String, String)> = self.ask_one(&question).await?;
        let signs = found.into_iter().take(MOST_SIGNS);
        Ok(signs.filter_map(|(database, sign)| Some((DatabaseId::parse(&database)?, sign))).collect())
    }

    async fn end_life(&self, database: &DatabaseId) -> Result<(), LayerError> {
        let mut question = redis::cmd("HDEL");
        question.arg(self.key_of_signs()).arg(database.as_str());
        self.ask_one::<i64>(&question).await.map(drop)
    }
}

/// Makes a client, which has no connection yet.
pub(super) fn client(options: &RedisOptions) -> Result<Client, CacheError> {
    let uri = options.uri.expose_secret();
    let client = match &options.authorities {
        None => Client::open(uri),
        Some(pem) => {
            let certificates = TlsCertificates { client_tls: None::<ClientTlsConfig>, root_cert: Some(pem.clone()) };
            Client::build_with_tls(uri, certificates)
        }
    };
    client.map_err(|_holds_a_password| CacheError::Address)
}

/// A refusal of one question is no refusal of the others.
pub(super) fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.ignore_errors();
    pipeline
}

fn understood<T: FromRedisValue>(answer: RedisResult<Value>) -> Result<T, String> {
    match answer {
        Ok(value) => T::from_redis_value(value).map_err(|error| error.to_string()),
        // The code first, by which refusals are told apart; what follows may repeat a part of the question.
        Err(refusal) => {
            let detail: String = refusal.detail().unwrap_or_default().chars().take(LONGEST_DETAIL).collect();
            Err(format!("{} {detail}", refusal.code().unwrap_or("ERR")))
        }
    }
}

fn as_bytes(size: &Result<usize, String>) -> usize {
    size.as_ref().copied().unwrap_or(0)
}

fn unavailable(why: String) -> LayerError {
    LayerError::Unavailable { layer: NAME, why }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a text so that a pattern means it and nothing else.
fn literally(text: &str) -> String {
    let special = |letter: char| matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^' | '-');
    text.chars().fold(String::with_capacity(text.len()), |mut pattern, letter| {
        if special(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_prefix_and_nothing_else() {
        assert_eq!(literally("evolution:*[a]?"), r"evolution:\*\[a\]\?");
    }

    #[test]
    fn an_address_that_cannot_be_used_is_not_repeated() {
        let options = RedisOptions {
            uri: "http://user:hunter2@host".to_owned().into(),
            prefix: "evolution".to_owned(),
            ttl: Duration::from_secs(60),
            authorities: None,
        };
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = RedisCache::new(options, Clock::start()).err().expect("it is no address of Redis");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
