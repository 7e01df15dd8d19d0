//! What Evolution's columns hold: lengths, clock times, JSON.

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use serde_json::Value;

/// Length of most text columns.
pub(super) const SHORT: usize = 100;
/// Length of columns for URLs.
pub(super) const URL: usize = 500;

/// Cuts a text to the number of characters that its column holds.
pub(super) fn clip(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

/// Returns a moment as the columns hold it: UTC without a zone, in milliseconds.
pub(super) fn column_time(moment: DateTime<Utc>) -> NaiveDateTime {
    moment.naive_utc().trunc_subsecs(3)
}

/// Returns the moment that a column holds, cut to the milliseconds that the API shows.
pub(super) fn moment(column: NaiveDateTime) -> DateTime<Utc> {
    column.and_utc().trunc_subsecs(3)
}

/// Reads a column of JSON text; an empty column and a JSON `null` are alike.
pub(super) fn json(column: Option<&str>) -> serde_json::Result<Option<Value>> {
    match column.map(serde_json::from_str).transpose()? {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Ok(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(clip("añb", 2), "añ");
        assert_eq!(clip("short", SHORT), "short");
    }

    #[test]
    fn an_empty_column_and_null_are_alike() {
        assert_eq!(json(None).unwrap(), None);
        assert_eq!(json(Some("null")).unwrap(), None);
        assert_eq!(json(Some("[]")).unwrap(), Some(serde_json::json!([])));
        assert!(json(Some("[")).is_err());
    }
}
