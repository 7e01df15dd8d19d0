//! `cargo xtask torture`: many rounds of the torture of which the tests run a few.

use anyhow::{Context, bail};

use crate::ci::FEATURES;
use crate::ci::report::Outcome;
use crate::ci::workshop::Workshop;

const TEST: &str = "torture::rounds_of_torture_lose_no_message_and_use_no_key_twice";
const ROUNDS: u64 = 10;
const SEED: u64 = 1;

/// Runs the rounds that the arguments ask for.
///
/// # Errors
/// When an argument is unknown or no number, or cargo cannot be started.
pub fn run(workshop: &Workshop, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let (rounds, seed) = read(arguments)?;
    // Not through a runner that ends long tests: two hundred rounds take a while.
    let test = [&["test"], FEATURES, &["--test", "it", "--", "--exact", TEST, "--nocapture"]].concat();
    let mut command = workshop.command(&test);
    command.env("HOLDFAST_TORTURE_ROUNDS", rounds.to_string()).env("HOLDFAST_TORTURE_SEED", seed.to_string());
    let status = command.status().context("cargo could not be started")?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

fn read(arguments: &[&str]) -> anyhow::Result<(u64, u64)> {
    let (mut rounds, mut seed) = (ROUNDS, SEED);
    for pair in arguments.chunks(2) {
        match pair {
            ["--rounds", number] => rounds = number.parse().context("--rounds takes a number")?,
            ["--seed", number] => seed = number.parse().context("--seed takes a number")?,
            unknown => bail!("torture takes --rounds N and --seed S, not {}", unknown.join(" ")),
        }
    }
    Ok((rounds, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        assert_eq!(read(&[]).unwrap(), (ROUNDS, SEED));
        assert_eq!(read(&["--seed", "7", "--rounds", "200"]).unwrap(), (200, 7));
        for wrong in [&["--rounds"][..], &["--rounds", "many"], &["--round", "1"], &["200"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
