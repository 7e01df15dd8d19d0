//! Making a history that breaks a promise as short as it can be.

use crate::bugs::Bug;
use crate::checks::Violation;
use crate::history::{Decision, History};
use crate::world::{Outcome, live};

/// Histories that are tried at most.
const TRIES: u32 = 3_000;

/// A history that was made short.
#[derive(Debug)]
pub struct Shrunk {
    /// What is left of it.
    pub history: History,
    /// How it goes, with its story.
    pub outcome: Outcome,
    /// How many histories were tried.
    pub tries: u32,
}

struct Shrinking {
    best: History,
    bug: Option<Bug>,
    check: &'static str,
    tries: u32,
}

/// Takes away from a history what is not needed to break the same promise.
pub fn shrink(history: &History, violation: &Violation, bug: Option<Bug>) -> Shrunk {
    let mut shrinking = Shrinking { best: history.clone(), bug, check: violation.check, tries: 0 };
    shrinking.end_at(violation.at);
    shrinking.fewer_instances(violation.instance);
    shrinking.fewer_decisions();
    shrinking.fewer_instances(None);
    shrinking.fewer_decisions();
    let outcome = live(&shrinking.best, bug, true);
    Shrunk { history: shrinking.best, outcome, tries: shrinking.tries }
}

impl Shrinking {
    fn accept(&mut self, candidate: History) -> bool {
        if self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        let broken = live(&candidate, self.bug, false).violation.is_some_and(|found| found.check == self.check);
        if broken {
            self.best = candidate;
        }
        broken
    }

    fn with(&self, decisions: Vec<Decision>) -> History {
        History { decisions, ..self.best.clone() }
    }

    fn end_at(&mut self, at: u64) {
        let decisions = self.best.decisions.iter().filter(|decision| decision.at <= at).cloned().collect();
        self.accept(self.with(decisions));
    }

    fn fewer_instances(&mut self, whose: Option<usize>) {
        if let Some(whose) = whose {
            self.accept(only(&self.best, |i| i == whose));
        }
        let mut size = self.best.cast.len() / 2;
        while size > 0 {
            let cast: Vec<usize> = self.best.cast.iter().copied().collect();
            for gone in cast.chunks(size) {
                if gone.len() < self.best.cast.len() {
                    self.accept(only(&self.best, |i| !gone.contains(&i)));
                }
            }
            size /= 2;
        }
    }

    fn fewer_decisions(&mut self) {
        let mut size = self.best.decisions.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.best.decisions.len() {
                let mut decisions = self.best.decisions.clone();
                decisions.drain(from..(from + size).min(decisions.len()));
                if !self.accept(self.with(decisions)) {
                    from += size;
                }
            }
            size /= 2;
        }
    }
}

fn only(history: &History, stays: impl Fn(usize) -> bool) -> History {
    let stay = |decision: &&Decision| decision.what.instance().is_none_or(&stays);
    History {
        cast: history.cast.iter().copied().filter(|i| stays(*i)).collect(),
        decisions: history.decisions.iter().filter(stay).cloned().collect(),
        ..history.clone()
    }
}
