//! Taking the instances of a staged backup into a database, or taking it as the database.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use holdfast_core::id::InstanceId;

use super::BackupError;
use super::snapshot::{copy, open, sync, tables};
use super::staging::Staged;
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, EncryptionKey};
use crate::store::failure::{Failure, unavailable};
use crate::store::sqlite::sql::{check_key_of, migrations};

const DOING: &str = "taking the backup in";

/// What came of taking a backup in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Instances that were taken in: id and name.
    pub taken: Vec<(InstanceId, String)>,
    /// Names of instances that were there, and are as they were.
    pub left: Vec<String>,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Takes in what the database does not have, and the instances that are to be replaced, in one transaction.
///
/// It has a connection of its own, beside the writer of an engine that runs: another database can be attached to none that is within a
/// transaction for long, and SQLite lets both write in turn.
///
/// # Errors
/// If anything fails; then nothing was changed. Also if a name that is to be replaced is not in the backup.
pub fn merge(database: &Path, staged: &Staged, key: &EncryptionKey, replace: &[String]) -> Result<Merged, StoreError> {
    let mut conn = open(database)?;
    let merge = |conn: &mut SqliteConnection| -> Result<Merged, Failure> {
        migrations::migrate(conn)?;
        check_key_of(conn, &Cipher::new(key))?;
        conn.batch_execute("PRAGMA synchronous = FULL")?;
        diesel::sql_query("ATTACH DATABASE ? AS staged")
            .bind::<Text, _>(staged.path.display().to_string())
            .execute(conn)?;
        let tables = of_instances(conn)?;
        conn.immediate_transaction(|conn| take(conn, &tables, replace))
    };
    merge(&mut conn).map_err(|failure| failure.doing(DOING))
}

fn take(conn: &mut SqliteConnection, tables: &[Table], replace: &[String]) -> Result<Merged, Failure> {
    for name in replace {
        let found: Option<Name> = diesel::sql_query(r#"SELECT "name" AS name FROM staged."Instance" WHERE "name" = ?"#)
            .bind::<Text, _>(name)
            .get_result(conn)
            .optional()?;
        if found.is_none() {
            return Err(unavailable(DOING, format!("it holds no instance {name:?}")).into());
        }
    }
    let theirs: Vec<Found> =
        diesel::sql_query(r#"SELECT "id" AS id, "name" AS name FROM staged."Instance" ORDER BY "name""#).load(conn)?;
    let mut merged = Merged::default();
    for Found { id, name } in theirs {
        let there: Vec<Found> =
            diesel::sql_query(r#"SELECT "id" AS id, "name" AS name FROM main."Instance" WHERE "id" = ? OR "name" = ?"#)
                .bind::<Text, _>(&id)
                .bind::<Text, _>(&name)
                .load(conn)?;
        // An instance that has this id under another name is not the one that was named.
        let named = replace.contains(&name) && there.iter().all(|found| found.name == name);
        if !there.is_empty() && !named {
            merged.left.push(name);
            continue;
        }
        let united: Vec<&Table> = tables.iter().filter(|table| table.is_united()).collect();
        for table in &united {
            table.keep(conn, &there)?;
        }
        for Found { id: present, .. } in &there {
            diesel::sql_query(r#"DELETE FROM main."Instance" WHERE "id" = ?"#)
                .bind::<Text, _>(present)
                .execute(conn)?;
        }
        for table in tables {
            table.take(conn, &id)?;
        }
        for table in &united {
            table.unite(conn, &id)?;
        }
        merged.taken.push((InstanceId::new(id), name));
    }
    Ok(merged)
}

/// A table with rows of instances.
struct Table {
    name: String,
    /// The column that names the instance.
    column: String,
    /// The columns that are copied, quoted, with commas between them.
    columns: String,
    /// What else a row has to be, to be copied.
    unless: &'static str,
}

/// Tables whose rows are facts that an older copy does not know, and that stay facts: what was accepted must not be handed over again,
/// what was sent under a key not be sent again, and what is missing not be forgotten. Not every version has all of them.
const UNITED: [&str; 3] = ["holdfast_accepted", "holdfast_unrecovered", "holdfast_send"];

impl Table {
    fn is_united(&self) -> bool {
        UNITED.iter().any(|name| self.name == quoted(name))
    }

    /// Puts the present rows of the instances that are about to be replaced by the side.
    fn keep(&self, conn: &mut SqliteConnection, present: &[Found]) -> Result<(), Failure> {
        let Self { name, column, columns, .. } = self;
        conn.batch_execute(&format!("CREATE TEMP TABLE {name} AS SELECT {columns} FROM main.{name} WHERE 0"))?;
        for Found { id, .. } in present {
            diesel::sql_query(format!("INSERT INTO temp.{name} SELECT {columns} FROM main.{name} WHERE {column} = ?"))
                .bind::<Text, _>(id)
                .execute(conn)?;
        }
        Ok(())
    }

    /// Adds those rows to what was taken in under this id; where both know something, the present wins.
    fn unite(&self, conn: &mut SqliteConnection, id: &str) -> Result<(), Failure> {
        let Self { name, column, columns, .. } = self;
        diesel::sql_query(format!("UPDATE temp.{name} SET {column} = ?")).bind::<Text, _>(id).execute(conn)?;
        conn.batch_execute(&format!(
            "INSERT OR REPLACE INTO main.{name} ({columns}) SELECT {columns} FROM temp.{name}; DROP TABLE temp.{name};"
        ))?;
        Ok(())
    }

    fn take(&self, conn: &mut SqliteConnection, id: &str) -> Result<(), Failure> {
        let Self { name, column, columns, unless } = self;
        diesel::sql_query(format!(
            "INSERT INTO main.{name} ({columns}) SELECT {columns} FROM staged.{name} WHERE {column} = ? {unless}"
        ))
        .bind::<Text, _>(id)
        .execute(conn)?;
        Ok(())
    }
}

/// Finds the tables with rows of instances: the instances first, then whatever refers to them, and the outbox.
fn of_instances(conn: &mut SqliteConnection) -> Result<Vec<Table>, Failure> {
    let mut found =
        vec![Table { columns: columns(conn, "Instance")?, name: quoted("Instance"), column: quoted("id"), unless: "" }];
    for table in tables(conn)? {
        let reference: Option<Name> =
            diesel::sql_query("SELECT \"from\" AS name FROM pragma_foreign_key_list(?) WHERE \"table\" = 'Instance'")
                .bind::<Text, _>(&table)
                .get_result(conn)
                .optional()?;
        if let Some(Name { name }) = reference {
            let columns = columns(conn, &table)?;
            found.push(Table { name: quoted(&table), column: quoted(&name), columns, unless: "" });
        }
    }
    found.push(Table {
        columns: columns(conn, "holdfast_outbox")?,
        name: quoted("holdfast_outbox"),
        column: quoted("instance_id"),
        // A delivery that waits here already is the same one.
        unless: "AND event_id NOT IN (SELECT event_id FROM main.holdfast_outbox) ORDER BY seq",
    });
    Ok(found)
}

/// Returns the columns that both databases have, without one that numbers the rows: its numbers are taken here.
fn columns(conn: &mut SqliteConnection, table: &str) -> Result<String, Failure> {
    let names: Vec<Name> = diesel::sql_query(
        "SELECT name FROM pragma_table_info(?1, 'main') WHERE NOT (pk = 1 AND type = 'INTEGER') \
         INTERSECT SELECT name FROM pragma_table_info(?1, 'staged')",
    )
    .bind::<Text, _>(table)
    .load(conn)?;
    Ok(names.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Copies the present database aside, before it is changed.
///
/// # Errors
/// If it cannot be read, or the copy cannot be written; then there is none.
pub fn set_aside(database: &Path, stamp: &str) -> Result<PathBuf, BackupError> {
    let aside = aside(database, stamp);
    let copied = copy(&mut open(database)?, &aside).and_then(|()| sync(&aside));
    if copied.is_err() {
        let _not_whole = fs::remove_file(&aside);
    }
    copied.map(|()| aside)
}

/// Takes a staged backup as the database. One that is there is set aside under the name that is returned; it need not be readable.
///
/// # Errors
/// If the file system refuses; the present database is then still in its place.
pub fn adopt(database: &Path, staged: Staged, stamp: &str) -> Result<Option<PathBuf>, BackupError> {
    let doing = || BackupError::files(format!("{} cannot be replaced", database.display()));
    let mut set_aside = None;
    if database.exists() {
        fold(database)?;
        let aside = aside(database, stamp);
        // Some file systems have no links.
        fs::hard_link(database, &aside).or_else(|_no_links| fs::copy(database, &aside).map(drop)).map_err(doing())?;
        for end in ["-wal", "-shm"] {
            let log = with_end(database, end);
            if log.exists() {
                fs::rename(&log, with_end(&aside, end)).map_err(doing())?;
            }
        }
        set_aside = Some(aside);
    }
    // One rename: the database is the earlier one or this one.
    fs::rename(&staged.path, database).map_err(doing())?;
    sync(database)?;
    Ok(set_aside)
}

/// Folds the log of a database into it: without its log, it would be an older one if this command were killed midway.
///
/// One that cannot be read at all has nothing to fold; its log goes aside with it.
fn fold(database: &Path) -> Result<(), StoreError> {
    let Ok(mut conn) = open(database) else { return Ok(()) };
    if tables(&mut conn).is_err() {
        return Ok(());
    }
    let folded: Folded = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)")
        .get_result(&mut conn)
        .map_err(|error| Failure::from(error).doing("setting the present database aside"))?;
    if folded.busy == 0 { Ok(()) } else { Err(unavailable("setting the present database aside", "somebody uses it")) }
}

#[derive(QueryableByName)]
struct Folded {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    busy: i32,
}

fn aside(database: &Path, stamp: &str) -> PathBuf {
    with_end(database, &format!(".before-restore-{stamp}"))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They say something about the database or about processes, and nothing about an instance.
    const APART: [&str; 3] = ["holdfast_meta", "holdfast_node", "__diesel_schema_migrations"];

    #[test]
    fn every_table_is_taken_along_or_known_to_stand_apart() {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        migrations::migrate(&mut conn).unwrap();
        conn.batch_execute("ATTACH DATABASE ':memory:' AS staged").unwrap();
        let taken: Vec<String> = of_instances(&mut conn).unwrap().into_iter().map(|table| table.name).collect();
        for table in tables(&mut conn).unwrap() {
            let known = taken.contains(&quoted(&table)) || APART.contains(&table.as_str());
            assert!(known, "{table} has no reference to Instance: say what a restore does with its rows");
        }
    }
}
