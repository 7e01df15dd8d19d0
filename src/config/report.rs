//! The settings as an operator may see them: every value with where it comes from, and what was found. No secret is in it.

use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::json;

use super::problem::{Problem, Severity};
use super::table::{self, Kind, Rank};

/// What stands for a secret that is set.
const HIDDEN: &str = "[hidden]";

/// The values, and what was found about them.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub values: Vec<Value>,
    pub findings: Vec<Problem>,
    /// What was found once the database was open.
    stored: Arc<OnceLock<Vec<Problem>>>,
}

/// One variable.
#[derive(Debug, Clone, Serialize)]
pub struct Value {
    pub name: &'static str,
    pub group: &'static str,
    /// What it means.
    pub meaning: String,
    /// What is in force, `null` if it is unset and has no default; `[hidden]` for a secret, and for what is wrong.
    pub value: Option<String>,
    pub default: Option<&'static str>,
    /// Whether somebody has set it.
    pub set: bool,
    pub unit: Option<&'static str>,
    /// What may be written.
    pub range: String,
    /// `critical` or `recommended`, if it is worth a look before a service goes into production.
    pub rank: Option<&'static str>,
    /// How it is best set, if it has a rank.
    pub advice: Option<String>,
}

impl Report {
    /// Reads every variable of the table as it is given.
    pub fn of(lookup: &dyn Fn(&str) -> Option<String>, findings: Vec<Problem>) -> Self {
        let groups =
            table::GROUPS.iter().flat_map(|group| group.variables.iter().map(|variable| (group.title, variable)));
        // What is wrong may be anything, a secret in the wrong place too.
        let wrong =
            |name: &str| findings.iter().any(|found| found.severity == Severity::Error && found.variable == name);
        let values: Vec<Value> = groups
            .map(|(group, variable)| {
                let given = lookup(variable.name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
                let default = Some(variable.default).filter(|text| !text.is_empty());
                let (rank, advice) = match variable.rank {
                    Some(Rank::Critical(advice)) => (Some("critical"), Some(plain(advice))),
                    Some(Rank::Recommended(advice)) => (Some("recommended"), Some(plain(advice))),
                    None => (None, None),
                };
                let unit = match variable.kind {
                    Kind::Time { unit, .. } => Some(unit.plural()),
                    Kind::MinutesOrFalse { .. } => Some("minutes"),
                    Kind::Text
                    | Kind::Form(_)
                    | Kind::Flag
                    | Kind::Number { .. }
                    | Kind::Fraction
                    | Kind::Choice(_)
                    | Kind::Choices(_)
                    | Kind::List
                    | Kind::Statuses
                    | Kind::Color => None,
                };
                Value {
                    name: variable.name,
                    group,
                    meaning: plain(variable.meaning),
                    set: given.is_some(),
                    value: match given {
                        Some(_) if variable.secret || wrong(variable.name) => Some(HIDDEN.to_owned()),
                        Some(given) => Some(without_user(given)),
                        None => default.map(str::to_owned),
                    },
                    default,
                    unit,
                    range: plain(&variable.range()),
                    rank,
                    advice,
                }
            })
            .collect();
        Self { values, findings, stored: Arc::default() }
    }

    /// Adds what is stored and not done with these settings. Only the first call counts.
    pub fn note_stored(&self, found: Vec<Problem>) {
        self.stored.get_or_init(|| found);
    }

    /// Returns it as JSON, with the critical and the recommended variables in lists of their own.
    pub fn view(&self) -> serde_json::Value {
        let ranked = |rank: &'static str| -> Vec<serde_json::Value> {
            self.ranked(rank)
                .map(|value| {
                    let codes: Vec<&str> = self.about(value.name).map(|problem| problem.code).collect();
                    json!({ "name": value.name, "value": value.value, "set": value.set, "advice": value.advice, "findings": codes })
                })
                .collect()
        };
        let mut findings: Vec<&Problem> = self.findings.iter().chain(self.stored.get().into_iter().flatten()).collect();
        findings.sort_by_key(|problem| problem.severity);
        json!({
            "findings": findings,
            "critical": ranked("critical"),
            "recommended": ranked("recommended"),
            "values": self.values,
        })
    }

    /// Returns the values of a rank.
    pub fn ranked(&self, rank: &str) -> impl Iterator<Item = &Value> {
        self.values.iter().filter(move |value| value.rank == Some(rank))
    }

    /// Returns what was found about a variable.
    pub fn about(&self, name: &str) -> impl Iterator<Item = &Problem> {
        self.findings.iter().filter(move |problem| problem.variable == name)
    }
}

/// Hides user and password of an address.
fn without_user(text: String) -> String {
    match text.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((user, rest)))) if !user.contains('/') => format!("{scheme}://{HIDDEN}@{rest}"),
        _ => text,
    }
}

/// Leaves the marks of the documentation out: links keep their text, and code its letters.
fn plain(meaning: &str) -> String {
    let mut out = String::new();
    let mut rest = meaning;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        let Some((text, target)) = link.split_once("](") else {
            out.push('[');
            rest = link;
            continue;
        };
        out.push_str(text);
        rest = target.split_once(')').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out.replace('`', "").replace("**", "")
}
