//! Bringing the database into shape, one process at a time.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use holdfast_core::id::DatabaseId;

use super::dialect::Conn;
use super::pool::Connector;
use super::sql;
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::store::StoreError;
use crate::store::Retention;
use crate::store::cipher::Cipher;
use crate::store::failure::{driver, unavailable};
use crate::store::member::Member;

const DOING: &str = "preparing the database";

/// The advisory lock of whoever changes the shape: "holdfast", in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"holdfast");

/// How long it is waited for that lock, and for the locks of tables: somebody else may be at it.
const PATIENCE: &str =
    "SET statement_timeout = 0; SET lock_timeout = '120s'; SET idle_in_transaction_session_timeout = 0";

/// Brings the database into the newest shape and makes its rows true, on a connection of its own; returns which it is. Processes that do so at once wait for each
/// other.
pub(super) async fn bring(
    connector: &Connector,
    cipher: Arc<Cipher>,
    member: Arc<Member>,
    clock: Clock,
    retention: Retention,
) -> Result<DatabaseId, StoreError> {
    let mut link = connector.connect().await?;
    let schema = connector.address.quoted_schema();
    let bringing = tokio::task::spawn_blocking(move || {
        let conn = &mut link.conn;
        let ready =
            diesel::connection::SimpleConnection::batch_execute(conn, PATIENCE).and_then(|()| lock(conn, &schema));
        ready.map_err(|error| driver(DOING, &error))?;
        reach!("open.connected");
        sql::migrations::migrate(conn)?;
        reach!("open.migrated");
        // The lock ends with the connection.
        sql::prepare(conn, &cipher, &member, clock, &retention)
    });
    bringing.await.map_err(|error| unavailable(DOING, error))?
}

fn lock(conn: &mut Conn, schema: &str) -> QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(LOCK).execute(conn)?;
    // Whoever may not create schemas may still use one that is there, so it is looked for first.
    let found: Option<String> =
        diesel::dsl::sql::<diesel::sql_types::Nullable<diesel::sql_types::Text>>("SELECT current_schema()::text")
            .get_result(conn)?;
    if found.is_none() {
        diesel::sql_query(format!("CREATE SCHEMA IF NOT EXISTS {schema}")).execute(conn)?;
    }
    Ok(())
}
