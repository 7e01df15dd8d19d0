//! The migrations, compiled in.

use diesel::migration::{Migration, MigrationSource as _};
use diesel_migrations::MigrationHarness as _;

use super::dialect::MIGRATIONS;
use super::{Backend, Conn};
use crate::ports::store::StoreError;
use crate::store::failure::{unavailable, unreadable};

const DOING: &str = "migrating the database";

/// Brings the database to the newest shape.
///
/// # Errors
/// [`StoreError::Corrupt`] if a newer version has shaped it already: this one does not know what its columns mean.
pub(in crate::store) fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let known = known()?;
    let applied = conn.applied_migrations().map_err(|error| unavailable(DOING, error))?;
    if let Some(newer) = applied.iter().map(ToString::to_string).filter(|version| !known.contains(version)).max() {
        let said = format!(
            "a newer version of Holdfast has changed it (migration {newer}); run that version, or restore a backup that is older"
        );
        return Err(unreadable("the shape of the database", said));
    }
    conn.run_pending_migrations(MIGRATIONS).map(drop).map_err(|error| unavailable(DOING, error))
}

/// Returns the migrations that this build knows.
pub(in crate::store) fn known() -> Result<Vec<String>, StoreError> {
    let known: Vec<Box<dyn Migration<Backend>>> = MIGRATIONS.migrations().map_err(|error| unavailable(DOING, error))?;
    Ok(known.iter().map(|one| one.name().version().to_string()).collect())
}
