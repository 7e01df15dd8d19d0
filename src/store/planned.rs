//! Statements that a connection plans once.
//!
//! diesel keeps prepared statements, but not those whose text may depend on their values as far as it knows: updates, upserts, and whatever is
//! written as SQL. Planning is most of what a short one costs SQLite, and PostgreSQL a round trip. Here whoever writes the statement says that
//! its text is one of a few.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// What tells statements apart that were planned.
pub(super) trait Text: 'static {
    /// Whether the type says it all, so that the text need not even be written to find the plan.
    const FIXED: bool = true;
}

/// The text itself.
pub(super) enum Itself {}

impl Text for Itself {
    const FIXED: bool = false;
}

/// A statement that is planned once.
pub(super) struct Planned<Q, T> {
    query: Q,
    text: PhantomData<T>,
}

impl<Q, T: Text> Planned<Q, T> {
    pub(super) fn new(query: Q) -> Self {
        Self { query, text: PhantomData }
    }
}

/// Lets a statement be planned once for each text that it has: it has few.
pub(super) fn planned<Q>(query: Q) -> Planned<Q, Itself> {
    Planned::new(query)
}

/// Lets a statement be planned once, whose text in this place is always the same.
macro_rules! fixed {
    ($query:expr) => {{
        enum Here {}
        impl $crate::store::planned::Text for Here {}
        $crate::store::planned::Planned::<_, Here>::new($query)
    }};
}
pub(super) use fixed;

impl<Q, T: Text> QueryId for Planned<Q, T> {
    type QueryId = T;
    const HAS_STATIC_QUERY_ID: bool = T::FIXED;
}

impl<DB: Backend, Q: QueryFragment<DB>, T> QueryFragment<DB> for Planned<Q, T> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.query.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q: Query, T> Query for Planned<Q, T> {
    type SqlType = Q::SqlType;
}

impl<Q, T, C> RunQueryDsl<C> for Planned<Q, T> {}
