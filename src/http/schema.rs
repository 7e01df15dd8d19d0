//! A small schema language that says what is wrong with a body in the words that Evolution's clients know.
//!
//! The tables of rules stand beside the routes. All messages are collected, in the order of the table, then those of missing fields;
//! fields that no rule names are accepted.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::ApiError;

/// The rules of one object.
pub(super) struct Schema {
    /// Fields and what they have to be, if they are there.
    pub(super) fields: &'static [(&'static str, Rule)],
    /// Fields that have to be there.
    pub(super) required: &'static [&'static str],
}

/// What a value has to be.
pub(super) enum Rule {
    Text,
    /// A text of at most so many characters, as its column has.
    UpTo(usize),
    Flag,
    Number,
    Whole,
    Object,
    Null,
    /// An object with rules of its own.
    Nested(&'static Schema),
    /// An object with rules of its own, whose type nobody looks at.
    Loose(&'static Schema),
    /// A text in this form, which is shown as the pattern it stands for.
    Form {
        shown: &'static str,
        fits: fn(&str) -> bool,
    },
    /// One of these texts.
    OneOf(fn() -> Vec<&'static str>),
    List {
        items: &'static Rule,
        min: usize,
        unique: bool,
    },
    /// Either of two.
    Or(&'static Rule, &'static Rule),
    /// Another rule, whose failure is told in this one sentence.
    Described(&'static Rule, &'static str),
}

/// Digits, then at least one of `.`, `@`, `-` or a word character: the start of a number or a JID.
pub(super) const NUMBER: Rule = Rule::Form { shown: r#""^\\d+[\\.@\\w-]+""#, fits: is_number };

/// Digits at the start.
pub(super) const DIGITS: Rule =
    Rule::Form { shown: r#""^\\d+""#, fits: |text| text.starts_with(|c: char| c.is_ascii_digit()) };

fn is_number(text: &str) -> bool {
    let mut chars = text.chars();
    let follows = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | '-');
    chars.next().is_some_and(|c| c.is_ascii_digit()) && chars.next().is_some_and(follows)
}

impl Schema {
    /// Checks a whole body and returns its fields.
    pub(super) fn check<'a>(&self, body: &'a Value) -> Result<&'a Map<String, Value>, ApiError> {
        let Some(fields) = body.as_object() else {
            return Err(ApiError::invalid(vec!["instance is not of a type(s) object".to_owned()]));
        };
        let mut found = Vec::new();
        self.collect("instance", fields, &mut found);
        if found.is_empty() { Ok(fields) } else { Err(ApiError::invalid(found)) }
    }

    /// Checks a body whose every field decides something: one that no rule names may be a slip of the pen, and is refused.
    pub(super) fn check_all<'a>(&self, body: &'a Value) -> Result<&'a Map<String, Value>, ApiError> {
        let fields = self.check(body)?;
        let known = |name: &str| self.fields.iter().any(|(field, _)| *field == name);
        let unknown = fields.keys().filter(|name| !known(name));
        let found: Vec<String> =
            unknown.map(|name| format!("instance is not allowed to have the additional property \"{name}\"")).collect();
        if found.is_empty() { Ok(fields) } else { Err(ApiError::invalid(found)) }
    }

    fn collect(&self, path: &str, object: &Map<String, Value>, found: &mut Vec<String>) {
        for (name, rule) in self.fields {
            if let Some(value) = object.get(*name) {
                rule.collect(&format!("{path}.{name}"), value, found);
            }
        }
        for name in self.required {
            if !object.contains_key(*name) {
                found.push(told(path, &format!("requires property \"{name}\"")));
            }
        }
    }
}

impl Rule {
    fn collect(&self, path: &str, value: &Value, found: &mut Vec<String>) {
        let mut kind = |fits: bool, kind: &str| {
            if !fits {
                found.push(told(path, &format!("is not of a type(s) {kind}")));
            }
        };
        match self {
            Self::Text => kind(value.is_string(), "string"),
            Self::UpTo(longest) => match value.as_str() {
                Some(text) if text.chars().count() > *longest => {
                    found.push(told(path, &format!("does not meet maximum length of {longest}")));
                }
                Some(_) => {}
                None => kind(false, "string"),
            },
            Self::Flag => kind(value.is_boolean(), "boolean"),
            Self::Number => kind(value.is_number(), "number"),
            Self::Whole => kind(value.as_f64().is_some_and(|number| number.fract() == 0.0), "integer"),
            Self::Object => kind(value.is_object(), "object"),
            Self::Null => kind(value.is_null(), "null"),
            Self::Nested(schema) => match value.as_object() {
                Some(object) => schema.collect(path, object, found),
                None => kind(false, "object"),
            },
            Self::Loose(schema) => {
                if let Some(object) = value.as_object() {
                    schema.collect(path, object, found);
                }
            }
            Self::Form { shown, fits } => match value.as_str() {
                Some(text) if fits(text) => {}
                Some(_) => found.push(told(path, &format!("does not match pattern {shown}"))),
                None => kind(false, "string"),
            },
            Self::OneOf(values) => {
                let values = values();
                kind(value.is_string(), "string");
                if !value.as_str().is_some_and(|text| values.contains(&text)) {
                    found.push(told(path, &format!("is not one of enum values: {}", values.join(","))));
                }
            }
            Self::List { items, min, unique } => match value.as_array() {
                Some(list) => collect_list(path, list, (items, *min, *unique), found),
                None => kind(false, "array"),
            },
            Self::Or(one, other) => {
                let mut ignored = Vec::new();
                other.collect(path, value, &mut ignored);
                if !ignored.is_empty() {
                    one.collect(path, value, found);
                }
            }
            Self::Described(rule, sentence) => {
                let mut silent = Vec::new();
                rule.collect(path, value, &mut silent);
                found.extend(silent.iter().map(|_| (*sentence).to_owned()));
            }
        }
    }
}

fn collect_list(path: &str, list: &[Value], (items, min, unique): (&Rule, usize, bool), found: &mut Vec<String>) {
    for (index, item) in list.iter().enumerate() {
        items.collect(&format!("{path}[{index}]"), item, found);
    }
    if list.len() < min {
        found.push(told(path, &format!("does not meet minimum length of {min}")));
    }
    if unique {
        let mut seen = HashSet::new();
        if !list.iter().all(|item| seen.insert(item.to_string())) {
            found.push(told(path, "contains duplicate item"));
        }
    }
}

/// The first `instance.` goes, as in Evolution; a failure of the whole body keeps its `instance`.
fn told(path: &str, what: &str) -> String {
    format!("{} {what}", path.strip_prefix("instance.").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DIGITS, NUMBER, Rule, Schema};

    const INNER: Schema = Schema {
        fields: &[
            ("url", Rule::Text),
            ("events", Rule::List { items: &Rule::OneOf(|| vec!["A", "B"]), min: 0, unique: false }),
        ],
        required: &["enabled", "url"],
    };
    const OUTER: Schema = Schema {
        fields: &[
            ("number", NUMBER),
            ("said", Rule::Described(&Rule::Text, "Invalid format")),
            ("delay", Rule::Described(&Rule::Whole, "Enter a value in milliseconds")),
            ("flag", Rule::Flag),
            ("days", Rule::Number),
            ("inner", Rule::Nested(&INNER)),
            ("loose", Rule::Loose(&INNER)),
            ("maybe", Rule::Or(&Rule::Object, &Rule::Null)),
            ("mentioned", Rule::List { items: &Rule::Described(&DIGITS, "numbers, please"), min: 1, unique: true }),
        ],
        required: &["number"],
    };

    fn messages(body: Value) -> Vec<String> {
        let mut found = Vec::new();
        OUTER.collect("instance", body.as_object().unwrap(), &mut found);
        found
    }

    #[test]
    fn failures_are_told_in_the_words_of_the_contract_and_in_order() {
        let table = [
            (json!({}), vec!["instance requires property \"number\""]),
            (json!({ "number": "1" }), vec!["number does not match pattern \"^\\\\d+[\\\\.@\\\\w-]+\""]),
            (json!({ "number": 55 }), vec!["number is not of a type(s) string"]),
            (json!({ "number": "55", "said": 1 }), vec!["Invalid format"]),
            (json!({ "number": "55", "delay": 1.5 }), vec!["Enter a value in milliseconds"]),
            (json!({ "number": "55", "delay": "1" }), vec!["Enter a value in milliseconds"]),
            (json!({ "number": "55", "flag": "true" }), vec!["flag is not of a type(s) boolean"]),
            (json!({ "number": "55", "days": "60" }), vec!["days is not of a type(s) number"]),
            (json!({ "number": "55", "inner": 1 }), vec!["inner is not of a type(s) object"]),
            (
                json!({ "number": "55", "inner": {} }),
                vec!["inner requires property \"enabled\"", "inner requires property \"url\""],
            ),
            (
                json!({ "number": "55", "inner": { "enabled": true, "url": "x", "events": ["A", "C"] } }),
                vec!["inner.events[1] is not one of enum values: A,B"],
            ),
            (
                json!({ "number": "55", "inner": { "enabled": true, "url": "x", "events": [7] } }),
                vec!["inner.events[0] is not of a type(s) string", "inner.events[0] is not one of enum values: A,B"],
            ),
            (
                json!({ "number": "55", "inner": { "enabled": true, "url": "x", "events": "A" } }),
                vec!["inner.events is not of a type(s) array"],
            ),
            (json!({ "number": "55", "maybe": 5 }), vec!["maybe is not of a type(s) object"]),
            (json!({ "number": "55", "mentioned": [] }), vec!["mentioned does not meet minimum length of 1"]),
            (json!({ "number": "55", "mentioned": ["x"] }), vec!["numbers, please"]),
            (json!({ "number": "55", "mentioned": ["1", "1"] }), vec!["mentioned contains duplicate item"]),
            (
                json!({ "delay": "x", "said": 5 }),
                vec!["Invalid format", "Enter a value in milliseconds", "instance requires property \"number\""],
            ),
        ];
        for (body, expected) in table {
            assert_eq!(messages(body.clone()), expected, "{body}");
        }
    }

    #[test]
    fn good_bodies_and_unknown_fields_pass() {
        let good = [
            json!({ "number": "5511999999999", "delay": 0, "unknown": [1, 2] }),
            json!({ "number": "55-1", "delay": 1200.0, "maybe": null, "loose": 5, "mentioned": ["551", "552"] }),
            json!({ "number": "5@s.whatsapp.net", "maybe": {}, "flag": false }),
        ];
        for body in good {
            assert!(OUTER.check(&body).is_ok(), "{body}");
        }
        assert!(OUTER.check(&json!([])).is_err());
        assert!(OUTER.check_all(&json!({ "number": "55" })).is_ok());
        assert!(OUTER.check_all(&json!({ "number": "55", "unknown": 1 })).is_err());
    }
}
