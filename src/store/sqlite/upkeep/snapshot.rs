//! One consistent copy of a database in use, and looking at such a copy.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::manifest::Summary;
use super::{BackupError, rotation};
use crate::ports::store::StoreError;
use crate::store::cipher::Cipher;
use crate::store::failure::{Failure, unavailable};

/// A folder beside the database for what must not lie anywhere else; emptied at the beginning and removed at the end.
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    /// Returns where the folder of a database is.
    pub fn of(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(".upkeep");
        PathBuf::from(name)
    }

    /// Makes it, without what a killed command has left there.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn make(database: &Path) -> Result<Self, BackupError> {
        let path = Self::of(database);
        let doing = || BackupError::files(format!("the folder {} cannot be made", path.display()));
        match fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(doing()(error)),
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(doing())?;
        Ok(Self(path))
    }

    /// Returns a path in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "The folder {} could not be removed; the next command does it", self.0.display());
        }
    }
}

/// Opens an existing database on a connection of its own.
pub(super) fn open(path: &Path) -> Result<SqliteConnection, StoreError> {
    const DOING: &str = "opening the database";
    // SQLite would create a missing file.
    if !path.exists() {
        return Err(unavailable(DOING, "there is no such file"));
    }
    let mut conn =
        SqliteConnection::establish(&path.display().to_string()).map_err(|error| unavailable(DOING, error))?;
    conn.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON;")
        .map_err(|error| unavailable(DOING, error))?;
    Ok(conn)
}

/// Copies a database, as it is at one moment, while others write to it.
pub(super) fn copy(conn: &mut SqliteConnection, into: &Path) -> Result<(), BackupError> {
    let doing = || BackupError::files("the database cannot be copied");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(into).map_err(doing())?;
    diesel::sql_query("VACUUM INTO ?")
        .bind::<Text, _>(into.display().to_string())
        .execute(conn)
        .map_err(|error| Failure::from(error).doing("copying the database"))?;
    Ok(())
}

/// Writes what is kept of a file and of its name to the disk.
pub(super) fn sync(file: &Path) -> Result<(), BackupError> {
    let doing = || BackupError::files(format!("{} cannot be written to the disk", file.display()));
    let synced = |path: &Path| fs::File::open(path).and_then(|file| file.sync_all());
    synced(file).map_err(doing())?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => synced(folder).map_err(doing()),
        _ => synced(Path::new(".")).map_err(doing()),
    }
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Revisions {
    #[diesel(sql_type = BigInt)]
    paired: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    lowest: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    highest: Option<i64>,
}

/// Looks over a whole database: its pages, its rows, its values.
pub(super) fn look(conn: &mut SqliteConnection, cipher: &Cipher) -> Result<Summary, Failure> {
    let said: Vec<Name> = diesel::sql_query("SELECT integrity_check AS name FROM pragma_integrity_check").load(conn)?;
    if said.iter().any(|line| line.name != "ok") {
        let lines: Vec<&str> = said.iter().map(|line| line.name.as_str()).take(3).collect();
        return Err(crate::store::failure::unreadable("the database", lines.join("; ")).into());
    }
    let mut summary = Summary::default();
    for table in tables(conn)? {
        let quoted = table.replace('"', "\"\"");
        let count: Count = diesel::sql_query(format!("SELECT count(*) AS count FROM \"{quoted}\"")).get_result(conn)?;
        summary.rows.insert(table, count.count as u64);
    }
    let sessions: Revisions = diesel::sql_query(
        "SELECT count(*) FILTER (WHERE paired) AS paired, min(revision) AS lowest, max(revision) AS highest \
         FROM holdfast_session",
    )
    .get_result(conn)?;
    summary.paired = sessions.paired as u64;
    summary.revisions = (sessions.lowest.unwrap_or(0), sessions.highest.unwrap_or(0));
    summary.unreadable = rotation::under_current(conn, cipher, false)?.unreadable;
    Ok(summary)
}

/// Returns the names of all tables, without SQLite's own.
pub(super) fn tables(conn: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    let names: Vec<Name> = diesel::sql_query(
        r"SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name",
    )
    .load(conn)?;
    Ok(names.into_iter().map(|table| table.name).collect())
}
