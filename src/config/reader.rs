//! Reads typed values and remembers what was wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::problem::{Problem, Severity};

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

    /// An empty value counts as unset, as compose files write it.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.optional(name).map(SecretString::from)
    }

    pub(super) fn list(&self, name: &str, default: &str) -> Vec<String> {
        self.text(name, default).split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self.optional(name).as_deref() {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(_) => {
                self.error(name, "cfg-not-a-boolean", "the value is neither true nor false", "write true or false");
                default
            }
        }
    }

    pub(super) fn choice(&mut self, name: &'static str, choices: &[&'static str]) -> &'static str {
        let default = choices.first().copied().unwrap_or_default();
        let Some(text) = self.optional(name) else { return default };
        if let Some(choice) = choices.iter().find(|choice| **choice == text) {
            return choice;
        }
        self.error(
            name,
            "cfg-not-a-choice",
            "the value is none of those that are possible",
            format!("write one of {}", choices.join(", ")),
        );
        default
    }

    pub(super) fn number<T>(&mut self, name: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let Some(text) = self.optional(name) else { return default };
        match text.parse::<T>() {
            Ok(value) if range.contains(&value) => value,
            // What is too large for its type is a number all the same.
            parsed if parsed.is_ok() || text.parse::<i128>().is_ok() => {
                self.error(
                    name,
                    "cfg-out-of-range",
                    "the number is out of range",
                    format!("write a number from {} to {}", range.start(), range.end()),
                );
                default
            }
            _ => {
                self.error(
                    name,
                    "cfg-not-a-number",
                    "the value is not a whole number",
                    format!("write a number from {} to {}", range.start(), range.end()),
                );
                default
            }
        }
    }

    pub(super) fn seconds(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, range))
    }

    pub(super) fn millis(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, default, range))
    }

    /// Reads a number of larger units, each of so many seconds.
    pub(super) fn seconds_of(
        &mut self,
        name: &'static str,
        unit: u64,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.number(name, default, range).saturating_mul(unit))
    }

    pub(super) fn fraction(&mut self, name: &'static str, default: f64) -> f64 {
        let Some(text) = self.optional(name) else { return default };
        match text.parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => value,
            Ok(_) | Err(_) => {
                self.error(
                    name,
                    "cfg-not-a-fraction",
                    "the value is not a number from 0 to 1",
                    "write a number from 0 to 1",
                );
                default
            }
        }
    }

    pub(super) fn numbers(&mut self, name: &'static str, default: Vec<u16>) -> Vec<u16> {
        let Some(text) = self.optional(name) else { return default };
        let parsed: Result<Vec<u16>, _> = text.split(',').map(|item| item.trim().parse()).collect();
        parsed.unwrap_or_else(|_| {
            self.error(
                name,
                "cfg-not-a-list",
                "the value is not a list of HTTP statuses",
                "write numbers with commas between them",
            );
            default
        })
    }

    pub(super) fn color(&mut self, name: &'static str, default: &str) -> String {
        let text = self.text(name, default);
        let digits = text.strip_prefix('#').unwrap_or_default();
        if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return text;
        }
        self.error(name, "cfg-not-a-color", "the value is not a colour", "write it as #rrggbb");
        default.to_owned()
    }

    pub(super) fn error(&mut self, variable: &'static str, code: &'static str, sentence: &str, fix: impl Into<String>) {
        self.problems.push(Problem {
            severity: Severity::Error,
            code,
            variable,
            sentence: sentence.to_owned(),
            fix: fix.into(),
        });
    }

    pub(super) fn warn(&mut self, variable: &'static str, code: &'static str, sentence: &str, fix: impl Into<String>) {
        self.problems.push(Problem {
            severity: Severity::Warning,
            code,
            variable,
            sentence: sentence.to_owned(),
            fix: fix.into(),
        });
    }
}
