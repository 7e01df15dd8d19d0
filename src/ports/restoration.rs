//! How the instances came back at this start: written by whoever restores them, for everybody to read and nobody to wait for.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use holdfast_core::id::InstanceId;
use holdfast_core::restoration::{Decision, Source};
use holdfast_core::time::Timestamp;

/// How far the restoration is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The places are asked what they hold.
    #[default]
    Asking,
    /// The database does not answer; nothing dials until it does.
    AwaitingDatabase,
    /// Copies are written into the database.
    Adopting,
    /// The instances connect.
    Dialling,
    /// Each is open, or had its time.
    Over,
}

impl Stage {
    /// Returns the word for it, which is stable.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::AwaitingDatabase => "awaiting-database",
            Self::Adopting => "adopting",
            Self::Dialling => "dialling",
            Self::Over => "over",
        }
    }
}

/// What a place has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub source: Source,
    /// How long it took.
    pub took: Duration,
    /// How many instances it knows.
    pub instances: usize,
    /// Why it said nothing, or not all.
    pub problem: Option<String>,
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was to be done: there is no login.
    NoLogin,
    /// It waits for a place that said nothing, or until its copy is written into the database.
    Waiting,
    /// Another node has it.
    Elsewhere,
    /// What was decided could not be done.
    Refused { why: String },
    /// It is not to be connected: its operator wants it so.
    Resting,
    /// Its actor has it; how it does says the board.
    Dialling,
    /// It was open so long after the start.
    Open { after: Duration },
    /// It was not open in its time. If it is by now, so long after the start.
    Late { open_after: Option<Duration> },
}

impl Outcome {
    /// Tells whether what was decided is done, and the instance goes on here.
    fn goes_on(&self) -> bool {
        match self {
            Self::Resting | Self::Dialling | Self::Open { .. } | Self::Late { .. } => true,
            Self::NoLogin | Self::Waiting | Self::Elsewhere | Self::Refused { .. } => false,
        }
    }
}

/// What is told of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub name: Option<String>,
    pub decision: Decision,
    pub outcome: Outcome,
    /// Damaged copies, why each is one, and where it was put.
    pub damaged: Vec<Damaged>,
    /// In which order they connect: the first was online last.
    pub place: usize,
}

/// A damaged copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    pub source: Source,
    pub why: String,
    /// Where it was put for a person to look at.
    pub aside: Option<String>,
}

/// How many instances are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub instances: usize,
    /// Those with a login that are to be connected by this process.
    pub wanted: usize,
    pub open: usize,
    pub late: usize,
    pub waiting: usize,
    /// Those whose login was written anew into the database, from a copy or, with new keys, from its own.
    pub adopted: usize,
}

/// The report.
#[derive(Debug, Default)]
pub struct Restoration {
    written: RwLock<Report>,
}

/// What stands in it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub stage: Stage,
    /// When the process began to restore.
    pub since: Timestamp,
    /// When it was over.
    pub over: Option<Timestamp>,
    pub answered: Vec<Answered>,
    pub lines: BTreeMap<InstanceId, Line>,
}

impl Restoration {
    /// Reads the report as it is now.
    pub fn read(&self) -> Report {
        self.written.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whether an instance of this name waits: it is not on the board, and will be.
    pub fn awaits(&self, name: &str) -> bool {
        let report = self.written.read().unwrap_or_else(PoisonError::into_inner);
        report.lines.values().any(|line| line.outcome == Outcome::Waiting && line.name.as_deref() == Some(name))
    }

    /// Tells whether any instance waits.
    pub fn waits(&self) -> bool {
        let report = self.written.read().unwrap_or_else(PoisonError::into_inner);
        report.lines.values().any(|line| line.outcome == Outcome::Waiting)
    }

    /// Reads what became of an instance.
    pub fn outcome(&self, id: &InstanceId) -> Option<Outcome> {
        let report = self.written.read().unwrap_or_else(PoisonError::into_inner);
        report.lines.get(id).map(|line| line.outcome.clone())
    }

    /// Reads the line of an instance.
    pub fn line(&self, id: &InstanceId) -> Option<Line> {
        self.written.read().unwrap_or_else(PoisonError::into_inner).lines.get(id).cloned()
    }

    /// Counts, without a copy of the report.
    pub fn count(&self) -> (Stage, Count) {
        let report = self.written.read().unwrap_or_else(PoisonError::into_inner);
        (report.stage, report.count())
    }

    /// Changes the report.
    pub fn write<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.written.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the line of an instance, if there is one.
    pub fn amend(&self, id: &InstanceId, change: impl FnOnce(&mut Line)) {
        self.write(|report| report.lines.get_mut(id).map(change));
    }
}

impl Report {
    /// Counts the lines.
    pub fn count(&self) -> Count {
        let mut count = Count { instances: self.lines.len(), ..Count::default() };
        for line in self.lines.values() {
            let open = matches!(line.outcome, Outcome::Open { .. } | Outcome::Late { open_after: Some(_) });
            let late = matches!(line.outcome, Outcome::Late { open_after: None });
            count.open += usize::from(open);
            count.late += usize::from(late);
            count.wanted += usize::from(open || late || line.outcome == Outcome::Dialling);
            count.waiting += usize::from(line.outcome == Outcome::Waiting);
            count.adopted += usize::from(line.decision.action.writes() && line.outcome.goes_on());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::restoration::{Action, Verdict};

    use super::*;

    fn count(lines: &[(Action, Outcome)]) -> Count {
        let mut report = Report::default();
        for (place, (action, outcome)) in lines.iter().cloned().enumerate() {
            let decision = Decision {
                action,
                verdict: Verdict::Newest,
                source: None,
                mark: None,
                age: None,
                corrupt: Vec::new(),
                silent: Vec::new(),
                outdated: Vec::new(),
            };
            let line = Line { name: None, decision, outcome, damaged: Vec::new(), place };
            report.lines.insert(InstanceId::new(format!("i{place}")), line);
        }
        report.count()
    }

    #[test]
    fn whatever_was_written_anew_and_goes_on_counts_as_adopted() {
        let open = || Outcome::Open { after: Duration::ZERO };
        let late = || Outcome::Late { open_after: None };
        for action in [Action::Adopt, Action::Repair, Action::Renew] {
            for done in [open(), late(), Outcome::Dialling, Outcome::Resting] {
                assert_eq!(count(&[(action, done.clone())]).adopted, 1, "{action:?} {done:?}");
            }
            for not in [Outcome::Waiting, Outcome::Elsewhere, Outcome::Refused { why: String::new() }] {
                assert_eq!(count(&[(action, not.clone())]).adopted, 0, "{action:?} {not:?}");
            }
        }
        assert_eq!(count(&[(Action::Dial, open()), (Action::Park, Outcome::Dialling)]).adopted, 0);
    }

    #[test]
    fn each_line_counts_once_for_how_far_it_is() {
        let lines = [
            (Action::Dial, Outcome::Open { after: Duration::ZERO }),
            (Action::Dial, Outcome::Late { open_after: Some(Duration::ZERO) }),
            (Action::Dial, Outcome::Late { open_after: None }),
            (Action::Dial, Outcome::Dialling),
            (Action::Adopt, Outcome::Waiting),
            (Action::Dial, Outcome::Resting),
            (Action::Nothing, Outcome::NoLogin),
        ];
        let expected = Count { instances: 7, wanted: 4, open: 2, late: 1, waiting: 1, adopted: 0 };
        assert_eq!(count(&lines), expected);
    }
}
