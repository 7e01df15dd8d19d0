//! What a target is as a whole: one scheme, host and port.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names a target: `https://host`, with the port unless it is the scheme's own. Neither path nor credentials are in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(Arc<str>);

impl Origin {
    /// Wraps the text of an origin.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(Arc::from(text.as_ref()))
    }

    /// What stands for the origin of a URL that is none.
    pub fn none() -> Self {
        Self::new("none")
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
