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
    let (rounds, seed, postgres) = read(arguments)?;
    // Not through a runner that ends long tests: two hundred rounds take a while.
    let test = [&["test"], FEATURES, &["--test", "it", "--", "--exact", TEST, "--nocapture"]].concat();
    let mut command = workshop.command(&test);
    command.env("HOLDFAST_TORTURE_ROUNDS", rounds.to_string()).env("HOLDFAST_TORTURE_SEED", seed.to_string());
    if postgres {
        command.env("HOLDFAST_TORTURE_POSTGRES", "1");
    }
    let status = command.status().context("cargo could not be started")?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

/// Returns how many rounds, with which seed, and whether on PostgreSQL.
fn read(arguments: &[&str]) -> anyhow::Result<(u64, u64, bool)> {
    let (mut rounds, mut seed, mut postgres) = (ROUNDS, SEED, false);
    let mut rest = arguments;
    loop {
        rest = match rest {
            [] => return Ok((rounds, seed, postgres)),
            ["--rounds", number, rest @ ..] => {
                rounds = number.parse().context("--rounds takes a number")?;
                rest
            }
            ["--seed", number, rest @ ..] => {
                seed = number.parse().context("--seed takes a number")?;
                rest
            }
            ["--postgres", rest @ ..] => {
                postgres = true;
                rest
            }
            unknown => bail!("torture takes --rounds N, --seed S and --postgres, not {}", unknown.join(" ")),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        assert_eq!(read(&[]).unwrap(), (ROUNDS, SEED, false));
        assert_eq!(read(&["--seed", "7", "--rounds", "200"]).unwrap(), (200, 7, false));
        assert_eq!(read(&["--postgres", "--seed", "7"]).unwrap(), (ROUNDS, 7, true));
        for wrong in [&["--rounds"][..], &["--rounds", "many"], &["--round", "1"], &["200"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
