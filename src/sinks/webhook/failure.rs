//! What a failed try is called in logs and dead letters: a sentence without the URL, which may hold a secret.

use std::error::Error;
use std::time::Duration;

/// Says why there was no answer.
pub(super) fn sentence(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("the receiver did not answer within {} ms", timeout.as_millis());
    }
    let cause = root(error).map_or_else(String::new, |cause| format!(": {cause}"));
    if error.is_connect() {
        format!("the receiver could not be reached{cause}")
    } else if error.is_builder() {
        format!("the request could not be made{cause}")
    } else {
        format!("the connection to the receiver broke{cause}")
    }
}

/// Returns the innermost cause; the outer ones repeat it or show the URL.
fn root(error: &reqwest::Error) -> Option<&dyn Error> {
    let mut cause = error.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause)
}
