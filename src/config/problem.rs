//! What is wrong with a setting.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The service cannot start.
    Error,
    /// It starts, but something will not be as expected.
    Warning,
}

/// One mistake. Its text never holds the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// Stable, begins with `cfg-`.
    pub code: &'static str,
    pub variable: &'static str,
    /// What is wrong.
    pub sentence: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word} [{}] {}: {}; {}", self.code, self.variable, self.sentence, self.fix)
    }
}
