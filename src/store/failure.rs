//! Driver errors as the port's errors, in words that nobody misreads.

use diesel::result::Error as DieselError;

use super::cipher::{CipherError, Place};
use crate::ports::store::StoreError;

/// Why an operation inside a transaction did not succeed: what the port says, or what the driver says.
#[derive(Debug)]
pub(super) enum Failure {
    /// The port's own error.
    Store(StoreError),
    /// The driver's error.
    Driver(DieselError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        Self::Driver(error)
    }
}

impl From<CipherError> for Failure {
    fn from(error: CipherError) -> Self {
        Self::Store(StoreError::Unavailable { doing: "encrypting a value", cause: error.into() })
    }
}

impl Failure {
    /// Says what was being done.
    pub(super) fn doing(self, doing: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Driver(error) => driver(doing, &error),
        }
    }
}

/// What a driver said, with the words removed on which the protocol crate would retry for ever.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Said(String);

impl Said {
    pub(super) fn new(text: impl std::fmt::Display) -> Self {
        Self(reword(&text.to_string()))
    }
}

/// Says that the database did not do something.
pub(super) fn unavailable(doing: &'static str, said: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { doing, cause: Box::new(Said::new(said)) }
}

/// Says that a stored value does not open.
pub(super) fn corrupt(place: Place<'_>, error: CipherError) -> StoreError {
    StoreError::Corrupt { what: place.describe(), cause: error.into() }
}

/// Says that a column cannot be understood.
pub(super) fn unreadable(what: impl Into<String>, said: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: what.into(), cause: Box::new(Said::new(said)) }
}

/// Names a driver's error.
pub(super) fn driver(doing: &'static str, error: &DieselError) -> StoreError {
    let text = error.to_string();
    // SQLite's own words for a damaged file; the driver hands on no code.
    let damaged = text.contains("malformed") || text.contains("is not a database");
    if damaged || matches!(error, DieselError::DeserializationError(_)) {
        return unreadable(format!("the database, while {doing}"), text);
    }
    unavailable(doing, text)
}

/// Tells an error with its cause, in one line.
pub(super) fn told(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn reword(text: &str) -> String {
    let mut reworded = text.to_owned();
    for (word, instead) in [("locked", "held by another connection"), ("busy", "occupied")] {
        while let Some(at) = reworded.to_ascii_lowercase().find(word) {
            reworded.replace_range(at..at + word.len(), instead);
        }
    }
    reworded
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use diesel::result::DatabaseErrorKind;

    use super::*;

    fn chain(error: &dyn Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error} ({error:?})");
            cause = error.source();
        }
        text
    }

    fn sqlite_says(text: &str) -> DieselError {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned()))
    }

    #[test]
    fn no_error_contains_the_words_on_which_the_protocol_crate_retries() {
        for text in ["database is locked", "database table is LOCKED: Session", "SQLITE_BUSY: busy, Busy", "unlocked"] {
            let said = chain(&Failure::from(sqlite_says(text)).doing("writing")).to_lowercase();
            assert!(!said.contains("locked") && !said.contains("busy"), "{said}");
            assert!(said.contains("while") || said.contains("writing"), "{said}");
        }
    }

    #[test]
    fn a_damaged_file_is_corrupt_and_a_full_disk_is_not() {
        for damaged in ["database disk image is malformed", "file is not a database"] {
            assert!(matches!(driver("reading", &sqlite_says(damaged)), StoreError::Corrupt { .. }));
        }
        for passing in
            ["database or disk is full", "disk I/O error", "database is locked", "unable to open database file"]
        {
            assert!(matches!(driver("writing", &sqlite_says(passing)), StoreError::Unavailable { .. }));
        }
    }
}
