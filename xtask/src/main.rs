//! `cargo xtask ..`: see [`HELP`].

use std::process::ExitCode;

use anyhow::bail;
use xtask::ci::report::Outcome;
use xtask::ci::workshop::Workshop;
use xtask::ci::{self, say, suite};
use xtask::{bench, drill, explore, faults, torture};

const HELP: &str = "\
cargo xtask <command>

  ci               every check and every test, with the time of each group
  test [ARGS..]    build what the tests drive, then run those that ARGS (of nextest, or of cargo test) select
  bench NAME [..]  what things cost: messages (in and out, beside the bare crate), fleet (memory, descriptors and
                  processor time of connected instances, beside the bare crate), sim (memory and processor time of
                  simulated sessions); .. are its own arguments
  torture [--rounds N] [--seed S] [--postgres]   twenty instances talk while their engine is killed and starved, N times (10); prints what was lost
  faults [--instances N] [--minutes N] [--seed S]   a storm of every fault over N instances (100) that talk (5 minutes); prints how
                  soon each kind was found and mended, and what was lost
  drill reconnects [--rounds N]     one instance reconnects N times (1000): descriptors, tasks and memory before and after
  drill shutdown [--instances N]    N instances (100), one of them black-holed, are shut down
  drill crashes [--instances N]     N instances (50) crash in a loop: how long the commands of another one take, with and without them
  explore [--seeds N] [--seed S] [--instances K] [--steps M] [--bug NAME|all]
                  a model of the service lives N random histories (1000) of faults and commands; a promise that is broken is told
                  as a short story with its seed. --bug plants a mistake, to show that the search finds it
  tidy             the rules that no compiler keeps: floors, manifests, file sizes, clocks, traces of a machine
  deps             no second version of tokio, diesel, rustls, actix and the like";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match arguments.as_slice() {
        ["ci"] => ci::run(&Workshop::find()?, None)?,
        ["ci", "--began", seconds] => ci::run(&Workshop::find()?, Some(seconds.parse()?))?,
        ["test", rest @ ..] => test(&Workshop::find()?, rest)?,
        ["drill", rest @ ..] => drill::run(&Workshop::find()?, rest)? == Outcome::Passed,
        ["torture", rest @ ..] => torture::run(&Workshop::find()?, rest)? == Outcome::Passed,
        ["faults", rest @ ..] => faults::run(&Workshop::find()?, rest)? == Outcome::Passed,
        ["explore", rest @ ..] => explore::run(rest)? == Outcome::Passed,
        ["bench", name, rest @ ..] => bench::run(&Workshop::find()?, name, rest)? == Outcome::Passed,
        ["tidy"] => ci::tidy(&Workshop::find()?)? == Outcome::Passed,
        ["deps"] => ci::versions(&Workshop::find()?)? == Outcome::Passed,
        [] | ["help" | "-h" | "--help"] => {
            say(HELP)?;
            true
        }
        unknown => bail!("no such command: {}\n\n{HELP}", unknown.join(" ")),
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs some tests; the default binary is built only if it never was, since it changes little and takes long.
fn test(workshop: &Workshop, arguments: &[&str]) -> anyhow::Result<bool> {
    if !workshop.has_default_binary() && ci::default_binary(workshop)? != Outcome::Passed {
        return Ok(false);
    }
    if ci::test_binaries(workshop)? != Outcome::Passed {
        return Ok(false);
    }
    let run = suite::run(workshop, arguments)?;
    say(&run.closing())?;
    Ok(run.passed)
}
