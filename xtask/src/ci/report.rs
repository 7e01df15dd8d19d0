//! The groups that ran, how they ended, how long they took.

use std::fmt;
use std::time::Duration;

use super::{say, timed};

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped(&'static str),
    /// An earlier group failed.
    NotRun,
}

/// One row for each group, in the order they ran.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(String, Duration, Outcome)>,
}

impl Report {
    /// Runs a group, unless one before it failed. A group that cannot run at all has failed, and says why.
    pub fn run(&mut self, name: &str, group: impl FnOnce() -> anyhow::Result<Outcome>) -> anyhow::Result<()> {
        if !self.passed() {
            self.add(name, Duration::ZERO, Outcome::NotRun);
            return Ok(());
        }
        say(&format!("\n== {name}"))?;
        let (outcome, took) = timed(group);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                say(&format!("{error:#}"))?;
                Outcome::Failed
            }
        };
        self.add(name, took, outcome);
        Ok(())
    }

    /// Adds a group that was measured elsewhere.
    pub fn add(&mut self, name: &str, took: Duration, outcome: Outcome) {
        self.rows.push((name.to_owned(), took, outcome));
    }

    /// Tells whether no group failed so far.
    pub fn passed(&self) -> bool {
        self.first_failure().is_none()
    }

    /// Names the group after which nothing ran.
    pub fn first_failure(&self) -> Option<&str> {
        let failed = self.rows.iter().find(|(_, _, outcome)| *outcome == Outcome::Failed);
        failed.map(|(name, _, _)| name.as_str())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32} {:>10}  result", "group", "time")?;
        for (name, took, outcome) in &self.rows {
            let result = match outcome {
                Outcome::Passed => "ok".to_owned(),
                Outcome::Failed => "FAILED".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
                Outcome::NotRun => "not run".to_owned(),
            };
            writeln!(f, "{name:<32} {:>10}  {result}", clock(*took))?;
        }
        let total = self.rows.iter().map(|(_, took, _)| *took).sum();
        writeln!(f, "{:<32} {:>10}", "all", clock(total))
    }
}

/// Writes a duration as people read it off a clock.
pub fn clock(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} m {:02} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stops_the_rest_and_the_table_still_has_every_row() {
        let mut report = Report::default();
        report.add("setup", Duration::from_millis(1_500), Outcome::Passed);
        report.run("deny", || Ok(Outcome::Skipped("not installed"))).unwrap();
        report.run("clippy", || Ok(Outcome::Failed)).unwrap();
        report.run("tests", || panic!("must not run")).unwrap();
        assert!(!report.passed());
        assert_eq!(report.first_failure(), Some("clippy"));
        let table = report.to_string();
        let found: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(found[1], "setup 1.5 s ok");
        assert_eq!(found[2], "deny 0.0 s skipped: not installed");
        assert!(found[3].starts_with("clippy") && found[3].ends_with("FAILED"));
        assert_eq!(found[4], "tests 0.0 s not run");
    }

    #[test]
    fn a_group_that_cannot_run_has_failed() {
        let mut report = Report::default();
        report.run("versions", || anyhow::bail!("no cargo")).unwrap();
        assert!(!report.passed());
    }

    #[test]
    fn times_read_like_a_clock() {
        assert_eq!(clock(Duration::from_millis(340)), "0.3 s");
        assert_eq!(clock(Duration::from_secs(432)), "7 m 12 s");
    }
}
