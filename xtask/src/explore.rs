//! `cargo xtask explore`: searches random histories of a simulated service for one that breaks a promise.

use anyhow::{Context, bail};
use holdfast_explore::bugs::Bug;
use holdfast_explore::history::Shape;
use holdfast_explore::search::{Findings, search};
use holdfast_explore::shrink::Shrunk;

use crate::ci::report::Outcome;
use crate::ci::{say, timed};

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
struct Order {
    seeds: u64,
    seed: u64,
    shape: Shape,
    bugs: Bugs,
}

#[derive(Debug, PartialEq)]
enum Bugs {
    None,
    One(Bug),
    All,
}

/// Runs the search that the arguments ask for, and prints what it came to.
///
/// # Errors
/// When an argument is unknown or no number.
pub fn run(arguments: &[&str]) -> anyhow::Result<Outcome> {
    let order = read(arguments)?;
    match order.bugs {
        Bugs::None => {
            let found = report(&order, None)?;
            Ok(if found { Outcome::Failed } else { Outcome::Passed })
        }
        Bugs::One(bug) => {
            let found = report(&order, Some(bug))?;
            Ok(if found { Outcome::Passed } else { Outcome::Failed })
        }
        Bugs::All => all(&order),
    }
}

/// Searches and prints; tells whether something was found.
fn report(order: &Order, bug: Option<Bug>) -> anyhow::Result<bool> {
    let most = if bug.is_some() { 1 } else { 10 };
    let (findings, took) = timed(|| search(order.seed, order.seeds, order.shape, bug, most));
    say(&totals(&findings, took.as_secs_f64()))?;
    for (seed, shrunk) in &findings.broken {
        say(&story(order, *seed, shrunk, bug))?;
    }
    Ok(!findings.broken.is_empty())
}

fn totals(findings: &Findings, seconds: f64) -> String {
    let kinds: Vec<String> = findings.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    format!(
        "{} histories in {seconds:.1} s: {} steps, {} of machines, {:.0} h of virtual time, {} dials, {} times open\n{}",
        findings.seeds,
        findings.steps,
        findings.machine_steps,
        findings.span as f64 / 3_600_000.0,
        findings.dials,
        findings.opened,
        kinds.join(", ")
    )
}

fn story(order: &Order, seed: u64, shrunk: &Shrunk, bug: Option<Bug>) -> String {
    let mut lines = vec![format!(
        "\nseed {seed} breaks a promise; {} of its {} decisions are needed ({} histories tried):\n",
        shrunk.history.decisions.len(),
        order.shape.decisions,
        shrunk.tries
    )];
    lines.extend(shrunk.outcome.story.iter().enumerate().map(|(number, line)| format!("{:>3}. {line}", number + 1)));
    if let Some(violation) = &shrunk.outcome.violation {
        lines.push(format!("\n{violation}"));
    }
    let bug = bug.map_or(String::new(), |bug| format!(" --bug {}", bug.name()));
    lines.push(format!(
        "again: cargo xtask explore --seeds 1 --seed {seed} --instances {} --steps {}{bug}",
        order.shape.instances, order.shape.decisions
    ));
    lines.join("\n")
}

/// Plants every bug in turn and prints the table of what was found.
fn all(order: &Order) -> anyhow::Result<Outcome> {
    say("| bug | found by | seed | seeds needed | decisions | left |\n|---|---|---|---|---|---|")?;
    let mut outcome = Outcome::Passed;
    for bug in Bug::ALL {
        let findings = search(order.seed, order.seeds, order.shape, Some(bug), 1);
        let found = findings.broken.first().map(|(seed, shrunk)| (seed, shrunk, shrunk.outcome.violation.as_ref()));
        if let Some((seed, shrunk, Some(violation))) = found {
            say(&format!(
                "| `{}` | {} | {seed} | {} | {} | {} |",
                bug.name(),
                violation.check,
                findings.seeds,
                order.shape.decisions,
                shrunk.history.decisions.len()
            ))?;
        } else {
            say(&format!("| `{}` | nothing | | {} | {} | |", bug.name(), findings.seeds, order.shape.decisions))?;
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

fn read(arguments: &[&str]) -> anyhow::Result<Order> {
    let mut order = Order { seeds: 1_000, seed: 1, shape: Shape::SMALL, bugs: Bugs::None };
    for pair in arguments.chunks(2) {
        match pair {
            ["--seeds", number] => order.seeds = number.parse().context("--seeds takes a number")?,
            ["--seed", number] => order.seed = number.parse().context("--seed takes a number")?,
            ["--instances", number] => order.shape.instances = number.parse().context("--instances takes a number")?,
            ["--steps", number] => order.shape.decisions = number.parse().context("--steps takes a number")?,
            ["--bug", "all"] => order.bugs = Bugs::All,
            ["--bug", name] => {
                let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
                let bug =
                    Bug::named(name).with_context(|| format!("--bug takes all or one of {}", names.join(", ")))?;
                order.bugs = Bugs::One(bug);
            }
            unknown => bail!(
                "explore takes --seeds N, --seed S, --instances K, --steps M and --bug NAME, not {}",
                unknown.join(" ")
            ),
        }
    }
    if order.shape.instances == 0 {
        bail!("--instances takes a number from 1");
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        let order = read(&["--seeds", "5", "--seed", "9", "--instances", "3", "--bug", "stale-facts"]).unwrap();
        assert_eq!((order.seeds, order.seed, order.shape.instances), (5, 9, 3));
        assert_eq!(order.bugs, Bugs::One(Bug::StaleFacts));
        assert_eq!(read(&["--bug", "all"]).unwrap().bugs, Bugs::All);
        for wrong in [&["--seeds"][..], &["--seeds", "x"], &["--bug", "unknown"], &["5"], &["--instances", "0"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
