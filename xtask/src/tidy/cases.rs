//! Failure cases: each has a row in docs/testing.md, and each test there exists, under the number of its case. Tests that other
//! pages name exist as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::tree::Tree;

/// Where the rows are.
const TABLE: &str = "docs/testing.md";
/// Pages that promise something by the name of a test.
const PAGES: &[&str] = &[TABLE, "docs/defects.md"];
/// The cases are numbered from 1 to this one.
const LAST: u8 = 56;

/// Compares the rows with the tests.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let functions = functions(tree);
    let mut findings = unknown(tree, &functions);
    let Some((_, text)) = tree.files().find(|(path, _)| *path == TABLE) else { return findings };
    let mut rows = BTreeSet::new();
    let mut named = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let Some((case, rest)) = row(line) else { continue };
        let mut complain = |why: String| findings.push(Finding::new(TABLE, number + 1, why));
        if !rows.insert(case) {
            complain(format!("S-{case:02} has a second row"));
        }
        let names: Vec<&str> = quoted(rest).filter(|name| !cases_of(name).is_empty()).collect();
        for name in &names {
            if !cases_of(name).contains(&case) {
                complain(format!("`{name}` stands in the row of S-{case:02}"));
            }
            named.insert((case, *name));
        }
        if names.is_empty() && !rest.contains("not yet") {
            complain(format!("S-{case:02} has no test and does not say `not yet` and why"));
        }
    }
    if rows.is_empty() {
        return findings;
    }
    for case in (1..=LAST).filter(|case| !rows.contains(case)) {
        findings.push(Finding::new(TABLE, 1, format!("S-{case:02} has no row")));
    }
    for (name, (path, line)) in &functions {
        for case in cases_of(name).into_iter().filter(|case| !named.contains(&(*case, *name))) {
            findings.push(Finding::new(
                path,
                *line,
                format!("`{name}` is missing in the row of S-{case:02} in {TABLE}"),
            ));
        }
    }
    findings
}

/// Names what looks like a test on one of the [`PAGES`] and is none.
fn unknown(tree: &Tree, functions: &BTreeMap<&str, (&str, usize)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| PAGES.contains(path)) {
        for (number, line) in text.lines().enumerate() {
            for name in quoted(line).filter(|name| is_sentence(name) && !functions.contains_key(name)) {
                findings.push(Finding::new(path, number + 1, format!("there is no test `{name}`")));
            }
        }
    }
    findings
}

/// Finds every function with its place; of those with the same name, one.
fn functions(tree: &Tree) -> BTreeMap<&str, (&str, usize)> {
    let mut found = BTreeMap::new();
    for (path, text) in tree.rust() {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let line =
                ["pub ", "pub(super) ", "pub(crate) "].iter().find_map(|open| line.strip_prefix(open)).unwrap_or(line);
            let line = line.strip_prefix("async ").unwrap_or(line);
            if let Some(rest) = line.strip_prefix("fn ") {
                found.insert(rest.split(['(', '<']).next().unwrap_or_default(), (path, number + 1));
            }
        }
    }
    found
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Tells whether a name is that of a test: words, and at least four of them, or the number of a case before them.
fn is_sentence(name: &str) -> bool {
    let words = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    !cases_of(name).is_empty() || (words && name.matches('_').count() >= 3)
}

/// Reads `| S-07 | ..`.
fn row(line: &str) -> Option<(u8, &str)> {
    let rest = line.strip_prefix("| S-")?;
    Some((rest.get(..2)?.parse().ok()?, rest.get(2..)?))
}

/// Reads the numbers that a name begins with: that of `s07_a_restart_after_pairing`, both of `s02_s03_a_dial_that_leads_nowhere`.
fn cases_of(name: &str) -> Vec<u8> {
    let mut cases = Vec::new();
    let mut rest = name;
    while let Some((number, more)) = rest.strip_prefix('s').and_then(|rest| rest.split_once('_')) {
        let Some(case) = number.parse().ok().filter(|_| number.len() == 2 && !more.is_empty()) else { break };
        cases.push(case);
        rest = more;
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    /// A table in which every other case is excused.
    fn table(row: &str) -> String {
        let excused = (2..=LAST).map(|case| format!("| S-{case:02} | not yet: no server for it | - |\n"));
        format!("# Testing\n{row}\n{}", excused.collect::<String>())
    }

    fn about(row: &str, source: &str) -> String {
        said(check, &[(TABLE, &table(row)), ("tests/it/a.rs", source)]).join("\n")
    }

    #[test]
    fn a_row_with_its_test_is_fine() {
        assert_eq!(about("| S-01 | `s01_it_holds` | link |", "#[test]\nasync fn s01_it_holds() {}\n"), "");
        assert_eq!(about("| S-01 | not yet: nothing to cut | - |", "fn start() {}"), "");
    }

    #[test]
    fn a_row_without_its_test_and_a_test_without_its_row_are_named() {
        assert!(about("| S-01 | `s01_it_holds` | link |", "").contains("there is no test `s01_it_holds`"));
        assert!(about("| S-01 | somewhere | link |", "").contains("S-01 has no test"));
        assert!(about("", "").contains("S-01 has no row"));
        let of_two = about("| S-01 | `s01_s02_both_hold` | link |", "fn s01_s02_both_hold() {}");
        assert_eq!(of_two, "tests/it/a.rs:1: `s01_s02_both_hold` is missing in the row of S-02 in docs/testing.md");
        let stray = about("| S-01 | not yet: - | - |", "\nfn s01_it_holds() {}");
        assert_eq!(stray, "tests/it/a.rs:2: `s01_it_holds` is missing in the row of S-01 in docs/testing.md");
    }

    #[test]
    fn a_page_names_no_test_that_does_not_exist() {
        let page = "ok: `it_is_as_said`, `STORE_GRACE_SECONDS`, `nextTryAt`\n`it_is_not_as_said`";
        let said = said(check, &[("docs/defects.md", page), ("src/a.rs", "    fn it_is_as_said() {}")]);
        assert_eq!(said, ["docs/defects.md:2: there is no test `it_is_not_as_said`"]);
    }

    #[test]
    fn a_test_stands_in_the_row_of_its_own_case_and_a_case_has_one_row() {
        let other = about("| S-01 | `s02_it_holds` | link |", "fn s02_it_holds() {}");
        assert!(other.contains("`s02_it_holds` stands in the row of S-01"), "{other}");
        assert!(about("| S-02 | not yet: - | - |", "").contains("S-02 has a second row"));
    }
}
