//! What the engine under torture stands on besides its disk: a Redis that keeps copies, and perhaps a PostgreSQL.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::cable::Cable;
use crate::harness::engine::Home;
use crate::harness::postgres::Server;
use crate::harness::redis::Redis;

pub(super) struct Places {
    redis: Redis,
    /// The server moves when it starts anew; the cable follows it.
    postgres: Option<(Server, Cable)>,
}

impl Places {
    pub(super) async fn new(postgres: bool) -> Self {
        let redis = Redis::start().await.expect("a Redis");
        let postgres = if postgres {
            let server = Server::start().await.expect("a PostgreSQL");
            let cable = Cable::lay(server.port()).await.expect("a cable");
            Some((server, cable))
        } else {
            None
        };
        Self { redis, postgres }
    }

    pub(super) fn has_server(&self) -> bool {
        self.postgres.is_some()
    }

    /// Lets an engine stand on them, with copies in a directory too.
    pub(super) fn under(&self, home: Home) -> Home {
        let copies = home.data_dir().join("copies").display().to_string();
        let home = home
            .set("CACHE_REDIS_ENABLED", "true")
            .set("CACHE_REDIS_SAVE_INSTANCES", "true")
            .set("CACHE_REDIS_URI", &self.redis.uri())
            .set("PROVIDER_DIR", &copies)
            .set("PROVIDER_SNAPSHOT_SECONDS", "10");
        let Some((server, cable)) = &self.postgres else { return home };
        let url = server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{}/", cable.port()));
        home.set("DATABASE_CONNECTION_URI", &url)
            .set("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
            .set("DATABASE_STATEMENT_TIMEOUT_SECONDS", "2")
    }

    /// Kills Redis, which forgets everything, and starts it later.
    pub(super) async fn redis_dies(&self, later: Duration) {
        self.redis.kill();
        sleep(later).await;
        assert!(self.redis.run().await.expect("Redis starts"), "Redis does not start again");
    }

    /// Kills the server, and starts it later.
    pub(super) async fn database_dies(&self, later: Duration) {
        let Some((server, cable)) = &self.postgres else { return };
        server.kill();
        sleep(later).await;
        server.run().await.expect("PostgreSQL starts");
        cable.moves_to(server.port());
    }
}
