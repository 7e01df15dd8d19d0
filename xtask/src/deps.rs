//! One version of everything that would hurt twice: two tokios have two runtimes, two rustls two sets of roots.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// The crates of which the service may hold one version only.
const ONE_VERSION: &[&str] =
    &["tokio", "diesel", "diesel-async", "rustls", "actix", "actix-web", "hyper", "waproto", "whatsapp-rust"];

/// Asks cargo for the resolved graph of this machine's target and names every crate that is in it twice.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = cargo_metadata(root)?;
    duplicates(&metadata)
}

fn cargo_metadata(root: &Path) -> anyhow::Result<Value> {
    let version = Command::new(cargo()).arg("-vV").output().context("cargo could not be started")?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo names no host")?;
    let output = Command::new(cargo())
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The cargo that runs this program, so that both are of one toolchain.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Walks everything that the root package links, builds with or tests with, and compares versions.
fn duplicates(metadata: &Value) -> anyhow::Result<Vec<String>> {
    let packages: BTreeMap<&str, (&str, &str)> = array(&metadata["packages"])?
        .iter()
        .filter_map(|package| {
            Some((package["id"].as_str()?, (package["name"].as_str()?, package["version"].as_str()?)))
        })
        .collect();
    let edges: BTreeMap<&str, &Value> =
        array(&metadata["resolve"]["nodes"])?.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let root = metadata["resolve"]["root"].as_str().context("the workspace has no root package")?;
    let mut reached = BTreeSet::new();
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        if !reached.insert(id) {
            continue;
        }
        let node = edges.get(id).with_context(|| format!("{id} is missing from the graph"))?;
        pending.extend(array(&node["deps"])?.iter().filter_map(|dependency| dependency["pkg"].as_str()));
    }
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version) in reached.iter().filter_map(|id| packages.get(id)) {
        versions.entry(*name).or_default().insert(*version);
    }
    let twice = ONE_VERSION
        .iter()
        .filter_map(|name| versions.get(name).filter(|found| found.len() > 1).map(|found| (name, found)));
    Ok(twice
        .map(|(name, found)| {
            let found: Vec<_> = found.iter().copied().collect();
            format!(
                "{name} is resolved in {} versions ({}): see `cargo tree -d -i {name}`",
                found.len(),
                found.join(", ")
            )
        })
        .collect())
}

fn array(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().context("cargo metadata has another shape than expected")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A graph in which `holdfast` uses `a` and `b`, which use the given versions of one crate.
    fn graph(name: &str, by_a: &str, by_b: &str, unused: &str) -> Value {
        let package = |id: String, name: &str, version: &str| json!({ "id": id, "name": name, "version": version });
        let uses = |id: &str, deps: &[String]| json!({ "id": id, "deps": deps.iter().map(|id| json!({ "pkg": id })).collect::<Vec<_>>() });
        let id = |version: &str| format!("{name} {version}");
        let versions: BTreeSet<&str> = [by_a, by_b, unused].into();
        let mut packages: Vec<Value> = versions.iter().map(|version| package(id(version), name, version)).collect();
        packages.extend(["holdfast", "a", "b"].map(|name| package(name.into(), name, "1.0.0")));
        let mut nodes: Vec<Value> = versions.iter().map(|version| uses(&id(version), &[])).collect();
        nodes.extend([uses("holdfast", &["a".into(), "b".into()]), uses("a", &[id(by_a)]), uses("b", &[id(by_b)])]);
        json!({ "packages": packages, "resolve": { "root": "holdfast", "nodes": nodes } })
    }

    #[test]
    fn a_second_version_of_a_watched_crate_is_named() {
        for name in ONE_VERSION {
            let found = duplicates(&graph(name, "1.0.0", "2.0.0", "3.0.0")).unwrap();
            assert_eq!(
                found,
                [format!("{name} is resolved in 2 versions (1.0.0, 2.0.0): see `cargo tree -d -i {name}`")]
            );
        }
    }

    #[test]
    fn one_version_is_fine_and_so_is_one_that_nobody_reaches() {
        assert_eq!(duplicates(&graph("tokio", "1.0.0", "1.0.0", "2.0.0")).unwrap(), Vec::<String>::new());
        assert_eq!(duplicates(&graph("syn", "1.0.0", "2.0.0", "2.0.0")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_graph_that_cannot_be_read_is_an_error_and_not_a_pass() {
        assert!(duplicates(&json!({})).is_err());
    }
}
