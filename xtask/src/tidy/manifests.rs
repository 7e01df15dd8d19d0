//! What the manifests may ask for: a pure core, a simulator that shares nothing with the service, and a switch that
//! makes certificates meaningless in one place only.

use toml::{Table, Value};

use crate::finding::Finding;
use crate::tree::Tree;

const CORE: &str = "crates/core/Cargo.toml";
const SIMULATOR: &str = "crates/sim/Cargo.toml";
const CORE_MAY_USE: &[&str] = &["serde", "serde_json", "thiserror"];
const CORE_TESTS_MAY_USE: &[&str] = &["proptest", "insta"];
const SIMULATOR_MUST_NOT_USE: &[&str] = &["holdfast", "holdfast-core", "whatsapp-rust"];

/// What lets a test disturb the running process.
const FAIL_POINTS: &str = "fail";

/// Features of the protocol crates that trust anyone; their names all begin alike.
const DANGER: &str = "danger-";
/// The one feature, of the root package, that may turn one of them on.
const DANGER_FEATURE: &str = "simulator";

/// Checks the manifest of every member.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.manifests() {
        let manifest: Table = match text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(Finding::new(path, 1, format!("not a manifest: {}", error.to_string().trim())));
                continue;
            }
        };
        let mut complain = |line: usize, why: String| findings.push(Finding::new(path, line, why));
        for dependency in dependencies(&manifest) {
            if let Some(why) = refused(path, &dependency) {
                complain(line_of(text, &dependency.key), why);
            }
        }
        if let Some(why) = danger(path == "Cargo.toml", manifest) {
            complain(line_of(text, DANGER), why);
        }
    }
    findings
}

struct Dependency {
    /// The name it has in the manifest, and the package behind it.
    key: String,
    package: String,
    for_tests: bool,
    features: Vec<String>,
    optional: bool,
}

/// Lists the dependencies of all kinds, those of single targets included.
fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let sections =
        std::iter::once(manifest).chain(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
    let mut found = Vec::new();
    for section in sections {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (key, asked) in section.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let features = asked.get("features").and_then(Value::as_array);
                found.push(Dependency {
                    key: key.clone(),
                    package: asked.get("package").and_then(Value::as_str).unwrap_or(key).to_owned(),
                    for_tests: kind == "dev-dependencies",
                    optional: asked.get("optional").and_then(Value::as_bool).unwrap_or(false),
                    features: features.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
                });
            }
        }
    }
    found
}

fn refused(path: &str, dependency: &Dependency) -> Option<String> {
    let package = dependency.package.as_str();
    if path == CORE {
        let known = CORE_MAY_USE.contains(&package) || dependency.for_tests && CORE_TESTS_MAY_USE.contains(&package);
        if !known {
            return Some(format!("holdfast-core stays pure: it may not depend on {package}"));
        }
    }
    if path == SIMULATOR && SIMULATOR_MUST_NOT_USE.contains(&package) {
        return Some(format!("the simulator shares nothing with the service: it may not depend on {package}"));
    }
    if path == "Cargo.toml" && package == "holdfast-sim" && !dependency.for_tests && !dependency.optional {
        return Some(format!(
            "the service goes without the simulator: only the feature `{DANGER_FEATURE}` brings it along"
        ));
    }
    if path == "Cargo.toml" && package == FAIL_POINTS && !dependency.optional {
        return Some(format!(
            "the service goes without fail points: only the feature `{DANGER_FEATURE}` turns them on"
        ));
    }
    if package == "holdfast" && dependency.features.iter().any(|feature| feature == DANGER_FEATURE) {
        return Some(
            "no member turns the feature `simulator` on: it would be on in every build of the workspace".to_owned(),
        );
    }
    None
}

/// Says where a dangerous feature is named besides the root's own `simulator`, or turned on by default.
fn danger(root: bool, mut manifest: Table) -> Option<String> {
    if root && let Some(features) = manifest.get_mut("features").and_then(Value::as_table_mut) {
        features.remove(DANGER_FEATURE);
        let named = |value: &Value| {
            value.as_array().is_some_and(|list| list.iter().any(|name| name.as_str() == Some(DANGER_FEATURE)))
        };
        if features.values().any(named) {
            return Some("no other feature turns `simulator` on, `default` least of all".to_owned());
        }
    }
    names_danger(&Value::Table(manifest))
        .then(|| format!("only the root's feature `{DANGER_FEATURE}` may name a feature `{DANGER}..`: it ends the trust in certificates"))
}

fn names_danger(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(DANGER),
        Value::Array(values) => values.iter().any(names_danger),
        Value::Table(table) => table.iter().any(|(key, value)| key.contains(DANGER) || names_danger(value)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => false,
    }
}

/// Finds the last line that names a word, since a manifest's dependencies stand below its features.
fn line_of(text: &str, word: &str) -> usize {
    text.lines().enumerate().filter(|(_, line)| line.contains(word)).last().map_or(1, |(number, _)| number + 1)
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    fn breach(path: &str, text: &str) -> String {
        said(check, &[(path, text)]).join("\n")
    }

    #[test]
    fn a_tree_that_keeps_the_rules_is_fine() {
        let tree = [
            (
                "Cargo.toml",
                "[features]\nsimulator = [\"whatsapp-rust/danger-skip-cert-chain-verify\"]\n[dependencies]\nwhatsapp-rust = \"1\"",
            ),
            (CORE, "[dependencies]\nserde.workspace = true\n[dev-dependencies]\nproptest = \"1\""),
            (SIMULATOR, "[dependencies]\nwacore-noise = \"1\""),
        ];
        assert_eq!(said(check, &tree), Vec::<String>::new());
    }

    #[test]
    fn core_may_not_reach_for_the_world() {
        assert_eq!(
            breach(CORE, "[dependencies]\nserde = \"1\"\ntokio = { version = \"1\" }"),
            "crates/core/Cargo.toml:3: holdfast-core stays pure: it may not depend on tokio"
        );
        assert!(
            breach(CORE, "[dependencies]\nproptest = \"1\"").contains("proptest"),
            "a test's crate is no crate of core"
        );
        assert!(breach(CORE, "[dependencies]\nserde = { package = \"rand\", version = \"1\" }").contains("rand"));
        assert!(breach(CORE, "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"").contains("libc"));
        assert!(breach(CORE, "[build-dependencies]\ncc = \"1\"").contains("cc"));
        assert!(breach(CORE, "[dependencies.chrono]\nversion = \"1\"").contains("chrono"));
    }

    #[test]
    fn the_simulator_shares_nothing_with_the_service() {
        for name in SIMULATOR_MUST_NOT_USE {
            assert!(breach(SIMULATOR, &format!("[dependencies]\n{name} = \"1\"")).contains(name));
            assert!(breach(SIMULATOR, &format!("[dev-dependencies]\n{name} = \"1\"")).contains(name));
        }
    }

    #[test]
    fn the_service_goes_without_the_simulator_unless_it_is_asked_for() {
        let asks =
            |more: &str| breach("Cargo.toml", &format!("[dependencies]\nholdfast-sim = {{ path = \"x\"{more} }}"));
        assert!(asks("").contains(":2: the service goes without the simulator"));
        assert_eq!(asks(", optional = true"), "");
        assert_eq!(breach("Cargo.toml", "[dev-dependencies]\nholdfast-sim = { path = \"x\" }"), "");
    }

    #[test]
    fn the_service_goes_without_fail_points_unless_it_is_asked_for() {
        assert!(
            breach("Cargo.toml", "[dependencies]\nfail = \"0.5\"").contains(":2: the service goes without fail points")
        );
        assert_eq!(breach("Cargo.toml", "[dependencies]\nfail = { version = \"0.5\", optional = true }"), "");
    }

    #[test]
    fn the_dangerous_feature_has_one_door() {
        let asks = "[dependencies]\nwacore-noise = { version = \"1\", features = [\"danger-skip-cert-chain-verify\"] }";
        for path in ["Cargo.toml", SIMULATOR, "xtask/Cargo.toml"] {
            assert!(breach(path, asks).contains(":2: only the root's feature"), "{path}");
        }
        let in_default = "[features]\ndefault = [\"wacore/danger-skip-tls-verify\"]\nsimulator = []";
        assert!(breach("Cargo.toml", in_default).contains("only the root's feature"));
        assert!(
            breach("xtask/Cargo.toml", "[features]\nsimulator = [\"wacore/danger-x\"]")
                .contains("only the root's feature")
        );
    }

    #[test]
    fn the_simulator_feature_is_never_on_by_itself() {
        assert!(
            breach("Cargo.toml", "[features]\ndefault = [\"simulator\"]\nsimulator = []")
                .contains("`default` least of all")
        );
        assert!(
            breach("xtask/Cargo.toml", "[dependencies]\nholdfast = { path = \"..\", features = [\"simulator\"] }")
                .contains("no member turns")
        );
    }

    #[test]
    fn a_broken_manifest_is_a_finding() {
        assert!(breach("Cargo.toml", "[features").contains("not a manifest"));
    }
}
