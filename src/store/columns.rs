//! What Evolution's columns hold: lengths, clock times, JSON, a state.

use std::borrow::Cow;
use std::io::Write as _;

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{SqlType, Text};
use diesel::sqlite::Sqlite;
use serde_json::Value;

/// JSON: `jsonb` in PostgreSQL, a text in SQLite.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(sqlite_type(name = "Text"), postgres_type(oid = 3802, array_oid = 3807))]
pub struct Json;

/// The state of a connection: Evolution's enum in PostgreSQL, a text in SQLite.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(sqlite_type(name = "Text"), postgres_type(name = "InstanceConnectionStatus"))]
pub struct ConnectionStatus;

/// The text of a column of JSON, which need not be any in SQLite.
#[derive(Debug, Clone, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Json)]
pub(super) struct JsonText(pub(super) String);

impl JsonText {
    /// Writes a value.
    pub(super) fn of(value: &Value) -> Self {
        Self(value.to_string())
    }
}

/// The version that a value of `jsonb` begins with on the wire.
const JSONB: u8 = 1;

impl ToSql<Json, Pg> for JsonText {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Json, Pg> for JsonText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes().split_first() {
            Some((&JSONB, text)) => Ok(Self(String::from_utf8(text.to_vec())?)),
            Some(_) | None => Err("the server writes JSON in another way".into()),
        }
    }
}

impl ToSql<Json, Sqlite> for JsonText {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_str());
        Ok(IsNull::No)
    }
}

impl FromSql<Json, Sqlite> for JsonText {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        <String as FromSql<Text, Sqlite>>::from_sql(value).map(Self)
    }
}

/// A state of a connection, as one word.
#[derive(Debug, Clone, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = ConnectionStatus)]
pub(super) struct Status(pub(super) Cow<'static, str>);

impl Status {
    /// Nothing is connected.
    pub(super) const CLOSE: Self = Self(Cow::Borrowed("close"));
}

impl ToSql<ConnectionStatus, Pg> for Status {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<ConnectionStatus, Pg> for Status {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Cow::Owned(String::from_utf8(value.as_bytes().to_vec())?)))
    }
}

impl ToSql<ConnectionStatus, Sqlite> for Status {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_ref());
        Ok(IsNull::No)
    }
}

impl FromSql<ConnectionStatus, Sqlite> for Status {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        <String as FromSql<Text, Sqlite>>::from_sql(value).map(|word| Self(Cow::Owned(word)))
    }
}

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
