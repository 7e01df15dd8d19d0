//! Traces of one machine that must not be committed: its folders, and the registries it happened to download from.

use crate::finding::Finding;
use crate::tree::{Tree, has_extension};

/// Top-level folders that mean something on one machine only.
const FOLDERS: &[&str] = &["root", "home", "tmp", "Users", "work", "workspace"];
/// How the name of a host begins that hands out packages.
const REGISTRY_HOSTS: &[&str] =
    &["registry", "registries", "npm", "pypi", "crates", "mirror", "mirrors", "artifactory", "nexus"];
/// What every package in Cargo.lock comes from.
const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every text file of the tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if matches!(name, ".npmrc" | ".yarnrc" | ".yarnrc.yml" | "pip.conf") {
            findings.push(Finding::new(path, 1, "which registry to use is the machine's own business"));
        }
        for (number, line) in text.lines().enumerate() {
            let mut complain = |why: String| findings.push(Finding::new(path, number + 1, why));
            if let Some(found) = machine_path(line) {
                complain(format!("`{found}` is a path of one machine"));
            }
            if let Some(host) = registry_url(line) {
                complain(format!("`{host}` is a registry: leave the choice to the machine"));
            }
            if has_extension(name, "json") && line.trim_start().starts_with("\"resolved\":") {
                complain("a lock file keeps versions and checksums, not where they came from: set omit-lockfile-registry-resolved".to_owned());
            }
            if name == "Cargo.lock"
                && line.strip_prefix("source = ").is_some_and(|source| source.trim_matches('"') != INDEX)
            {
                complain("every dependency comes from crates.io".to_owned());
            }
        }
    }
    findings
}

/// Finds an absolute path into one of the [`FOLDERS`].
fn machine_path(line: &str) -> Option<&str> {
    FOLDERS.iter().find_map(|folder| {
        let needle = format!("/{folder}/");
        line.match_indices(&needle).find_map(|(at, _)| {
            let before = line[..at].chars().next_back();
            let absolute = before.is_none_or(|before| {
                !before.is_alphanumeric() && !matches!(before, '_' | '.' | '-' | '~' | '}' | ')' | '*')
            });
            let rest = &line[at + needle.len()..];
            let length = rest
                .find(|letter: char| !letter.is_alphanumeric() && !matches!(letter, '_' | '.' | '-' | '$'))
                .unwrap_or(rest.len());
            (absolute && (length > 0 || *folder == "root")).then(|| &line[at..at + needle.len() + length])
        })
    })
}

/// Finds the host of an URL that is named like a registry.
fn registry_url(line: &str) -> Option<&str> {
    line.match_indices("://").find_map(|(at, mark)| {
        let rest = &line[at + mark.len()..];
        let authority = &rest[..rest.find(|letter: char| "/\"'`<>) ,;".contains(letter)).unwrap_or(rest.len())];
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let (first, more) = host.split_once('.')?;
        (REGISTRY_HOSTS.contains(&first) && !more.is_empty()).then_some(host)
    })
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    fn breach(path: &str, text: &str) -> String {
        said(check, &[(path, text)]).join("\n")
    }

    #[test]
    fn a_path_of_one_machine_is_found_wherever_it_stands() {
        for folder in ["root", "home", "tmp", "Users", "work"] {
            let path = format!("/{folder}/x1");
            for line in [
                format!("cd {path}/y"),
                format!("url = \"file://{path}\""),
                format!("({path})"),
                format!("A={path}"),
                path.clone(),
            ] {
                assert!(
                    breach("docs/a.md", &format!("\n{line}")).contains(&format!(":2: `{path}` is a path")),
                    "{line}"
                );
            }
        }
        assert!(breach("a.sh", &format!("ls /{}/", "root")).contains("is a path"));
    }

    #[test]
    fn paths_that_merely_look_alike_are_fine() {
        for line in [
            "target/tmp/x",
            "$DIR/home/x",
            "${DIR}/tmp/x",
            "crates/root/src",
            "mktemp in /tmp",
            "GET /instance/home",
            "../work/x",
            "~/work/x",
        ] {
            assert_eq!(breach("docs/a.md", line), "", "{line}");
        }
    }

    #[test]
    fn registries_are_not_named() {
        let host = format!("{}.example.org", "registry");
        assert!(breach("a.md", &format!("see https://{host}/x")).contains(&format!("`{host}` is a registry")));
        assert!(
            breach("a.toml", &format!("x = \"sparse+https://me:pw@{}.corp/index\"", "artifactory"))
                .contains("is a registry")
        );
        assert!(breach("tests/baileys/.npmrc", "").contains("machine's own business"));
        assert!(
            breach("tests/baileys/package-lock.json", "{\n  \"resolved\": \"x\"").contains(":2: a lock file keeps")
        );
        assert!(breach("Cargo.lock", "source = \"git+https://example.org/x\"").contains("comes from crates.io"));
    }

    #[test]
    fn ordinary_addresses_and_locks_are_fine() {
        assert_eq!(
            breach("a.md", "https://example.org/registry and ws://127.0.0.1:7300 and https://www.npmx.example"),
            ""
        );
        assert_eq!(breach("Cargo.lock", &format!("source = \"{INDEX}\"")), "");
        assert_eq!(breach("a.rs", "self.registry.len(); registry.insert(x)"), "");
    }
}
