//! Runs the tests with cargo-nextest where it is installed, with `cargo test` elsewhere, and listens to what they say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::Context;

use super::report::clock;
use super::workshop::Workshop;
use super::{FEATURES, say};

/// What a run of the tests came to.
#[derive(Debug, Default)]
pub struct TestRun {
    pub passed: bool,
    suites: BTreeMap<String, Tally>,
    /// The runner's summary, kept back so that it can be the last thing printed.
    summary: Vec<String>,
    /// The binary whose tests `cargo test` is running.
    current: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    seconds: f64,
}

/// Runs the tests that match the given arguments of the runner, or all.
pub fn run(workshop: &Workshop, arguments: &[&str]) -> anyhow::Result<TestRun> {
    let nextest = workshop.has_command("nextest");
    let runner: &[&str] = if nextest {
        &["nextest", "run", "--no-fail-fast", "--color", "never"]
    } else {
        &["test", "--no-fail-fast", "--lib", "--bins", "--tests"]
    };
    let (reader, writer) = std::io::pipe()?;
    let mut command = workshop.command(&[runner, FEATURES, arguments].concat());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cargo could not be started")?;
    drop(command); // it holds the other end of the pipe
    let mut run = TestRun::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        if let Some(line) = run.hear(String::from_utf8_lossy(&line).trim_end_matches('\r')) {
            say(line)?;
        }
    }
    run.passed = child.wait()?.success();
    Ok(run)
}

impl TestRun {
    /// Takes in one line of the runner; what is not kept back comes out again.
    fn hear<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if !self.summary.is_empty() || line.trim_start().starts_with("Summary [") {
            self.summary.push(line.to_owned());
            return None;
        }
        if let Some((suite, passed, seconds)) = nextest_result(line) {
            let tally = self.suites.entry(suite).or_default();
            tally.seconds += seconds;
            *(if passed { &mut tally.passed } else { &mut tally.failed }) += 1;
        } else if let Some(name) = cargo_test_binary(line) {
            self.current = suite_of(&name, "");
        } else if let Some(result) = cargo_test_result(line) {
            let tally = self.suites.entry(self.current.clone()).or_default();
            tally.passed += result.passed;
            tally.failed += result.failed;
            tally.ignored += result.ignored;
            tally.seconds += result.seconds;
        }
        Some(line)
    }

    /// Tells whether the runner came as far as a test.
    pub fn any(&self) -> bool {
        !self.suites.is_empty()
    }

    /// A table of the suites. Tests run side by side, so their times add up to more than the group took.
    pub fn by_suite(&self) -> String {
        let mut table = format!("{:<32} {:>10} {:>7}\n", "tests of", "added up", "count");
        for (name, tally) in &self.suites {
            let time = clock(Duration::try_from_secs_f64(tally.seconds).unwrap_or_default());
            let _ = writeln!(table, "{name:<32} {time:>10} {:>7}", tally.passed + tally.failed);
        }
        table
    }

    /// The closing lines: nextest's own, or the sum of what `cargo test` said of each binary.
    pub fn closing(&self) -> String {
        if !self.summary.is_empty() {
            return self.summary.join("\n").trim_end().to_owned();
        }
        let sum = |count: fn(&Tally) -> usize| self.suites.values().map(count).sum::<usize>();
        let (passed, failed) = (sum(|tally| tally.passed), sum(|tally| tally.failed));
        format!(
            "{} tests run: {passed} passed, {failed} failed, {} ignored",
            passed + failed,
            sum(|tally| tally.ignored)
        )
    }
}

/// Reads `PASS [   0.004s] ( 1/30) holdfast-core backoff::tests::name`.
fn nextest_result(line: &str) -> Option<(String, bool, f64)> {
    let (word, rest) = line.trim_start().split_once(" [")?;
    let passed = match word {
        "PASS" | "LEAK" | "FLAKY" => true,
        "FAIL" | "TIMEOUT" | "ABORT" | "LEAK-FAIL" | "SIGSEGV" | "SIGABRT" | "SIGKILL" => false,
        _ => return None,
    };
    let (time, rest) = rest.split_once(']')?;
    let seconds = time.trim().trim_end_matches('s').parse().ok()?;
    let rest = rest.trim_start();
    let rest = if rest.starts_with('(') { rest.split_once(')')?.1.trim_start() } else { rest };
    let (binary, test) = rest.split_once(' ')?;
    Some((suite_of(binary, test), passed, seconds))
}

/// Reads `Running unittests src/lib.rs (target/debug/deps/holdfast_core-0123456789abcdef)`.
fn cargo_test_binary(line: &str) -> Option<String> {
    let (_, path) = line.trim_start().strip_prefix("Running ")?.split_once('(')?;
    let (_, file) = path.strip_suffix(')')?.rsplit_once('/')?;
    Some(file.rsplit_once('-')?.0.replace('_', "-"))
}

/// Reads `test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.03s`.
fn cargo_test_result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split("; ") {
        let mut words = part.split(' ');
        match (words.next()?, words.next()?) {
            ("finished", _) => tally.seconds = words.next()?.trim_end_matches('s').parse().ok()?,
            (count, "passed") => tally.passed = count.parse().ok()?,
            (count, "failed") => tally.failed = count.parse().ok()?,
            (count, "ignored") => tally.ignored = count.parse().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

/// The name people know a test binary by; the service's integration tests are told apart by their first module.
fn suite_of(binary: &str, test: &str) -> String {
    let (package, target) = binary.split_once("::").unwrap_or((binary, ""));
    match (package, target) {
        ("holdfast-core", _) => "core".to_owned(),
        ("holdfast-sim", _) => "simulator".to_owned(),
        ("xtask" | "repository", _) => "xtask".to_owned(),
        ("holdfast", "it") => format!("service: {}", test.split("::").next().unwrap_or(test)),
        ("it", _) => "service".to_owned(),
        ("holdfast", _) => "units and actors".to_owned(),
        _ => binary.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &str) -> (TestRun, Vec<String>) {
        let mut run = TestRun::default();
        let shown = lines.lines().filter_map(|line| run.hear(line).map(str::to_owned)).collect();
        (run, shown)
    }

    #[test]
    fn nextest_is_read_by_suite_and_its_summary_is_kept_for_the_end() {
        let (run, shown) = heard(
            "        PASS [   0.004s] (  1/4) holdfast-core backoff::tests::capped
        PASS [   0.500s] (  2/4) holdfast::it pairing::a_scan_opens
        SLOW [> 30.000s] (   ?/4) holdfast::it pairing::slow
        FAIL [   1.500s] (  3/4) holdfast::it pairing::a_refusal_closes
        PASS [   0.002s] xtask lexer::tests::words
────────────
     Summary [   1.502s] 4 tests run: 3 passed, 1 failed, 0 skipped
        FAIL [   1.500s] (  3/4) holdfast::it pairing::a_refusal_closes
error: test run failed",
        );
        assert_eq!(shown.len(), 6);
        assert_eq!(run.closing().lines().count(), 3);
        assert!(run.closing().trim_start().starts_with("Summary [   1.502s] 4 tests run"));
        assert_eq!(run.suites["service: pairing"], Tally { passed: 1, failed: 1, ignored: 0, seconds: 2.0 });
        assert_eq!(run.suites["core"].passed, 1);
        assert_eq!(run.suites["xtask"].passed, 1);
        assert!(run.by_suite().lines().any(|line| line.starts_with("service: pairing") && line.ends_with(" 2")));
    }

    #[test]
    fn cargo_test_is_read_by_binary_and_added_up() {
        let (run, shown) = heard(
            "     Running unittests src/lib.rs (target/debug/deps/holdfast_core-0123456789abcdef)
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.03s
     Running tests/it/main.rs (target/debug/deps/it-0123456789abcdef)
test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 4.00s",
        );
        assert_eq!(shown.len(), 4);
        assert_eq!(run.suites["core"], Tally { passed: 5, failed: 0, ignored: 1, seconds: 0.03 });
        assert_eq!(run.closing(), "14 tests run: 12 passed, 2 failed, 1 ignored");
    }
}
