//! `cargo xtask bench NAME`: what things cost, measured by the benches in the repository.

use anyhow::bail;

use crate::ci::FEATURES;
use crate::ci::report::Outcome;
use crate::ci::workshop::Workshop;

/// A bench, the package whose target it is, the feature that it needs, and a run that is over in seconds.
struct Bench {
    name: &'static str,
    package: &'static str,
    features: &'static [&'static str],
    short: &'static [&'static str],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "messages",
        package: "holdfast",
        features: &["--features", "simulator"],
        short: &["--instances", "1,3", "--messages", "30", "--rate", "100"],
    },
    Bench {
        name: "fleet",
        package: "holdfast",
        features: &["--features", "simulator"],
        short: &["--instances", "3", "--idle-seconds", "1"],
    },
    Bench {
        name: "restore",
        package: "holdfast",
        features: &["--features", "simulator"],
        short: &["--instances", "2", "--from", "sqlite,redis,files"],
    },
    Bench {
        name: "store",
        package: "holdfast",
        // The same as the others, so that nothing is compiled twice.
        features: &["--features", "simulator"],
        short: &["--instances", "1,3", "--seconds", "1"],
    },
    Bench {
        name: "sim",
        package: "holdfast-sim",
        features: &[],
        short: &["--sessions", "100", "--idle-seconds", "1", "--ping-every", "1"],
    },
];

/// Runs a bench, optimised.
///
/// # Errors
/// When there is no such bench, or cargo cannot be started.
pub fn run(workshop: &Workshop, name: &str, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("no such bench: {name}; there is {}", known.join(", "));
    };
    // The package alone, so that a bench of the simulator does not wait for the service to be compiled.
    workshop
        .cargo(&[&["bench", "--package", bench.package], bench.features, &["--bench", name, "--"], arguments].concat())
}

/// Runs every bench for a moment, as it was built for the tests: whether they run at all, not what they say.
///
/// # Errors
/// When cargo cannot be started.
pub fn short(workshop: &Workshop) -> anyhow::Result<Outcome> {
    for bench in BENCHES {
        let run = [&["bench", "--profile", "dev"], FEATURES, &["--bench", bench.name, "--"], bench.short].concat();
        if workshop.cargo(&run)? != Outcome::Passed {
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Passed)
}
