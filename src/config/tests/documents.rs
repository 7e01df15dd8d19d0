//! `docs/configuration.md` and `.env.example`, as the table makes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::super::foreign::FAMILIES;
use super::super::table::{self, GROUPS, Rank, Variable};

/// Writes the documents instead of comparing them.
const WRITE: &str = "HOLDFAST_WRITE_DOCS";
const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end -->\n";

#[test]
fn the_documents_are_those_of_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let documents = [("docs/configuration.md", reference(&read("docs/configuration.md"))), (".env.example", example())];
    for (name, text) in documents {
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(root.join(name), text).unwrap();
        } else {
            assert!(
                read(name) == text,
                "{name} is not what the table says; set {WRITE}=1 and run this test to write it"
            );
        }
    }
}

#[test]
fn every_code_of_a_finding_is_documented_and_no_other() {
    let sources = [
        include_str!("../check.rs"),
        include_str!("../foreign.rs"),
        include_str!("../layers.rs"),
        include_str!("../proxy.rs"),
        include_str!("../reader.rs"),
        include_str!("../uri.rs"),
        include_str!("../../config.rs"),
        include_str!("../../cli.rs"),
    ];
    let mut used = BTreeSet::new();
    for source in sources {
        for (at, _) in source.match_indices("cfg-") {
            let code: String = source[at..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            used.insert(code);
        }
    }
    let section = include_str!("../../../docs/errors.md").split("\n## What is wrong with a setting").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let documented: BTreeSet<String> = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `cfg-")?.split_once('`')?.0))
        .map(|code| format!("cfg-{code}"))
        .collect();
    assert_eq!(documented, used);
}

/// Puts the tables between the marks of the document.
fn reference(document: &str) -> String {
    let mut out = String::new();
    let mut rest = document;
    let mut tables = BTreeSet::new();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->\n").expect("the mark of a table");
        let (_, after) = after.split_once(END).expect("the end of a table");
        let group = GROUPS.iter().find(|group| group.title == name);
        let table = match (group, name) {
            (Some(group), _) => variables(group.variables),
            (None, "ranks") => ranks(),
            (None, "foreign") => foreign(),
            (None, other) => panic!("there is no table {other}"),
        };
        let _ = write!(out, "{before}{BEGIN}{name} -->\n{table}{END}");
        tables.insert(name);
        rest = after;
    }
    assert_eq!(tables.len(), GROUPS.len() + 2, "each table has its place");
    out + rest
}

fn variables(variables: &[Variable]) -> String {
    let mut out = "| variable | default | range | meaning |\n|---|---|---|---|\n".to_owned();
    for variable in variables {
        let default = if variable.default.is_empty() { "unset".to_owned() } else { format!("`{}`", variable.default) };
        let _ = writeln!(out, "| `{}` | {default} | {} | {} |", variable.name, variable.range(), variable.meaning);
    }
    out
}

fn ranks() -> String {
    let mut out = "| variable | is | best |\n|---|---|---|\n".to_owned();
    for variable in table::all() {
        let _ = match variable.rank {
            Some(Rank::Critical(advice)) => writeln!(out, "| `{}` | critical | {advice} |", variable.name),
            Some(Rank::Recommended(advice)) => writeln!(out, "| `{}` | recommended | {advice} |", variable.name),
            None => Ok(()),
        };
    }
    out
}

fn foreign() -> String {
    let mut out = "| variables | instead |\n|---|---|\n".to_owned();
    for family in FAMILIES {
        let names: Vec<String> = family.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "| {} | {} |", names.join(", "), family.instead);
    }
    out
}

fn example() -> String {
    let mut out =
        "# Every setting, with its default. Copy this file to .env and take the # away from what you change.\n\
                   # What each means, and its range: docs/configuration.md\n"
            .to_owned();
    for group in &GROUPS {
        let _ = writeln!(out, "\n# {}", group.title);
        for Variable { name, default, .. } in group.variables {
            let quoted = default.contains([' ', '#']);
            let _ = if quoted { writeln!(out, "#{name}=\"{default}\"") } else { writeln!(out, "#{name}={default}") };
        }
    }
    out
}
