//! A slice of the search that every run of the tests makes, and the proof that it finds what is wrong.

use holdfast_explore::bugs::Bug;
use holdfast_explore::history::{History, Shape};
use holdfast_explore::search::{Findings, search};
use holdfast_explore::world::live;

/// Seeds that are searched for a planted mistake.
const SEEDS: u64 = 400;
/// Decisions that the story of a planted mistake needs at most.
const SHORT: usize = 12;

fn nothing_is_found(findings: &Findings) {
    if let Some((seed, shrunk)) = findings.broken.first() {
        let story = shrunk.outcome.story.join("\n");
        panic!("seed {seed}: {}\n{story}", shrunk.outcome.violation.as_ref().expect("it broke a promise"));
    }
}

#[test]
fn no_history_of_a_few_instances_breaks_a_promise() {
    let findings = search(1, 400, Shape::SMALL, None, 1);
    nothing_is_found(&findings);
    assert!(findings.opened > 2_000, "instances come online: {}", findings.opened);
    assert!(findings.kinds.len() >= 30, "faults of all kinds happen: {:?}", findings.kinds);
}

#[test]
fn no_history_of_a_fleet_breaks_a_promise() {
    nothing_is_found(&search(1, 4, Shape::LARGE, None, 1));
}

#[test]
fn the_same_seed_gives_the_same_history_step_by_step() {
    for seed in 1..=10 {
        let history = History::draw(seed, Shape::SMALL);
        let (one, two) = (live(&history, None, false), live(&History::draw(seed, Shape::SMALL), None, true));
        assert_eq!((one.trace, one.steps, one.span), (two.trace, two.steps, two.span), "seed {seed}");
    }
    let traces = [1, 2].map(|seed| live(&History::draw(seed, Shape::SMALL), None, false).trace);
    assert_ne!(traces[0], traces[1]);
}

/// The histories that find the mistakes pass without them: see the first test.
#[test]
fn every_planted_mistake_is_found_and_told_as_a_short_story() {
    for bug in Bug::ALL {
        let findings = search(1, SEEDS, Shape::SMALL, Some(bug), 1);
        let (seed, shrunk) = findings.broken.first().unwrap_or_else(|| panic!("{} was not found", bug.name()));
        let left = shrunk.history.decisions.len();
        assert!(left <= SHORT, "{}: seed {seed} needs {left} decisions", bug.name());
        assert!(shrunk.outcome.violation.is_some(), "{}: the short story breaks the promise too", bug.name());
    }
}
