//! What the migrations make of databases, new and old.

use diesel::prelude::*;
use diesel::sql_types::Text;

use diesel_migrations::MigrationHarness as _;

use super::dialect::MIGRATIONS;
use super::sql::migrations::migrate;
use crate::ports::store::StoreError;

fn shape(conn: &mut SqliteConnection) -> Vec<String> {
    diesel::dsl::sql::<Text>(
        "SELECT coalesce(sql, name) FROM sqlite_master WHERE name NOT LIKE '%diesel%' ORDER BY name",
    )
    .load(conn)
    .unwrap()
}

#[test]
fn every_migration_can_be_taken_back_and_done_again() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    migrate(&mut conn).unwrap();
    let first = shape(&mut conn);
    conn.revert_all_migrations(MIGRATIONS).unwrap();
    assert!(shape(&mut conn).iter().all(|line| line.contains("sqlite_")), "{:?}", shape(&mut conn));
    migrate(&mut conn).unwrap();
    assert_eq!(shape(&mut conn), first);
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    migrate(&mut conn).unwrap();
    diesel::sql_query("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')").execute(&mut conn).unwrap();
    let before = shape(&mut conn);
    let refused = migrate(&mut conn).unwrap_err();
    let cause = std::error::Error::source(&refused).map(ToString::to_string).unwrap();
    assert!(matches!(refused, StoreError::Corrupt { .. }) && cause.contains("newer") && cause.contains("9999"));
    assert_eq!(shape(&mut conn), before);
}

#[test]
fn an_existing_database_of_evolution_keeps_its_rows() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    let up = include_str!("../../../migrations/sqlite/0001_evolution/up.sql");
    diesel::connection::SimpleConnection::batch_execute(&mut conn, up).unwrap();
    diesel::sql_query(r#"INSERT INTO "Instance" ("id", "name") VALUES ('a', 'shop')"#).execute(&mut conn).unwrap();
    migrate(&mut conn).unwrap();
    let names: Vec<String> = diesel::dsl::sql::<Text>(r#"SELECT "name" FROM "Instance""#).load(&mut conn).unwrap();
    assert_eq!(names, ["shop"]);
}

#[test]
fn deliveries_that_waited_before_an_update_keep_their_tries_and_their_age() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    for _ in 0..2 {
        conn.run_next_migration(MIGRATIONS).unwrap();
    }
    let queued = "INSERT INTO holdfast_outbox \
        (event_id, instance_id, instance_name, sink, event, data, at_ms, attempts, due_ms, url, by_events) \
        VALUES ('e', 'i', 'shop', 'webhook', 'call', '{}', 17, 3, 18, 'http://receiver.test', FALSE)";
    diesel::sql_query(queued).execute(&mut conn).unwrap();
    migrate(&mut conn).unwrap();
    let told = diesel::dsl::sql::<Text>("SELECT tries || ' ' || attempts || ' ' || waiting_ms FROM holdfast_outbox");
    assert_eq!(told.load::<String>(&mut conn).unwrap(), ["3 3 17"]);
}

#[test]
fn what_a_session_was_claimed_by_before_leases_owns_it_still() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    for _ in 0..5 {
        conn.run_next_migration(MIGRATIONS).unwrap();
    }
    let rows = r#"INSERT INTO "Instance" ("id", "name") VALUES ('i', 'shop');
        INSERT INTO holdfast_session (instance_id, epoch, lease_node, lease_expires_at) VALUES ('i', 3, 'node', NULL)"#;
    diesel::connection::SimpleConnection::batch_execute(&mut conn, rows).unwrap();
    migrate(&mut conn).unwrap();
    let told = "SELECT lease_node || ' ' || epoch || ' ' || (lease_ended_at IS NULL) FROM holdfast_session";
    assert_eq!(diesel::dsl::sql::<Text>(told).load::<String>(&mut conn).unwrap(), ["node 3 1"]);
}
