//! The key-value table of a session, each value encrypted.

use std::collections::{BTreeMap, HashSet};

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable, Text};
use holdfast_core::id::InstanceId;

use super::instances::require;
use super::{Backend, Conn, Tx, dialect};
use crate::ports::session::{Clear, Write};
use crate::ports::store::StoreError;
use crate::store::cipher::{Cipher, Place};
use crate::store::failure::{Failure, corrupt};
use crate::store::prepared::{self, prepared, value};
use crate::store::rows::NewValue;
use crate::store::schema::holdfast_session_value::{self as values, category, expires_at, instance_id, key};
use crate::store::schema::instance;

/// Keys in one statement, well below what SQLite binds.
const CHUNK: usize = 500;
/// From how many keys on they are looked for as a range.
const WORTH_A_RANGE: usize = 32;

type Plain = Vec<(String, Vec<u8>)>;
type Query<'q> = values::BoxedQuery<'q, Backend>;

pub(super) fn read(
    conn: &mut Conn,
    cipher: &Cipher,
    id: &InstanceId,
    kind: &str,
    name: &str,
) -> Result<Option<Vec<u8>>, Failure> {
    let it = instance_id.eq(instance::id).and(category.eq(kind)).and(key.eq(name));
    let row = instance::table.find(id.as_str()).left_join(values::table.on(it)).select(values::value.nullable());
    let found: Option<Option<Vec<u8>>> = row.first(conn).optional()?;
    let Some(sealed) = found else { return Err(StoreError::NoSuchInstance(id.clone()).into()) };
    Ok(sealed.map(|sealed| open(cipher, id, kind, name, &sealed)).transpose()?)
}

pub(super) fn read_many(
    conn: &mut Conn,
    cipher: &Cipher,
    id: &InstanceId,
    kind: &str,
    names: &[String],
) -> Result<Plain, Failure> {
    let found = match read_range(conn, cipher, id, kind, names)? {
        Some(found) => found,
        None => read_each(conn, cipher, id, kind, names)?,
    };
    found_of(conn, id, found)
}

fn read_each(
    conn: &mut Conn,
    cipher: &Cipher,
    id: &InstanceId,
    kind: &str,
    names: &[String],
) -> Result<Plain, Failure> {
    let mut found = Vec::with_capacity(names.len());
    for chunk in names.chunks(CHUNK) {
        let rows = of(id, kind).filter(key.eq_any(chunk));
        found.append(&mut load(conn, cipher, id, kind, rows)?);
    }
    Ok(found)
}

/// Passes on what was found of an instance, which is there if anything of it is: only where there is nothing, it has to be asked for.
fn found_of(conn: &mut Conn, id: &InstanceId, found: Plain) -> Result<Plain, Failure> {
    if found.is_empty() {
        require(conn, id)?;
    }
    Ok(found)
}

/// Reads many keys as the range in which they lie: one short statement, and one walk through the table, where each key by itself is a search.
/// `None` if they are few, or if too many others lie between them.
fn read_range(
    conn: &mut Conn,
    cipher: &Cipher,
    id: &InstanceId,
    kind: &str,
    names: &[String],
) -> Result<Option<Plain>, Failure> {
    let (Some(first), Some(last)) = (names.iter().min(), names.iter().max()) else { return Ok(Some(Vec::new())) };
    if names.len() < WORTH_A_RANGE {
        return Ok(None);
    }
    let most = names.len() * 2;
    let rows = of(id, kind).filter(key.ge(first)).filter(key.le(last)).limit(most as i64);
    let sealed: Vec<(String, Vec<u8>)> = rows.select((key, values::value)).load(conn)?;
    if sealed.len() == most {
        return Ok(None);
    }
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let asked = sealed.into_iter().filter(|(name, _)| wanted.contains(name.as_str()));
    Ok(Some(opened(cipher, id, kind, asked)?))
}

pub(super) fn scan(
    conn: &mut Conn,
    cipher: &Cipher,
    id: &InstanceId,
    kind: &str,
    prefix: &str,
) -> Result<Plain, Failure> {
    let (own, kind_of) = (value::<Text, _>(id.as_str()), value::<Text, _>(kind));
    let from = value::<Text, _>(prefix);
    let rows: Vec<(Option<String>, Option<Vec<u8>>)> = match end_of(prefix) {
        Some(end) => prepared(Within, (kind_of, from, value::<Text, _>(end), own)).load(conn)?,
        None => prepared(Onwards, (kind_of, from, own)).load(conn)?,
    };
    // The instance has a row at least, whatever it holds.
    if rows.is_empty() {
        return Err(StoreError::NoSuchInstance(id.clone()).into());
    }
    Ok(opened(cipher, id, kind, rows.into_iter().filter_map(|(name, sealed)| name.zip(sealed)))?)
}

macro_rules! scan {
    ($(#[$doc:meta])* $name:ident, $rest:literal) => {
        $(#[$doc])*
        struct $name;
        impl prepared::Text for $name {
            const SQL: &'static [&'static str] = &[
                r#"SELECT v.key, v.value FROM "Instance" i LEFT JOIN holdfast_session_value v
                   ON v.instance_id = i."id" AND v.category = ? AND v.key >= ?"#,
                $rest,
                r#" WHERE i."id" = ? ORDER BY v.key"#,
            ];
            type Row = (Nullable<Text>, Nullable<Binary>);
        }
    };
}

scan!(
    /// The values of a category from a key on.
    Onwards,
    ""
);
scan!(
    /// The same, up to another one.
    Within,
    " AND v.key < ?"
);

pub(super) fn last_key(conn: &mut Conn, id: &InstanceId, kind: &str) -> Result<Option<String>, Failure> {
    require(conn, id)?;
    Ok(of(id, kind).select(key).order(key.desc()).first(conn).optional()?)
}

pub(super) fn count(conn: &mut Conn, id: &InstanceId, clear: &Clear) -> Result<u64, Failure> {
    require(conn, id)?;
    let mut rows = within(of(id, clear.category), &clear.prefix);
    if let Some(moment) = clear.expired_at {
        rows = rows.filter(expires_at.le(moment));
    }
    let number: i64 = rows.select(count_star()).first(conn)?;
    Ok(number as u64)
}

pub(super) fn clear(tx: &mut Tx<'_>, id: &InstanceId, clear: &Clear) -> Result<(), Failure> {
    let mut rows = diesel::delete(values::table)
        .filter(instance_id.eq(id.as_str()))
        .filter(category.eq(clear.category))
        .filter(key.ge(&clear.prefix))
        .into_boxed();
    if let Some(end) = end_of(&clear.prefix) {
        rows = rows.filter(key.lt(end));
    }
    if let Some(moment) = clear.expired_at {
        rows = rows.filter(expires_at.le(moment));
    }
    rows.execute(tx.conn)?;
    Ok(())
}

/// Tells whether so many values are read from one moment without a transaction: what is found is that of one statement.
pub(super) fn are_few(names: &[String]) -> bool {
    names.len() <= CHUNK
}

/// Applies changes in order. Of several to one key the last is what counts, so it alone is written; in the order of the keys, so that
/// nobody waits in a circle.
pub(super) fn write(tx: &mut Tx<'_>, cipher: &Cipher, id: &InstanceId, writes: &[Write]) -> Result<(), Failure> {
    let last: BTreeMap<(&str, &str), &Write> =
        writes.iter().map(|write| ((write.category, write.key.as_str()), write)).collect();
    let mut rows = Vec::with_capacity(last.len());
    for ((kind, name), write) in last {
        let Some(plain) = &write.value else {
            diesel::delete(values::table.find((id.as_str(), kind, name))).execute(tx.conn)?;
            continue;
        };
        let place = Place::Value { instance: id, category: kind, key: name };
        let sealed = cipher.seal(place, plain)?;
        rows.push(NewValue { category: kind, key: name, value: sealed, expires_at: write.expires_at });
    }
    Ok(dialect::put(tx.conn, id, rows)?)
}

fn of<'q>(id: &'q InstanceId, kind: &'q str) -> Query<'q> {
    values::table.into_boxed().filter(instance_id.eq(id.as_str())).filter(category.eq(kind))
}

/// Keeps the keys that begin so, as a range, which the primary key's order answers.
fn within<'q>(rows: Query<'q>, prefix: &'q str) -> Query<'q> {
    let rows = rows.filter(key.ge(prefix));
    match end_of(prefix) {
        Some(end) => rows.filter(key.lt(end)),
        None => rows,
    }
}

/// Returns the first text that sorts after everything that begins with `prefix`, unless there is none.
fn end_of(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        // The range skips the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

fn load(conn: &mut Conn, cipher: &Cipher, id: &InstanceId, kind: &str, rows: Query<'_>) -> Result<Plain, Failure> {
    let sealed: Vec<(String, Vec<u8>)> = rows.select((key, values::value)).load(conn)?;
    Ok(opened(cipher, id, kind, sealed)?)
}

fn opened(
    cipher: &Cipher,
    id: &InstanceId,
    kind: &str,
    sealed: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<Plain, StoreError> {
    let plain = sealed.into_iter().map(|(name, sealed)| {
        let plain = open(cipher, id, kind, &name, &sealed)?;
        Ok((name, plain))
    });
    plain.collect()
}

fn open(cipher: &Cipher, id: &InstanceId, kind: &str, name: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let place = Place::Value { instance: id, category: kind, key: name };
    cipher.open(place, sealed).map_err(|error| corrupt(place, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_text_begins() {
        assert_eq!(end_of("ab").unwrap(), "ac");
        assert_eq!(end_of("a\u{10FFFF}").unwrap(), "b");
        assert_eq!(end_of("\u{D7FF}").unwrap(), "\u{E000}");
        assert_eq!(end_of(""), None);
        assert_eq!(end_of("\u{10FFFF}"), None);
    }
}
