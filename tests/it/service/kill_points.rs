//! `kill -9` at named points of the real process, over a real database: afterwards it starts, and nothing is lost.
//!
//! Each scenario has its points. At each the engine is armed, driven until it is dead, and started again; then all that was written to
//! it has to be at the webhook, all that it confirmed with its recipient, and no key used twice. A point that its scenario does not reach is
//! a failure: the process is still alive.

mod copies;
mod ending;
mod keys;
mod pairing;
mod running;
mod starting;
mod trial;

use std::collections::BTreeSet;

use holdfast::failpoint::POINTS;

/// Returns the name of a point without the count of which time it is.
fn name(point: &str) -> &str {
    point.split(':').next().unwrap_or(point)
}

#[test]
fn every_point_is_in_a_scenario_and_every_scenario_knows_its_points() {
    let scenarios = [
        starting::FIRST_START,
        starting::LOGIN,
        pairing::CREATING,
        pairing::SCANNED,
        running::RECEIVING,
        running::SENDING,
        ending::STOPPING,
        ending::LOGGING_OUT,
        ending::DELETING,
        keys::ROTATING,
        copies::COPYING,
        copies::ADOPTING,
    ];
    let tried: BTreeSet<&str> = scenarios.into_iter().flatten().map(|point| name(point)).collect();
    let known: BTreeSet<&str> = POINTS.iter().copied().collect();
    assert_eq!(tried.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "no such points");
    assert_eq!(known.difference(&tried).collect::<Vec<_>>(), Vec::<&&str>::new(), "points without a scenario");
    assert!(known.len() >= 100, "{}", known.len());
}
