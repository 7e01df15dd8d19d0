//! Whom a panic came to: an order to panic waits for the next task that passes, and only the engine's own log tells whose that was.

use std::collections::HashMap;

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
    let (mut names, mut panicked, mut panics) = (HashMap::new(), None, Vec::new());
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let fields = &line["fields"];
        let (Some(message), Some(at)) = (fields["message"].as_str(), moment(&line)) else { continue };
        if message.starts_with("A task of a link panicked") {
            panicked = Some(at);
            continue;
        }
        let Some(id) = fields["instance.id"].as_str() else { continue };
        if let Some(name) = message.strip_prefix("Instance ").and_then(|rest| rest.split(' ').next()) {
            names.insert(id.to_owned(), name.to_owned());
        }
        if message.starts_with("Link ") && fields["code"] == "internal-panic" {
            let who = names.get(id).cloned().unwrap_or_default();
            panics.push(Panic { who, at: panicked.take().unwrap_or(at) });
        }
    }
    panics
}

fn moment(line: &Value) -> Option<Moment> {
    let at: DateTime<Utc> = line["timestamp"].as_str()?.parse().ok()?;
    Some(at.timestamp_millis().cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_that_of_the_instance_whose_link_it_ends() {
        let line = |at: &str, code: &str, id: &str, message: &str| {
            let fields = serde_json::json!({ "message": message, "code": code, "instance.id": id });
            serde_json::json!({ "timestamp": at, "fields": fields }).to_string()
        };
        let log = [
            "thread 'holdfast' panicked at lib.rs:496:25".to_owned(),
            line("1970-01-01T00:00:01Z", "", "1", "Instance shop is online"),
            line("1970-01-01T00:00:01.500Z", "", "", "A task of a link panicked while reading; its link is sealed"),
            line("1970-01-01T00:00:01.600Z", "internal-panic", "1", "Link 5 is down: internal-panic"),
            line("1970-01-01T00:00:03Z", "net-lost", "1", "Link 6 is down: net-lost"),
        ];
        assert_eq!(told(&log.join("\n")), [Panic { who: "shop".to_owned(), at: 1_500 }]);
    }
}
