//! Statements that a connection plans once.
//!
//! diesel keeps prepared statements, but not those whose text may depend on their values as far as it knows: updates, upserts, and whatever is
//! written as SQL. Planning is most of what a short one costs SQLite, and one more round trip to PostgreSQL. Those that every write needs
//! are written here as a text that never changes, with `?` where a value goes.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

/// The text of a statement.
pub(super) trait Text: 'static {
    /// In pieces, which databases may word differently.
    const SQL: &'static [&'static str];
    /// What it returns.
    type Row;
}

/// A statement with its values.
pub(super) struct Prepared<T, V> {
    values: V,
    text: PhantomData<T>,
}

/// Puts values into the places of a statement, in their order.
pub(super) fn prepared<T: Text, V>(_text: T, values: V) -> Prepared<T, V> {
    Prepared { values, text: PhantomData }
}

/// A value of an SQL type.
pub(super) struct Value<S, U>(U, PhantomData<S>);

/// Says which SQL type a value has.
pub(super) fn value<S, U>(value: U) -> Value<S, U> {
    Value(value, PhantomData)
}

/// Values for the places of a statement.
pub(super) trait Values<DB: Backend> {
    fn push<'b>(&'b self, place: usize, out: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>;
}

macro_rules! values {
    ($($place:tt $sql:ident $rust:ident),+) => {
        impl<DB: Backend, $($sql, $rust),+> Values<DB> for ($(Value<$sql, $rust>,)+)
        where
            $(DB: HasSqlType<$sql>, $rust: ToSql<$sql, DB>),+
        {
            fn push<'b>(&'b self, place: usize, out: &mut AstPass<'_, 'b, DB>) -> QueryResult<()> {
                match place {
                    $($place => out.push_bind_param::<$sql, $rust>(&self.$place.0),)+
                    _more => Err(diesel::result::Error::QueryBuilderError("a statement has more places than values".into())),
                }
            }
        }
    };
}
values!(0 S0 U0);
values!(0 S0 U0, 1 S1 U1);
values!(0 S0 U0, 1 S1 U1, 2 S2 U2);
values!(0 S0 U0, 1 S1 U1, 2 S2 U2, 3 S3 U3);
values!(0 S0 U0, 1 S1 U1, 2 S2 U2, 3 S3 U3, 4 S4 U4);
values!(0 S0 U0, 1 S1 U1, 2 S2 U2, 3 S3 U3, 4 S4 U4, 5 S5 U5, 6 S6 U6, 7 S7 U7, 8 S8 U8);

impl<T: Text, V> QueryId for Prepared<T, V> {
    type QueryId = T;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<DB: Backend, T: Text, V: Values<DB>> QueryFragment<DB> for Prepared<T, V> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let mut places = 0;
        for piece in T::SQL {
            for (number, part) in piece.split('?').enumerate() {
                if number > 0 {
                    self.values.push(places, &mut out)?;
                    places += 1;
                }
                out.push_sql(part);
            }
        }
        Ok(())
    }
}

impl<T: Text, V> Query for Prepared<T, V> {
    type SqlType = T::Row;
}

impl<T, V, C> RunQueryDsl<C> for Prepared<T, V> {}
