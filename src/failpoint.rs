//! Named points at which a test ends or disturbs the real process.
//!
//! A point is one line where something has just become true, or is about to: `reach!("store.commit.before")`. A default build
//! compiles it to nothing. A build with the feature `simulator` reads orders from the file that `HOLDFAST_FAILPOINTS` names, at the
//! start and whenever there is such a file again, and removes the file when they are in force. An order is a line:
//!
//! | line | what happens |
//! |---|---|
//! | `store.commit.before=kill` | the process sends itself SIGKILL at that point |
//! | `store.commit.before:3=kill` | when it comes there for the third time |
//! | `store.begin=5*return` | that operation of the database fails, five times |
//! | `store.begin=1*sleep(3000)` | it takes three seconds |
//! | `store.begin=off` | nothing any more |
//!
//! The points are listed in [`POINTS`] and [`FAULTS`]; what stands behind `=`, other than `kill`, is the language of the crate `fail`.
//! `RUST_LOG=holdfast::failpoint=trace` logs each point that is reached.

mod points;

use std::fmt::Arguments;

pub use self::points::{FAULTS, POINTS};

/// Marks a point. What comes before the call has happened when a test ends the process here, what comes after has not.
macro_rules! reach {
    ($($name:tt)+) => {
        if cfg!(feature = "simulator") {
            $crate::failpoint::reached(format_args!($($name)+));
        }
    };
}
pub(crate) use reach;

/// Comes to a point.
#[cfg(feature = "simulator")]
pub(crate) fn reached(point: Arguments<'_>) {
    let point = point.to_string();
    tracing::trace!(point, "Reached {point}");
    fail::fail_point!(point.as_str());
}

/// Comes to a point, of which a default build takes no notice.
#[cfg(not(feature = "simulator"))]
pub(crate) fn reached(_point: Arguments<'_>) {}

/// Tells whether a test wants the operation to fail that is about to begin.
#[cfg(feature = "simulator")]
pub(crate) fn fails(fault: &str) -> bool {
    fail::fail_point!(fault, |_| true);
    false
}

/// Tells whether a test wants an operation to fail; no test does in a default build.
#[cfg(not(feature = "simulator"))]
pub(crate) fn fails(_fault: &str) -> bool {
    false
}

/// Begins to obey orders, in a build for tests whose test has named a file for them.
pub(crate) fn obey() {
    #[cfg(feature = "simulator")]
    orders::obey();
}

#[cfg(feature = "simulator")]
mod orders {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use std::{env, fs, thread};

    use rustix::process::{Signal, getpid, kill_process};

    const FILE: &str = "HOLDFAST_FAILPOINTS";
    const LOOK_AGAIN: Duration = Duration::from_millis(2);

    pub(super) fn obey() {
        let Some(file) = env::var_os(FILE).map(PathBuf::from) else { return };
        take(&file);
        let looking = thread::Builder::new().name("failpoints".to_owned());
        let looks = looking.spawn(move || {
            loop {
                #[expect(clippy::disallowed_methods, reason = "a thread of its own, in builds for tests")]
                thread::sleep(LOOK_AGAIN);
                take(&file);
            }
        });
        if let Err(error) = looks {
            tracing::error!(%error, "Nobody looks for orders to the fail points");
        }
    }

    /// Puts the orders of a file into force; that it is gone tells its writer so.
    fn take(file: &Path) {
        let Ok(text) = fs::read_to_string(file) else { return };
        for line in text.lines() {
            if let Err(why) = order(line) {
                tracing::error!("An order to the fail points cannot be obeyed: {line:?}: {why}");
            }
        }
        if let Err(error) = fs::remove_file(file) {
            tracing::error!(%error, "The orders to the fail points cannot be removed");
        }
    }

    fn order(line: &str) -> Result<(), String> {
        let (point, action) = line.split_once('=').ok_or("there is no '=' in it")?;
        if action != "kill" {
            return fail::cfg(point, action);
        }
        let (point, times) = match point.split_once(':') {
            Some((point, times)) => (point, times.parse().map_err(|_no_number| "the count is no number")?),
            None => (point, 1),
        };
        let reached = AtomicU64::new(0);
        fail::cfg_callback(point, move || {
            if reached.fetch_add(1, Ordering::AcqRel) + 1 == times {
                die();
            }
        })
    }

    /// Ends the process as a power cut would, at once and for all threads.
    fn die() {
        // The signal reaches the process before the call returns.
        if let Err(error) = kill_process(getpid(), Signal::KILL) {
            tracing::error!(%error, "The process could not be killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use super::*;

    #[test]
    fn the_table_and_the_sources_name_the_same_points() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let marked: BTreeSet<String> = quoted(&sources, "reach!(");
        let mut faults: BTreeSet<String> = quoted(&sources, "fails(");
        faults.extend(quoted(&sources, "keystone("));
        assert_eq!(faults, FAULTS.iter().map(|fault| (*fault).to_owned()).collect());

        for point in POINTS {
            let marks = marked.iter().filter(|mark| names(mark, point)).count();
            assert_eq!(marks, 1, "{point} is in the table, and in the sources {marks} times");
        }
        for mark in &marked {
            assert!(POINTS.iter().any(|point| names(mark, point)), "{mark} is in the sources, but not in the table");
        }
        let distinct: BTreeSet<_> = POINTS.iter().collect();
        assert_eq!(distinct.len(), POINTS.len(), "a point is in the table twice");
    }

    /// All text under a folder, but for this file's own examples.
    fn sources(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        let rust = files
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("failpoint.rs"));
        let here = rust.map(|path| fs::read_to_string(path).unwrap());
        here.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
    }

    /// The text literals with which such calls begin.
    fn quoted(sources: &[String], call: &str) -> BTreeSet<String> {
        let calls = sources.iter().flat_map(|text| text.split(call).skip(1));
        calls.filter_map(|after| after.strip_prefix('"')?.split('"').next()).map(ToOwned::to_owned).collect()
    }

    /// Tells whether a mark, in which `{}` stands for any word, means this point.
    fn names(mark: &str, point: &str) -> bool {
        let (mark, point): (Vec<&str>, Vec<&str>) = (mark.split('.').collect(), point.split('.').collect());
        mark.len() == point.len() && mark.iter().zip(&point).all(|(mark, point)| mark.starts_with('{') || mark == point)
    }
}
