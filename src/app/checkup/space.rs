//! Room on the disks that are written to.

use std::fs;
use std::path::Path;

use rustix::fs::statvfs;

use crate::config::{Problem, Severity};

/// With less the database cannot go on for long.
const LITTLE_SPACE: u64 = 512 * 1024 * 1024;
/// With less it cannot be opened safely.
const NO_SPACE: u64 = 16 * 1024 * 1024;

/// Looks at the disk under the data directory, or under where it would be.
pub(super) fn data_dir(path: &Path) -> Vec<Problem> {
    let found =
        |severity, code, sentence: String, fix: &str| vec![Problem::new(severity, code, "DATA_DIR", sentence, fix)];
    match look(path) {
        Space::ReadOnly(why) => found(
            Severity::Error,
            "live-disk-read-only",
            why,
            "let the user of the service write there, or set DATA_DIR to another directory",
        ),
        Space::Little { free, sentence } => found(
            if free < NO_SPACE { Severity::Error } else { Severity::Warning },
            "live-disk-full",
            sentence,
            "make room, or set DATA_DIR to a larger disk: with a full disk links are closed, and messages wait at WhatsApp",
        ),
        Space::Unknown(why) => found(Severity::Warning, "live-disk-unknown", why, "look at it by hand"),
        Space::Enough => Vec::new(),
    }
}

/// Looks at the disk under the directory for copies. Without it the engine goes on.
pub(super) fn provider_dir(path: &Path) -> Vec<Problem> {
    let found =
        |code, sentence: String, fix: &str| vec![Problem::new(Severity::Warning, code, "PROVIDER_DIR", sentence, fix)];
    match look(path) {
        Space::ReadOnly(why) => found(
            "live-provider-dir-read-only",
            why,
            "let the user of the service write there, or set PROVIDER_DIR to another directory: no copies are kept meanwhile",
        ),
        Space::Little { sentence, .. } => {
            found("live-provider-dir-full", sentence, "make room, or set PROVIDER_DIR to a larger disk")
        }
        Space::Unknown(why) => found("live-disk-unknown", why, "look at it by hand"),
        Space::Enough => Vec::new(),
    }
}

enum Space {
    Enough,
    Little { free: u64, sentence: String },
    ReadOnly(String),
    Unknown(String),
}

/// Tries a directory, or where it would be.
fn look(path: &Path) -> Space {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."));
    let shown = there.display();
    if let Err(error) = writable(there) {
        return Space::ReadOnly(format!("{shown} cannot be written: {error}"));
    }
    match statvfs(there).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)) {
        Ok(free) if free < LITTLE_SPACE => {
            let sentence = format!("only {} MiB are free on the disk of {shown}", free / (1024 * 1024));
            Space::Little { free, sentence }
        }
        Ok(_) => Space::Enough,
        Err(error) => Space::Unknown(format!("how much is free on the disk of {shown} cannot be read: {error}")),
    }
}

fn writable(directory: &Path) -> std::io::Result<()> {
    let trial = directory.join(format!(".holdfast-check-{}", std::process::id()));
    fs::write(&trial, b"holdfast")?;
    fs::remove_file(&trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_where_it_would_be() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(
            data_dir(&home.path().join("a/b")).iter().map(|problem| problem.severity).min(),
            data_dir(home.path()).iter().map(|problem| problem.severity).min()
        );
        assert!(!home.path().join("a").exists(), "nothing is made");
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(data_dir(&file.join("data"))[0].code, "live-disk-read-only");
        assert_eq!(provider_dir(&file.join("data"))[0].code, "live-provider-dir-read-only");
    }
}
