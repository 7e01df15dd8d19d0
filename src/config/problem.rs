//! What is wrong with a setting.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The service cannot start.
    Error,
    /// It starts, but something will not be as expected.
    Warning,
    /// It works as it is, and would work better, or be plainer, otherwise. Said where somebody asks, not at every start.
    Recommendation,
}

impl Severity {
    /// Returns it as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Recommendation => "recommendation",
        }
    }
}

/// One mistake. Its text never holds the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// Stable, begins with `cfg-`.
    pub code: &'static str,
    /// The variable, or the first of those that it is about.
    pub variable: Cow<'static, str>,
    /// What is wrong.
    pub sentence: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    pub fn new(
        severity: Severity,
        code: &'static str,
        variable: &'static str,
        sentence: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity, code, variable: Cow::Borrowed(variable), sentence: sentence.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] {}: {}; {}", self.severity.word(), self.code, self.variable, self.sentence, self.fix)
    }
}
