//! Runs every check and every test, group by group, and says at the end how long each took.

pub mod report;
pub mod suite;
pub mod workshop;

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use crate::tree::Tree;
use crate::{bench, deps, tidy};
use report::{Outcome, Report};
use suite::TestRun;
use workshop::Workshop;

/// The feature set that clippy, the test binaries and the tests share, so that nothing is compiled twice for want of a flag.
pub const FEATURES: &[&str] = &["--workspace", "--features", "holdfast/simulator"];

type Step = fn(&Workshop) -> anyhow::Result<Outcome>;

/// The groups before the tests: what is cheap and fails often comes first.
const GROUPS: &[(&str, Step)] = &[
    ("format", format),
    ("tidy", tidy),
    ("versions", versions),
    ("licences and advisories", deny),
    ("clippy", clippy),
    ("build: default binary", default_binary),
    ("build: simulator and tests", test_binaries),
    ("benches, for a moment", bench::short),
    ("documentation", documentation),
    ("doc tests", doc_tests),
];

/// Runs all groups until one fails, prints the table, and says whether all passed.
///
/// `began` is when the caller's own preparations began, in seconds since 1970; they become the first row.
pub fn run(workshop: &Workshop, began: Option<u64>) -> anyhow::Result<bool> {
    let mut report = Report::default();
    if let Some(began) = began {
        report.add("setup", since(began), Outcome::Passed);
    }
    for (name, step) in GROUPS {
        report.run(name, || step(workshop))?;
    }
    let mut tests = TestRun::default();
    report.run("tests", || {
        tests = suite::run(workshop, &[])?;
        Ok(if tests.passed { Outcome::Passed } else { Outcome::Failed })
    })?;
    say(&format!("\n{report}"))?;
    if let Some(group) = report.first_failure() {
        say(&format!("failed: {group}\n"))?;
    }
    // The runner's own last words, with the count of tests, come last.
    if tests.any() {
        say(&format!("{}\n{}", tests.by_suite(), tests.closing()))?;
    }
    Ok(report.passed())
}

#[expect(clippy::disallowed_methods, reason = "the caller's start is known by the wall clock alone")]
fn since(began: u64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(began))
}

/// Runs a step and measures it.
#[expect(clippy::disallowed_methods, reason = "measuring real time is what this is for")]
pub(crate) fn timed<T>(step: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = step();
    (result, start.elapsed())
}

/// Writes a line for people.
#[expect(clippy::print_stdout, reason = "a command line tool answers on its standard output")]
pub fn say(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    println!("{text}");
    std::io::stdout().flush().context("standard output is closed")
}

fn format(workshop: &Workshop) -> anyhow::Result<Outcome> {
    workshop.cargo(&["fmt", "--all", "--check"])
}

/// Prints what tidy finds.
pub fn tidy(workshop: &Workshop) -> anyhow::Result<Outcome> {
    judge(&tidy::check(&Tree::load(&workshop.root)?))
}

/// Prints which crates are resolved more than once.
pub fn versions(workshop: &Workshop) -> anyhow::Result<Outcome> {
    judge(&deps::check(&workshop.root)?)
}

fn judge<T: ToString>(findings: &[T]) -> anyhow::Result<Outcome> {
    for finding in findings {
        say(&finding.to_string())?;
    }
    Ok(if findings.is_empty() { Outcome::Passed } else { Outcome::Failed })
}

fn deny(workshop: &Workshop) -> anyhow::Result<Outcome> {
    if !workshop.has_command("deny") {
        return Ok(Outcome::Skipped("cargo-deny is not installed"));
    }
    workshop.cargo(&["deny", "--workspace", "check"])
}

fn clippy(workshop: &Workshop) -> anyhow::Result<Outcome> {
    workshop.cargo(&[&["clippy", "--all-targets"], FEATURES, &["--", "-D", "warnings"]].concat())
}

/// Builds the service as users get it, without the feature `simulator`, and puts it where no other build replaces it.
///
/// The tests' dependencies have features of their own (tokio's pausable clock). Asking for one small test beside the
/// binary gives this build the same ones, so that all but the protocol crates are compiled once for both binaries.
pub fn default_binary(workshop: &Workshop) -> anyhow::Result<Outcome> {
    let built = workshop.cargo(&["build", "--workspace", "--bin", "holdfast", "--test", "repository"])?;
    if built == Outcome::Passed {
        workshop.keep_default_binary()?;
    }
    Ok(built)
}

/// Builds the service with the feature `simulator`, the simulator, and all test binaries, in one go.
pub fn test_binaries(workshop: &Workshop) -> anyhow::Result<Outcome> {
    workshop.cargo(&[&["build", "--bins", "--tests"], FEATURES].concat())
}

/// Builds the pages of every item, private ones included: a link that leads nowhere fails.
fn documentation(workshop: &Workshop) -> anyhow::Result<Outcome> {
    let arguments = [&["doc", "--no-deps", "--document-private-items"], FEATURES].concat();
    let status = workshop.command(&arguments).env("RUSTDOCFLAGS", "-D warnings").status()?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

fn doc_tests(workshop: &Workshop) -> anyhow::Result<Outcome> {
    workshop.cargo(&[&["test", "--doc"], FEATURES].concat())
}
