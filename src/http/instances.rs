//! `/instance/*`: one file per route.

pub(super) mod connect;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod fetch;
mod form;
pub(super) mod logout;
pub(super) mod presence;
pub(super) mod restart;
pub(super) mod state;
