//! What is looked at often is told by an index: payloads lie between the columns of a row, and may be large.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};

use super::sql::migrations::migrate;
use super::sql::outbox::{LAG, NEXT, heads_query};

#[derive(QueryableByName)]
struct Plan {
    #[diesel(sql_type = Integer)]
    #[expect(dead_code, reason = "the other columns of a plan")]
    id: i32,
    #[diesel(sql_type = Text)]
    detail: String,
}

fn plan(query: &str) -> Vec<String> {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    migrate(&mut conn).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
    let query = query.replace("$1", "1").replace("$2", "'i'");
    let rows: Vec<Plan> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {query}")).load(&mut conn).unwrap();
    rows.into_iter().map(|row| row.detail).collect()
}

#[test]
fn the_oldest_of_each_instance_is_found_in_the_index_alone() {
    let plan = plan(&heads_query());
    let touching: Vec<&String> = plan
        .iter()
        .filter(|line| line.contains("holdfast_outbox") || line.contains(" waits") || line.contains(" o "))
        .collect();
    assert!(touching.len() >= 4, "{plan:#?}");
    // Only the URL of an instance that is gone is looked up in its row.
    let looked_up: Vec<_> =
        touching.iter().filter(|line| !line.contains("COVERING INDEX holdfast_outbox_pending")).collect();
    assert!(looked_up.len() == 1 && looked_up[0].contains("INTEGER PRIMARY KEY"), "{plan:#?}");
    assert!(plan.iter().all(|line| !line.starts_with("SCAN holdfast") && !line.starts_with("SCAN waits")), "{plan:#?}");
}

#[test]
fn the_next_of_an_instance_and_the_totals_walk_over_no_rows() {
    let next = plan(NEXT);
    assert!(next.iter().all(|line| !line.starts_with("SCAN") || line.contains("CONSTANT")), "{next:#?}");
    let lag = plan(LAG);
    let rows: Vec<&String> = lag.iter().filter(|line| line.contains("holdfast_outbox")).collect();
    assert!(rows.len() == 3 && rows.iter().all(|line| line.contains("COVERING INDEX")), "{lag:#?}");
}
