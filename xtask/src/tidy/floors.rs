//! The floors of the service: a part uses the floors below its own, and does not know the parts beside it.
//!
//! `ARCHITECTURE.md` draws them. Only the root package has floors; `holdfast-core` is below all of them, and its
//! manifest (see [`super::manifests`]) keeps it pure.

use crate::finding::Finding;
use crate::lexer;
use crate::paths::{module_of, root_paths};
use crate::tree::Tree;

/// Each top-level module of `src/`, and the floor it lives on.
const FLOORS: &[(&str, u8)] = &[
    ("main", 5),
    ("cli", 5),
    ("app", 4),
    ("http", 3),
    ("actors", 2),
    ("whatsapp", 2),
    ("store", 2),
    ("cache", 2),
    ("provider", 2),
    ("mirror", 2),
    ("restoration", 2),
    ("sinks", 2),
    ("ports", 1),
    ("telemetry", 1),
    ("config", 1),
    ("failpoint", 0),
];

/// Checks every arrow that a source under `src/` draws.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let Some(below_src) = path.strip_prefix("src/") else {
            continue;
        };
        let module = module_of(below_src);
        let from = match module.first() {
            Some(part) => part.as_str(),
            None if below_src == "main.rs" => "main",
            None => continue, // lib.rs lists the parts, and is none
        };
        if floor(from).is_none() {
            findings.push(Finding::new(
                path,
                1,
                format!("`{from}` stands on no floor: give it one in xtask/src/tidy/floors.rs"),
            ));
            continue;
        }
        for used in root_paths(&lexer::tokens(text), &module) {
            if let Err(why) = arrow(from, &used.segments) {
                findings.push(Finding::new(path, used.line, why));
            }
        }
    }
    findings
}

fn floor(part: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == part).map(|(_, floor)| *floor)
}

/// Judges one arrow, from a part to a path that starts at the crate's root.
fn arrow(from: &str, to: &[String]) -> Result<(), String> {
    let Some(target) = to.first() else {
        return Ok(());
    };
    if target == from {
        return Ok(());
    }
    let path = to.join("::");
    let (Some(above), Some(below)) = (floor(from), floor(target)) else {
        return Err(format!("`crate::{path}` names no part with a floor: import the item from the part that owns it"));
    };
    if above < below {
        return Err(format!(
            "{from} (floor {above}) must not know {target} (floor {below}): `crate::{path}` points up"
        ));
    }
    if above == below {
        return beside(from, target, &path);
    }
    match (from, target.as_str()) {
        ("http", "actors") if !is_protocol(to) => {
            Err(format!("http speaks to actors through their protocol alone: `crate::{path}` goes past it"))
        }
        ("http", driver @ ("whatsapp" | "store" | "cache" | "provider" | "sinks")) => {
            Err(format!("http must not know the driver {driver}: `crate::{path}` goes past the ports and the actors"))
        }
        _ => Ok(()),
    }
}

/// Judges an arrow between two parts of one floor.
fn beside(from: &str, target: &str, path: &str) -> Result<(), String> {
    match (from, target) {
        ("main" | "cli", _) | ("config" | "telemetry", "ports") => Ok(()),
        ("ports", _) => Err(format!("ports know nobody on their floor: `crate::{path}`")),
        _ => Err(format!("{from} and {target} stand side by side and must not know each other: `crate::{path}`")),
    }
}

fn is_protocol(path: &[String]) -> bool {
    path.iter().skip(1).take(2).any(|segment| segment == "protocol")
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    fn breach(path: &str, source: &str) -> String {
        said(check, &[(path, source)]).join("\n")
    }

    #[test]
    fn every_arrow_that_points_down_is_fine() {
        let tree = [
            ("src/lib.rs", "pub mod app; pub use app::App;"),
            ("src/main.rs", "mod cli; use crate::cli::run; use holdfast::app::App;"),
            ("src/cli.rs", "use crate::{app::App, config::Settings};"),
            ("src/app/wiring.rs", "use crate::{actors::system::SystemActor, http, store::Store, whatsapp::Link};"),
            (
                "src/http/instances.rs",
                "use crate::actors::supervisor::protocol::{ListInstances, StartInstance}; use crate::ports::clock::Clock;",
            ),
            ("src/http.rs", "use crate::actors::protocol::Refusal;"),
            ("src/store/rows.rs", "use crate::store::schema::*; use super::keys; use crate::telemetry::emit;"),
            ("src/telemetry.rs", "use crate::ports::clock::Clock;"),
            ("crates/sim/src/lib.rs", "use crate::anything::at_all;"),
        ];
        assert_eq!(said(check, &tree), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_points_up_is_named_with_its_line() {
        assert_eq!(
            breach("src/store/rows.rs", "\nuse crate::app::App;"),
            "src/store/rows.rs:2: store (floor 2) must not know app (floor 4): `crate::app::App` points up"
        );
        assert!(
            breach("src/config.rs", "fn f() { crate::actors::go() }").contains("config (floor 1) must not know actors")
        );
        assert!(breach("src/app.rs", "use super::cli;").contains("app (floor 4) must not know cli"));
    }

    #[test]
    fn drivers_and_actors_do_not_know_each_other() {
        for (from, to) in [
            ("actors", "store"),
            ("actors", "whatsapp"),
            ("whatsapp", "store"),
            ("store", "cache"),
            ("sinks", "provider"),
        ] {
            let said = breach(&format!("src/{from}/a.rs"), &format!("use crate::{{ports, {to}::b}};"));
            assert!(said.contains(&format!("{from} and {to} stand side by side")), "{said}");
        }
    }

    #[test]
    fn ports_settings_and_telemetry_stay_apart() {
        assert!(breach("src/ports/link.rs", "use crate::config::A;").contains("ports know nobody"));
        assert!(breach("src/ports.rs", "use crate::telemetry::A;").contains("ports know nobody"));
        assert!(breach("src/config.rs", "use crate::telemetry::A;").contains("side by side"));
        assert!(breach("src/telemetry.rs", "use crate::config::A;").contains("side by side"));
    }

    #[test]
    fn http_sees_of_the_actors_their_protocols_only_and_of_the_drivers_nothing() {
        assert!(
            breach("src/http.rs", "use crate::actors::instance::InstanceActor;")
                .contains("through their protocol alone")
        );
        assert!(breach("src/http.rs", "use crate::actors;").contains("through their protocol alone"));
        for driver in ["whatsapp", "store", "sinks", "cache", "provider"] {
            assert!(
                breach("src/http/a.rs", &format!("use crate::{driver}::B;")).contains(&format!("the driver {driver}"))
            );
        }
    }

    #[test]
    fn a_part_without_a_floor_and_a_detour_through_the_root_are_refused() {
        assert!(breach("src/util.rs", "").contains("`util` stands on no floor"));
        assert!(breach("src/http.rs", "use crate::App;").contains("names no part with a floor"));
        assert!(breach("src/http.rs", "use super::*;").contains("names no part with a floor"));
    }
}
