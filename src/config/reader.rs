//! Reads typed values and remembers what was wrong.

use std::time::Duration;

use secrecy::SecretString;

use super::problem::{Problem, Severity};
use super::table::{Kind, Variable};

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// Reads values a second time, without reporting their problems a second time.
    pub(super) fn quiet(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self::new(lookup)
    }

    pub(super) fn finish(self) -> Vec<Problem> {
        self.problems
    }

    /// Returns the text of a variable. An empty value counts as unset, as compose files write it.
    pub(super) fn optional(&self, variable: Variable) -> Option<String> {
        self.other(variable.name)
    }

    /// Returns the text of a variable that is not ours.
    pub(super) fn other(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn text(&self, variable: Variable) -> String {
        self.optional(variable).unwrap_or_else(|| variable.default.to_owned())
    }

    pub(super) fn secret(&self, variable: Variable) -> Option<SecretString> {
        self.optional(variable).map(SecretString::from)
    }

    pub(super) fn list(&self, variable: Variable) -> Vec<String> {
        items(&self.text(variable)).map(str::to_owned).collect()
    }

    pub(super) fn flag(&mut self, variable: Variable) -> bool {
        match self.text(variable).as_str() {
            "true" => true,
            "false" => false,
            _ => {
                let sentence = "the value is neither true nor false";
                self.error(variable.name, "cfg-not-a-boolean", sentence, "write true or false");
                variable.default == "true"
            }
        }
    }

    pub(super) fn choice(&mut self, variable: Variable) -> &'static str {
        let Kind::Choice(choices) = variable.kind else { return variable.default };
        let text = self.text(variable);
        if let Some(choice) = choices.iter().find(|choice| **choice == text) {
            return choice;
        }
        self.not_a_choice(variable, choices);
        variable.default
    }

    /// Reads a list of which every item is one of the choices.
    pub(super) fn choices(&mut self, variable: Variable) -> Vec<&'static str> {
        let Kind::Choices(choices) = variable.kind else { return Vec::new() };
        let find =
            |text: &str| items(text).map(|item| choices.iter().copied().find(|choice| *choice == item)).collect();
        let found: Option<Vec<_>> = find(&self.text(variable));
        found.filter(|found| !found.is_empty()).unwrap_or_else(|| {
            self.not_a_choice(variable, choices);
            find(variable.default).unwrap_or_default()
        })
    }

    fn not_a_choice(&mut self, variable: Variable, choices: &[&str]) {
        let fix = format!(
            "write {} {}",
            if matches!(variable.kind, Kind::Choice(_)) { "one of" } else { "some of" },
            choices.join(", ")
        );
        self.error(variable.name, "cfg-not-a-choice", "the value is none of those that are possible", fix);
    }

    /// Reads a whole number. Without a default, what cannot be read is zero.
    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, variable: Variable) -> T {
        let text = self.text(variable);
        let value = self.whole(variable, &text).or_else(|| variable.default.parse().ok());
        value.and_then(|value| T::try_from(value).ok()).unwrap_or_default()
    }

    /// Reads a length of time, in the unit of the table.
    pub(super) fn duration(&mut self, variable: Variable) -> Duration {
        let Kind::Time { unit, .. } = variable.kind else { return Duration::ZERO };
        Duration::from_millis(self.number::<u64>(variable).saturating_mul(unit.millis()))
    }

    /// Reads a length of time that may be unset.
    pub(super) fn optional_duration(&mut self, variable: Variable) -> Option<Duration> {
        self.optional(variable).map(|_| self.duration(variable)).filter(|read| !read.is_zero())
    }

    fn whole(&mut self, variable: Variable, text: &str) -> Option<u64> {
        let (from, to) = match variable.kind {
            Kind::Number { from, to } | Kind::Time { from, to, .. } => (from, to),
            Kind::MinutesOrFalse { to } => (0, to),
            Kind::Text
            | Kind::Form(_)
            | Kind::Flag
            | Kind::Fraction
            | Kind::Choice(_)
            | Kind::Choices(_)
            | Kind::List
            | Kind::Statuses
            | Kind::Color => return None,
        };
        let fix = || format!("write a number from {from} to {to}{}", unit(variable.kind));
        match text.parse::<u64>() {
            Ok(value) if (from..=to).contains(&value) => return Some(value),
            // What is too large for its type is a number all the same.
            parsed if parsed.is_ok() || text.parse::<i128>().is_ok() => {
                self.error(variable.name, "cfg-out-of-range", "the number is out of range", fix());
            }
            _ if text.starts_with("tcp://") => self.error(
                variable.name,
                "cfg-not-a-number",
                "the value is an address, as Kubernetes sets it for a service of that name",
                "set enableServiceLinks: false in the pod, or rename that service",
            ),
            _ => self.error(variable.name, "cfg-not-a-number", "the value is not a whole number", fix()),
        }
        None
    }

    pub(super) fn fraction(&mut self, variable: Variable) -> f64 {
        match self.text(variable).parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => value,
            Ok(_) | Err(_) => {
                let sentence = "the value is not a number from 0 to 1";
                self.error(variable.name, "cfg-not-a-fraction", sentence, "write a number from 0 to 1");
                variable.default.parse().unwrap_or_default()
            }
        }
    }

    pub(super) fn statuses(&mut self, variable: Variable) -> Vec<u16> {
        let read = |text: &str| -> Option<Vec<u16>> {
            let statuses: Option<Vec<u16>> = text.split(',').map(|item| item.trim().parse().ok()).collect();
            statuses.filter(|statuses| statuses.iter().all(|status| (100..=599).contains(status)))
        };
        read(&self.text(variable)).unwrap_or_else(|| {
            let sentence = "the value is not a list of HTTP statuses";
            self.error(
                variable.name,
                "cfg-not-a-list",
                sentence,
                "write numbers from 100 to 599 with commas between them",
            );
            read(variable.default).unwrap_or_default()
        })
    }

    pub(super) fn color(&mut self, variable: Variable) -> String {
        let text = self.text(variable);
        let digits = text.strip_prefix('#').unwrap_or_default();
        if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return text;
        }
        self.error(variable.name, "cfg-not-a-color", "the value is not a colour", "write it as #rrggbb");
        variable.default.to_owned()
    }

    pub(super) fn error(&mut self, variable: &'static str, code: &'static str, sentence: &str, fix: impl Into<String>) {
        self.found(Severity::Error, variable, code, sentence, fix);
    }

    pub(super) fn warn(&mut self, variable: &'static str, code: &'static str, sentence: &str, fix: impl Into<String>) {
        self.found(Severity::Warning, variable, code, sentence, fix);
    }

    pub(super) fn recommend(
        &mut self,
        variable: &'static str,
        code: &'static str,
        sentence: &str,
        fix: impl Into<String>,
    ) {
        self.found(Severity::Recommendation, variable, code, sentence, fix);
    }

    fn found(
        &mut self,
        severity: Severity,
        variable: &'static str,
        code: &'static str,
        sentence: &str,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem::new(severity, code, variable, sentence, fix));
    }
}

/// The items of a list; an empty one counts for nothing.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The unit, as it stands behind a number.
fn unit(kind: Kind) -> String {
    match kind {
        Kind::Time { unit, .. } => format!(" {}", unit.plural()),
        Kind::MinutesOrFalse { .. } => " minutes".to_owned(),
        Kind::Text
        | Kind::Form(_)
        | Kind::Flag
        | Kind::Number { .. }
        | Kind::Fraction
        | Kind::Choice(_)
        | Kind::Choices(_)
        | Kind::List
        | Kind::Statuses
        | Kind::Color => String::new(),
    }
}
