//! A look at the file, on a connection that cannot write.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{connection, sql};
use crate::ports::store::StoreError;
use crate::store::failure::{driver, unavailable};
use crate::store::look::Look;

const DOING: &str = "looking at the database";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

/// Looks at the file of this address. One that is not there yet has everything before it.
pub(in crate::store) async fn look(url: &str) -> Result<Look, StoreError> {
    let path = connection::path_of(url)?;
    let known = sql::migrations::known()?;
    if !Path::new(&path).exists() {
        return Ok(Look::compare(&known, &[]));
    }
    let looking = tokio::task::spawn_blocking(move || applied(&path));
    let applied = looking.await.map_err(|error| unavailable(DOING, error))??;
    Ok(Look::compare(&known, &applied))
}

fn applied(path: &str) -> Result<Vec<String>, StoreError> {
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let opened = SqliteConnection::establish(&format!("file:{escaped}?mode=ro"));
    let mut conn = opened.map_err(|error| unavailable(DOING, error))?;
    let mut read = |query: &str| {
        let rows: QueryResult<Vec<Row>> = diesel::sql_query(query).load(&mut conn);
        rows.map(|rows| rows.into_iter().map(|row| row.text).collect::<Vec<_>>()).map_err(|error| driver(DOING, &error))
    };
    let table = read("SELECT name AS text FROM sqlite_master WHERE name = '__diesel_schema_migrations'")?;
    if table.is_empty() {
        return Ok(Vec::new());
    }
    read("SELECT version AS text FROM __diesel_schema_migrations")
}
