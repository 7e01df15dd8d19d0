//! `cargo xtask drill ..`: one test of the suite at the size of a long life.

use anyhow::{Context, bail};

use crate::ci;
use crate::ci::FEATURES;
use crate::ci::report::Outcome;
use crate::ci::workshop::Workshop;

const RECONNECTS: &str = "service::resources::s49_reconnects_leave_nothing_behind";
const CRASHES: &str = "service::crashes::s27_while_instances_crash_in_a_loop_the_commands_of_another_are_answered";
const NODES: &str =
    "nodes::three_nodes_on_one_database_lose_no_message_use_no_key_twice_and_never_hold_an_instance_twice";
const SHUTDOWN: &str = "service::shutdown::s37_many_instances_of_which_one_is_black_holed_end_cleanly_in_their_time";

/// How often each command is asked of the instance that does not crash, once with and once without those that do.
const ROUNDS: &str = "200";

/// Runs the drill that the arguments name.
///
/// # Errors
/// When an argument is unknown or no number, or cargo cannot be started.
pub fn run(workshop: &Workshop, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let (test, variable, number) = read(arguments)?;
    if ci::test_binaries(workshop)? != Outcome::Passed {
        return Ok(Outcome::Failed);
    }
    // Not through a runner that ends long tests.
    let run = [&["test"], FEATURES, &["--test", "it", "--", "--exact", test, "--nocapture"]].concat();
    let status = workshop.command(&run).env("HOLDFAST_ROUNDS", ROUNDS).env(variable, number.to_string()).status();
    Ok(if status.context("cargo could not be started")?.success() { Outcome::Passed } else { Outcome::Failed })
}

fn read(arguments: &[&str]) -> anyhow::Result<(&'static str, &'static str, u32)> {
    let (test, variable, usual, option) = match arguments.first() {
        Some(&"reconnects") => (RECONNECTS, "HOLDFAST_RECONNECTS", 1000, "--rounds"),
        Some(&"shutdown") => (SHUTDOWN, "HOLDFAST_INSTANCES", 100, "--instances"),
        Some(&"crashes") => (CRASHES, "HOLDFAST_INSTANCES", 50, "--instances"),
        Some(&"nodes") => (NODES, "HOLDFAST_NODE_ROUNDS", 10, "--rounds"),
        _ => bail!(
            "drill takes reconnects [--rounds N], nodes [--rounds N], shutdown [--instances N] or crashes [--instances N]"
        ),
    };
    let number = match &arguments[1..] {
        [] => usual,
        [name, number] if *name == option => number.parse().with_context(|| format!("{option} takes a number"))?,
        unknown => bail!("{} takes {option} N, not {}", arguments[0], unknown.join(" ")),
    };
    Ok((test, variable, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        assert_eq!(read(&["reconnects"]).unwrap().2, 1000);
        assert_eq!(read(&["shutdown", "--instances", "30"]).unwrap(), (SHUTDOWN, "HOLDFAST_INSTANCES", 30));
        assert_eq!(read(&["crashes"]).unwrap(), (CRASHES, "HOLDFAST_INSTANCES", 50));
        assert_eq!(read(&["nodes", "--rounds", "2"]).unwrap(), (NODES, "HOLDFAST_NODE_ROUNDS", 2));
        for wrong in [&[][..], &["reconnects", "--instances", "3"], &["shutdown", "--instances"], &["other"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
