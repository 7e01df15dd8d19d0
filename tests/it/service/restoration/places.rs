//! The places where sessions are, which are put into any state between two runs of an engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use holdfast::cache::{RedisCache, RedisOptions};
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, SessionCopy};
use holdfast::provider::{Directory, HttpProvider, HttpProviderOptions};

use super::trial::{Copy, Database, Trial};
use crate::harness::cable::Cable;
use crate::harness::engine::{Home, KEY};
use crate::harness::postgres::Server;
use crate::harness::provider::Provider;
use crate::harness::redis::Redis;

/// The tables with what is of a session, and the columns with its instance.
const OF_A_SESSION: [(&str, &str); 4] = [
    ("Session", "sessionId"),
    ("holdfast_session", "instance_id"),
    ("holdfast_session_value", "instance_id"),
    ("holdfast_accepted", "instance_id"),
];
/// The same for what is of an instance besides, its own row last.
const OF_AN_INSTANCE: [(&str, &str); 3] = [("Webhook", "instanceId"), ("Setting", "instanceId"), ("Instance", "id")];
const GROUP: &str = "evolution";

/// The servers that a fleet lives on.
#[derive(Clone, std::marker::Copy)]
pub(super) struct Places<'s> {
    pub(super) redis: &'s Redis,
    /// In the place of the embedded database; with the cable that leads there.
    pub(super) postgres: Option<(&'s Server, &'s Cable)>,
    /// In the place of the directory.
    pub(super) provider: Option<&'s Provider>,
}

impl<'s> Places<'s> {
    pub(super) fn beside(redis: &'s Redis) -> Self {
        Self { redis, postgres: None, provider: None }
    }

    pub(super) fn on(self, server: &'s Server, cable: &'s Cable) -> Self {
        Self { postgres: Some((server, cable)), ..self }
    }

    pub(super) fn with(self, provider: &'s Provider) -> Self {
        Self { provider: Some(provider), ..self }
    }

    /// Sets the database alone.
    pub(super) fn set_database(&self, home: Home) -> Home {
        let Some((server, cable)) = self.postgres else { return home };
        let url = server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{}/", cable.port()));
        home.set("DATABASE_CONNECTION_URI", &url)
            .set("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
            .set("DATABASE_STATEMENT_TIMEOUT_SECONDS", "2")
    }

    /// Sets the places for copies.
    pub(super) fn set_layers(&self, home: Home) -> Home {
        let directory = directory(&home);
        let home = home
            .set("CACHE_REDIS_ENABLED", "true")
            .set("CACHE_REDIS_SAVE_INSTANCES", "true")
            .set("CACHE_REDIS_URI", &self.redis.uri());
        match self.provider {
            None => home.set("PROVIDER_DIR", &directory.display().to_string()),
            Some(provider) => home
                .set("PROVIDER_ENABLED", "true")
                .set("PROVIDER_HOST", "127.0.0.1")
                .set("PROVIDER_PORT", &provider.port().to_string())
                .set("PROVIDER_PREFIX", GROUP),
        }
    }

    /// The address of the database, past every cable.
    pub(super) fn database_url(&self, home: &Home) -> String {
        match self.postgres {
            Some((server, _)) => server.url("postgres"),
            None => database(home).display().to_string(),
        }
    }

    /// Keeps what the database holds now, to set it back to.
    pub(super) async fn keep(&self, home: &Home) {
        let Some((server, _)) = self.postgres else {
            fs::copy(database(home), earlier(home)).expect("the database of the first moment");
            return;
        };
        server.ask("postgres", "CREATE SCHEMA earlier").await.expect("a place for the rows");
        for (table, _) in OF_A_SESSION {
            let kept = format!("CREATE TABLE earlier.\"{table}\" AS SELECT * FROM \"{table}\"");
            server.ask("postgres", &kept).await.expect("the rows of the first moment");
        }
    }

    /// Puts the rows of each instance into their state.
    pub(super) async fn change_database(&self, home: &Home, trials: &[Trial], fresh: &BTreeMap<String, SessionCopy>) {
        let changes = trials.iter().flat_map(|trial| {
            let id = fresh[&trial.name()].header.id.as_str();
            changes(trial.database, id, self.postgres.is_some())
        });
        match self.postgres {
            None => {
                let path = database(home).display().to_string();
                let mut database = SqliteConnection::establish(&path).expect("the database");
                let mut run = |sql: &str| database.batch_execute(sql).expect("the change");
                run(&format!("PRAGMA foreign_keys = OFF; ATTACH '{}' AS earlier", earlier(home).display()));
                changes.for_each(|change| run(&change));
            }
            Some((server, _)) => {
                let all: Vec<String> = changes.chain(["DROP SCHEMA earlier CASCADE".to_owned()]).collect();
                server.ask("postgres", &all.join("; ")).await.expect("the changes");
            }
        }
    }

    /// Puts the copies into the layers.
    pub(super) async fn fill(
        &self,
        home: &Home,
        trials: &[Trial],
        stale: &BTreeMap<String, SessionCopy>,
        fresh: &BTreeMap<String, SessionCopy>,
    ) {
        let (cache, files) = (self.cache(), self.files(home));
        for trial in trials {
            let of = |copy| match copy {
                Copy::Fresh | Copy::Corrupt => Some(&fresh[&trial.name()]),
                Copy::Stale => Some(&stale[&trial.name()]),
                Copy::None => None,
            };
            if let Some(copy) = of(trial.redis) {
                cache.write(copy).await.expect("the copy is written");
            }
            if let Some(copy) = of(trial.files) {
                files.write(copy).await.expect("the copy is written");
            }
            let id = fresh[&trial.name()].header.id.as_str();
            if trial.redis == Copy::Corrupt {
                let key = format!("evolution-cache:holdfast:copy:{id}");
                self.redis.ask(0, &["HSET", &key, "copy", "garbage"]).await.expect("it is damaged");
            }
            if trial.files == Copy::Corrupt {
                self.damage_file(home, id);
            }
        }
    }

    pub(super) fn cache(&self) -> RedisCache {
        let options = RedisOptions {
            uri: self.redis.uri().into(),
            prefix: "evolution-cache".to_owned(),
            ttl: Duration::from_secs(3600),
            authorities: None,
        };
        RedisCache::new(options, Clock::start()).expect("the cache")
    }

    fn files(&self, home: &Home) -> Box<dyn Layer> {
        match self.provider {
            None => Box::new(Directory::open(directory(home), Clock::start()).expect("the directory")),
            Some(provider) => {
                let url = provider.url().parse().expect("an address");
                let options = HttpProviderOptions { url, group: GROUP.to_owned(), api_key: KEY.to_owned().into() };
                Box::new(HttpProvider::new(options, Clock::start()).expect("the provider"))
            }
        }
    }

    fn damage_file(&self, home: &Home, id: &str) {
        match self.provider {
            None => {
                let file = directory(home).join(format!("{id}.copy"));
                let bytes = fs::read(&file).expect("the copy");
                fs::write(&file, &bytes[..bytes.len() / 2]).expect("it is damaged");
            }
            Some(provider) => provider.change(GROUP, id, |_key, document| document.truncate(document.len() / 2)),
        }
    }

    /// Counts the damaged copies of an instance that the provider keeps for a person to look at.
    pub(super) fn set_aside_at_the_provider(&self, id: &str) -> usize {
        let keys = self.provider.map(|provider| provider.keys(GROUP, id)).unwrap_or_default();
        keys.iter().filter(|key| key.contains("corrupt")).count()
    }
}

/// What puts the rows of an instance into a state, in the words of both databases.
fn changes(database: Database, id: &str, shared: bool) -> Vec<String> {
    let delete = |(table, column): (&str, &str)| format!("DELETE FROM \"{table}\" WHERE \"{column}\" = '{id}'");
    match database {
        Database::Whole => Vec::new(),
        Database::SetBack => {
            let back = OF_A_SESSION.into_iter().flat_map(|(table, column)| {
                let earlier = format!("SELECT * FROM earlier.\"{table}\" WHERE \"{column}\" = '{id}'");
                [delete((table, column)), format!("INSERT INTO \"{table}\" {earlier}")]
            });
            // Where nodes share it, to when a node owned it that is gone.
            let owner = format!("UPDATE holdfast_session SET lease_node = 'gone' WHERE instance_id = '{id}'");
            back.chain(shared.then_some(owner)).collect()
        }
        Database::Emptied => OF_A_SESSION.into_iter().chain(OF_AN_INSTANCE).map(delete).collect(),
        Database::Damaged => vec![format!(
            "UPDATE \"Session\" SET \"creds\" = substr(\"creds\", 1, length(\"creds\") / 2) || 'AAAA' || \
             substr(\"creds\", length(\"creds\") / 2 + 5) WHERE \"sessionId\" = '{id}'"
        )],
    }
}

fn directory(home: &Home) -> PathBuf {
    home.data_dir().join("copies")
}

fn database(home: &Home) -> PathBuf {
    home.data_dir().join("holdfast.db")
}

fn earlier(home: &Home) -> PathBuf {
    let earlier: &Path = "earlier.db".as_ref();
    home.data_dir().join(earlier)
}
