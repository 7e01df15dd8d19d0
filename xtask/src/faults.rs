//! `cargo xtask faults`: a big storm of faults, of which the tests raise a small one.

use anyhow::{Context, bail};

use crate::ci;
use crate::ci::FEATURES;
use crate::ci::report::Outcome;
use crate::ci::workshop::Workshop;

const TEST: &str = "storm::a_storm_of_every_fault_leaves_no_false_open_no_second_socket_and_no_lost_message";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    instances: u32,
    minutes: f64,
    seed: u64,
}

/// Raises the storm that the arguments ask for.
///
/// # Errors
/// When an argument is unknown or no number, or cargo cannot be started.
pub fn run(workshop: &Workshop, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let Asked { instances, minutes, seed } = read(arguments)?;
    if ci::test_binaries(workshop)? != Outcome::Passed {
        return Ok(Outcome::Failed);
    }
    // Not through a runner that ends long tests.
    let test = [&["test"], FEATURES, &["--test", "it", "--", "--exact", TEST, "--nocapture"]].concat();
    let mut command = workshop.command(&test);
    command
        .env("HOLDFAST_STORM_INSTANCES", instances.to_string())
        .env("HOLDFAST_STORM_SECONDS", ((minutes * 60.0) as u64).to_string())
        .env("HOLDFAST_STORM_SEED", seed.to_string());
    let status = command.status().context("cargo could not be started")?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

fn read(arguments: &[&str]) -> anyhow::Result<Asked> {
    let mut asked = Asked { instances: 100, minutes: 5.0, seed: 1 };
    for pair in arguments.chunks(2) {
        match pair {
            ["--instances", number] => asked.instances = number.parse().context("--instances takes a number")?,
            ["--minutes", number] => asked.minutes = number.parse().context("--minutes takes a number")?,
            ["--seed", number] => asked.seed = number.parse().context("--seed takes a number")?,
            unknown => bail!("faults takes --instances N, --minutes N and --seed N, not {}", unknown.join(" ")),
        }
    }
    if asked.instances < 2 || !(0.1..=24.0 * 60.0).contains(&asked.minutes) {
        bail!("a storm needs two instances, and six seconds to a day");
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        assert_eq!(read(&[]).unwrap(), Asked { instances: 100, minutes: 5.0, seed: 1 });
        assert_eq!(
            read(&["--seed", "7", "--minutes", "0.5", "--instances", "20"]).unwrap(),
            Asked { instances: 20, minutes: 0.5, seed: 7 }
        );
        for wrong in [&["--minutes"][..], &["--minutes", "0"], &["--minutes", "NaN"], &["--instances", "1"], &["5"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
