//! Many seeds, one after the other, and what came of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::bugs::Bug;
use crate::history::{History, Shape};
use crate::shrink::{Shrunk, shrink};
use crate::world::live;

/// What a search came to.
#[derive(Debug, Default)]
pub struct Findings {
    /// Histories that were lived.
    pub seeds: u64,
    /// Steps of worlds, and of machines in them.
    pub steps: u64,
    pub machine_steps: u64,
    /// Virtual milliseconds.
    pub span: u64,
    pub dials: u64,
    pub opened: u64,
    /// Decisions by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// The seeds that broke promises, one for each promise, and their histories made short.
    pub broken: Vec<(u64, Shrunk)>,
}

/// Lives the histories of `seeds` seeds from `first` on. The first that breaks a promise is shrunk, for each promise, until `most`
/// were found.
pub fn search(first: u64, seeds: u64, shape: Shape, bug: Option<Bug>, most: usize) -> Findings {
    let mut findings = Findings::default();
    let mut known = BTreeSet::new();
    for seed in first..first + seeds {
        let history = History::draw(seed, shape);
        let outcome = live(&history, bug, false);
        findings.seeds += 1;
        findings.steps += outcome.steps;
        findings.machine_steps += outcome.machine_steps;
        findings.span += outcome.span;
        findings.dials += outcome.dials;
        findings.opened += outcome.opened;
        for (kind, count) in outcome.kinds {
            *findings.kinds.entry(kind).or_default() += count;
        }
        if let Some(violation) = outcome.violation
            && known.insert(violation.check)
        {
            findings.broken.push((seed, shrink(&history, &violation, bug)));
        }
        if findings.broken.len() >= most {
            break;
        }
    }
    findings
}
