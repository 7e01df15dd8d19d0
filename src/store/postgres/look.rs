//! A look at the server, on a connection of its own.

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::address::Address;
use super::sql;
use super::tls::Tls;
use crate::ports::store::StoreError;
use crate::store::failure::unavailable;
use crate::store::look::{Look, Looking, Server, Words, questions};

const DOING: &str = "looking at the database";

/// A value as the database shows it, and what its clock says of a lease.
const WORDS: Words =
    Words { check: "encode(value, 'hex')", alive: Some("expires_ms > extract(epoch FROM clock_timestamp()) * 1000") };

/// Connects, and asks what the server is like, which migrations were run, and what is stored.
pub(in crate::store) async fn look(looking: &Looking<'_>) -> Result<Look, StoreError> {
    let pool = looking.pool;
    let address = Address::parse(looking.url)?;
    let tls = Tls::new(&address.trust)?;
    let connected = timeout(pool.connect_timeout, address.config.connect(tls)).await;
    let (client, connection) = connected
        .map_err(|_elapsed| unavailable(DOING, "connecting took too long"))?
        .map_err(|error| unavailable(DOING, super::link::whole(&error)))?;
    let traffic = tokio::spawn(connection);
    let asked = timeout(pool.statement_timeout, ask(&client, &address, looking)).await;
    traffic.abort();
    asked.map_err(|_elapsed| unavailable(DOING, "it does not answer"))?
}

async fn ask(client: &Client, address: &Address, looking: &Looking<'_>) -> Result<Look, StoreError> {
    let said = rows(
        client,
        "SELECT current_setting('max_connections'), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    )
    .await?;
    let number = |column: usize| said.first().and_then(|row| row.get(column)).and_then(|text| text.parse::<u64>().ok());
    let server = match (number(0), number(1), number(2)) {
        (Some(most), Some(taken), Some(clock)) => {
            // Our own connection is one of them, and ends with this look.
            Some(Server { most, taken: taken.saturating_sub(1), clock_ms: clock as i64 })
        }
        _ => None,
    };
    let schema = address.schema.replace('\'', "''");
    let tables = rows(client, &format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")).await?;
    let tables: Vec<String> = tables.into_iter().flatten().collect();
    let applied = if tables.iter().any(|table| table == "__diesel_schema_migrations") {
        let query = format!("SELECT version FROM {}.__diesel_schema_migrations", address.quoted_schema());
        rows(client, &query).await?.into_iter().flatten().collect()
    } else {
        Vec::new()
    };
    let mut look = Look { server, ..Look::compare(&sql::migrations::known()?, &applied) };
    // Nobody knows what a newer version has made of the tables.
    if look.newer.is_none() {
        rows(client, &format!("SET search_path TO {}", address.quoted_schema())).await?;
        for (question, query) in questions(&tables, looking.client_name, &WORDS) {
            let answer = rows(client, &query).await?;
            let answer = answer.into_iter().map(|row| row.try_into().unwrap_or_default()).collect();
            look.hear(question, answer, looking.key);
        }
    }
    Ok(look)
}

async fn rows(client: &Client, query: &str) -> Result<Vec<Vec<String>>, StoreError> {
    let messages = client.simple_query(query).await.map_err(|error| unavailable(DOING, super::link::whole(&error)))?;
    let mut rows = Vec::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect());
        }
    }
    Ok(rows)
}
