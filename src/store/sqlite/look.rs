//! A look at the file, on a connection that cannot write.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{connection, sql};
use crate::ports::store::StoreError;
use crate::store::failure::{driver, unavailable};
use crate::store::look::{COLUMNS, Look, Looking, Question, Words, questions};

const DOING: &str = "looking at the database";

/// There is one node, whose lock on the data directory says that it lives.
const WORDS: Words = Words { check: "hex(value)", alive: None };

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    a: String,
    #[diesel(sql_type = Text)]
    b: String,
    #[diesel(sql_type = Text)]
    c: String,
    #[diesel(sql_type = Text)]
    d: String,
}

/// Looks at the file of this address. One that is not there yet has everything before it.
pub(in crate::store) async fn look(looking: &Looking<'_>) -> Result<Look, StoreError> {
    let path = connection::path_of(looking.url)?;
    let known = sql::migrations::known()?;
    if !Path::new(&path).exists() {
        return Ok(Look::compare(&known, &[]));
    }
    let client_name = looking.client_name.to_owned();
    let asking = tokio::task::spawn_blocking(move || ask(&path, &known, &client_name));
    let (mut look, answers) = asking.await.map_err(|error| unavailable(DOING, error))??;
    for (question, rows) in answers {
        look.hear(question, rows, looking.key);
    }
    Ok(look)
}

type Answers = Vec<(Question, Vec<[String; COLUMNS]>)>;

fn ask(path: &str, known: &[String], client_name: &str) -> Result<(Look, Answers), StoreError> {
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let opened = SqliteConnection::establish(&format!("file:{escaped}?mode=ro"));
    let mut conn = opened.map_err(|error| unavailable(DOING, error))?;
    // The engine may be at work at this moment.
    conn.batch_execute("PRAGMA busy_timeout = 2000").map_err(|error| driver(DOING, &error))?;
    let mut texts = |query: &str| {
        let rows: QueryResult<Vec<Row>> = diesel::sql_query(query).load(&mut conn);
        rows.map(|rows| rows.into_iter().map(|row| row.text).collect::<Vec<_>>()).map_err(|error| driver(DOING, &error))
    };
    let tables = texts("SELECT name AS text FROM sqlite_master WHERE type = 'table'")?;
    let applied = if tables.iter().any(|table| table == "__diesel_schema_migrations") {
        texts("SELECT version AS text FROM __diesel_schema_migrations")?
    } else {
        Vec::new()
    };
    let look = Look::compare(known, &applied);
    let mut answers = Vec::new();
    // Nobody knows what a newer version has made of the tables.
    if look.newer.is_none() {
        for (question, query) in questions(&tables, client_name, &WORDS) {
            let rows: QueryResult<Vec<Answer>> = diesel::sql_query(query).load(&mut conn);
            let rows = rows.map_err(|error| driver(DOING, &error))?;
            answers.push((question, rows.into_iter().map(|row| [row.a, row.b, row.c, row.d]).collect()));
        }
    }
    Ok((look, answers))
}
