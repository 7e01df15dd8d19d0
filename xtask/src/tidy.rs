//! The rules that no compiler keeps: who may know whom, how big a file may grow, what must never be committed.

pub mod cases;
pub mod floors;
pub mod manifests;
pub mod sources;
pub mod traces;

use crate::finding::Finding;
use crate::tree::Tree;

/// Runs every rule over a tree; the findings come sorted by place.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let rules = [cases::check, floors::check, manifests::check, sources::check, traces::check];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// Runs one rule over a made-up tree, for the rules' own tests.
#[cfg(test)]
fn said(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    rule(&Tree::of(files.iter().copied())).iter().map(ToString::to_string).collect()
}
