//! The baseline: one connection, and transactions with nothing of ours in them.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::{KEYS, VALUE};

/// Both databases understand all of it.
const TABLES: &str = "CREATE TABLE value (key BIGINT PRIMARY KEY, value TEXT NOT NULL); \
    CREATE TABLE owner (id BIGINT PRIMARY KEY, node TEXT, epoch BIGINT NOT NULL, revision BIGINT NOT NULL); \
    INSERT INTO owner VALUES (1, 'bench', 1, 0)";
/// What the store does first in every batch.
const FENCE: &str =
    "UPDATE owner SET revision = revision + 1 WHERE id = 1 AND epoch = 1 AND node IS NOT NULL RETURNING revision";

/// A connection to a database of its own.
pub(crate) enum Raw {
    Sqlite(Box<SqliteConnection>),
    Postgres(Client),
}

impl Raw {
    pub(crate) fn sqlite(path: &str) -> anyhow::Result<Self> {
        let mut connection = SqliteConnection::establish(path)?;
        connection.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        connection.batch_execute(TABLES)?;
        Ok(Self::Sqlite(Box::new(connection)))
    }

    pub(crate) async fn postgres(url: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // It ends with its client, and an error is the client's to tell.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(TABLES).await?;
        Ok(Self::Postgres(client))
    }

    /// Returns the mean time of a transaction.
    pub(crate) async fn transaction(&mut self, fenced: bool, time: Duration) -> anyhow::Result<Duration> {
        let (began, mut number) = (Instant::now(), 0);
        while began.elapsed() < time {
            // Another one each time: what does not change is not written.
            let (key, value) = (number as usize % KEYS, format!("{number:0VALUE$}"));
            let write = format!(
                "INSERT INTO value VALUES ({key}, '{value}') ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            );
            self.execute("BEGIN").await?;
            if fenced {
                self.execute(FENCE).await?;
            }
            self.execute(&write).await?;
            self.execute("COMMIT").await?;
            number += 1;
        }
        Ok(began.elapsed() / number)
    }

    async fn execute(&mut self, sql: &str) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(sql)?,
            Self::Postgres(client) => client.batch_execute(sql).await?,
        }
        Ok(())
    }
}
