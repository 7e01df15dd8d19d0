//! One connection to the file, set up so that what is committed stays.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::AsyncConnection as _;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;

use crate::ports::store::StoreError;
use crate::store::failure::{driver, unavailable};

/// A connection whose work is done on the runtime's blocking threads, one whole job at a time.
pub(super) type Connection = SyncConnectionWrapper<SqliteConnection>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// `synchronous=FULL`: a power loss must not bring a used message key back, so each commit waits for the disk.
const SETUP: &str = "\
    PRAGMA busy_timeout = 2000;\
    PRAGMA journal_mode = WAL;\
    PRAGMA synchronous = FULL;\
    PRAGMA fullfsync = ON;\
    PRAGMA checkpoint_fullfsync = ON;\
    PRAGMA foreign_keys = ON;\
    PRAGMA temp_store = MEMORY;\
    PRAGMA journal_size_limit = 67108864;";

/// Finds the file that a URL names.
pub(super) fn path_of(url: &str) -> Result<String, StoreError> {
    let refuse = |why: &str| Err(unavailable("opening the database", why));
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    if path.contains("://") {
        return refuse("only SQLite and PostgreSQL are supported: the URL begins with sqlite:// or postgresql://");
    }
    if path.is_empty() || path.contains(":memory:") {
        return refuse("the URL names no file");
    }
    Ok(path.to_owned())
}

/// Creates the file if it is missing, readable by its owner only: tokens are in it.
pub(super) fn create(path: &str) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| unavailable("creating the database file", error))
}

/// Opens an existing file.
pub(super) async fn connect(path: &str, role: Role) -> Result<Connection, StoreError> {
    const DOING: &str = "opening the database";
    // SQLite would create a missing file, and an empty database must never pass for the one that was there.
    if !Path::new(path).exists() {
        return Err(unavailable(DOING, "its file is gone"));
    }
    let mut connection = Connection::establish(path).await.map_err(|error| unavailable(DOING, error))?;
    let mode =
        connection.spawn_blocking(move |conn| set_up(conn, role)).await.map_err(|error| driver(DOING, &error))?;
    if mode != "wal" {
        return Err(unavailable(
            DOING,
            "the file system cannot share memory between connections, which the write-ahead log needs",
        ));
    }
    Ok(connection)
}

/// Closes a connection. That may write and wait for the disk, so it has a blocking thread to itself.
pub(super) async fn disconnect(connection: Connection) {
    if let Err(error) = tokio::task::spawn_blocking(move || drop(connection)).await {
        tracing::warn!(%error, "Closing a database connection failed");
    }
}

fn set_up(conn: &mut SqliteConnection, role: Role) -> QueryResult<String> {
    conn.batch_execute(SETUP)?;
    if role == Role::Reader {
        conn.batch_execute("PRAGMA query_only = ON")?;
    }
    diesel::dsl::sql::<Text>("PRAGMA journal_mode").get_result(conn)
}

#[cfg(test)]
mod tests {
    use diesel::sql_types::BigInt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn each_connection_waits_for_the_disk_and_checks_references() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db").display().to_string();
        assert!(connect(&path, Role::Writer).await.is_err(), "a missing file is not created in passing");
        create(&path).unwrap();
        for (role, query_only) in [(Role::Writer, 0), (Role::Reader, 1)] {
            let mut connection = connect(&path, role).await.unwrap();
            let pragma = |name: &'static str| {
                connection.spawn_blocking(move |conn| {
                    diesel::dsl::sql::<BigInt>(&format!("PRAGMA {name}")).get_result::<i64>(conn)
                })
            };
            let mut pragma = pragma;
            assert_eq!(pragma("synchronous").await.unwrap(), 2);
            assert_eq!(pragma("foreign_keys").await.unwrap(), 1);
            assert_eq!(pragma("query_only").await.unwrap(), query_only);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        create(&path.display().to_string()).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_url_names_a_file_or_is_refused() {
        assert_eq!(path_of("sqlite:///data/a.db").unwrap(), "/data/a.db");
        assert_eq!(path_of("sqlite://./data/a.db").unwrap(), "./data/a.db");
        assert_eq!(path_of("data/a.db").unwrap(), "data/a.db");
        for refused in ["postgres://host/a", "mysql://host/a", "sqlite://:memory:", "sqlite://", ""] {
            assert!(path_of(refused).is_err(), "{refused}");
        }
    }
}
