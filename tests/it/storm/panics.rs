//! Whom a panic came to: an order to panic waits for the next task that passes, and only the engine's own log tells whose that was.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::watch::Moment;

/// A panic, as the engine told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic {
    /// The name of the instance whose link it ended.
    pub(super) who: String,
    pub(super) at: Moment,
}

/// Reads the panics out of an engine's log.
pub(super) fn told(log: &str) -> Vec<Panic> {
    let mut last = None;
    log.lines()
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let message = line["fields"]["message"].as_str()?;
            let at = || {
                let at: DateTime<Utc> = line["timestamp"].as_str()?.parse().ok()?;
                Some(at.timestamp_millis().cast_unsigned())
            };
            if message.starts_with("A task of a link panicked") {
                last = at();
                return None;
            }
            let (who, _why) = message.strip_prefix("Instance ")?.split_once(" starts afresh")?;
            let at = last.take().or_else(at)?;
            (line["fields"]["code"] == "internal-panic").then(|| Panic { who: who.to_owned(), at })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_that_of_the_instance_that_starts_afresh_after_it() {
        let line = |at: &str, code: &str, message: &str| {
            serde_json::json!({ "timestamp": at, "fields": { "message": message, "code": code } }).to_string()
        };
        let log = [
            "thread 'holdfast' panicked at lib.rs:496:25".to_owned(),
            line("1970-01-01T00:00:01.500Z", "", "A task of a link panicked while reading; its link is sealed"),
            line("1970-01-01T00:00:01.600Z", "internal-panic", "Instance a starts afresh: An internal error."),
            line("1970-01-01T00:00:03Z", "store-unavailable", "Instance b starts afresh: No database."),
        ];
        assert_eq!(told(&log.join("\n")), [Panic { who: "a".to_owned(), at: 1_500 }]);
    }
}
