//! What the engine says of its instances, beside what the rows of the database say.

use std::collections::BTreeMap;

use holdfast::config::{Problem, Severity};
use holdfast::store::StoredInstance;

/// Names that a sentence lists.
const SHOWN: usize = 5;

/// What the engine says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) state: String,
}

/// An instance of which the two do not say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// The engine says one state, and the row another.
    State { name: String, engine: String, row: String },
    /// The engine has it, and the database does not.
    NotStored(String),
    /// The database has it, and the engine does not.
    NotServed(String),
}

/// Compares the two.
pub(super) fn differences(told: &[Told], rows: &[StoredInstance]) -> Vec<Difference> {
    let rows: BTreeMap<&str, &str> = rows.iter().map(|row| (row.name.as_str(), row.state.as_str())).collect();
    let mut found: Vec<Difference> = told
        .iter()
        .filter_map(|told| match rows.get(told.name.as_str()) {
            None => Some(Difference::NotStored(told.name.clone())),
            Some(row) if *row != told.state => {
                Some(Difference::State { name: told.name.clone(), engine: told.state.clone(), row: (*row).to_owned() })
            }
            Some(_) => None,
        })
        .collect();
    let unserved = rows.keys().filter(|name| !told.iter().any(|told| told.name == **name));
    found.extend(unserved.map(|name| Difference::NotServed((*name).to_owned())));
    found
}

/// Says what lasting differences mean.
pub(super) fn judge(found: &[Difference]) -> Vec<Problem> {
    let (mut states, mut strangers) = (Vec::new(), Vec::new());
    for difference in found {
        match difference {
            Difference::State { name, engine, row } => {
                states.push(format!("{name} ({engine}, and {row} in its row)"));
            }
            Difference::NotStored(name) => strangers.push(format!("{name} (only the engine has it)")),
            Difference::NotServed(name) => strangers.push(format!("{name} (only the database has it)")),
        }
    }
    let mut problems = Vec::new();
    if !states.is_empty() {
        problems.push(Problem::new(
            Severity::Warning,
            "live-state-mismatch",
            "DATABASE_CONNECTION_URI",
            format!("the engine and the database say different things: {}", listed(&states)),
            "believe the engine, which has proof of what it says; stop whatever else writes to these rows, and look in the log for rows that could not be written",
        ));
    }
    if !strangers.is_empty() {
        problems.push(Problem::new(
            Severity::Warning,
            "live-engine-elsewhere",
            "DATABASE_CONNECTION_URI",
            format!("the engine that answers and these settings do not have the same instances: {}", listed(&strangers)),
            "give this command the settings of the engine (--env-file, DATA_DIR, DATABASE_CONNECTION_CLIENT_NAME), or its address (--url)",
        ));
    }
    problems
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        others => format!("{shown} and {others} others"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named_once_and_means_one_thing() {
        let row = |name: &str, state: &str| StoredInstance {
            name: name.to_owned(),
            state: state.to_owned(),
            integration: String::new(),
        };
        let told = |name: &str, state: &str| Told { name: name.to_owned(), state: state.to_owned() };
        let rows = [row("a", "open"), row("b", "open"), row("c", "close")];
        assert!(differences(&[told("a", "open"), told("b", "open"), told("c", "close")], &rows).is_empty());
        let found = differences(&[told("a", "connecting"), told("c", "close"), told("d", "open")], &rows);
        assert_eq!(
            found,
            [
                Difference::State { name: "a".to_owned(), engine: "connecting".to_owned(), row: "open".to_owned() },
                Difference::NotStored("d".to_owned()),
                Difference::NotServed("b".to_owned()),
            ]
        );
        let codes: Vec<&str> = judge(&found).iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["live-state-mismatch", "live-engine-elsewhere"]);
        assert!(judge(&[]).is_empty());
    }
}
