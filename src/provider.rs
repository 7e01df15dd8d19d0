//! Copies of sessions in files: what is left of a login when the database is lost.
//!
//! Either a directory, or the HTTP session provider that Evolution API knows. Neither is ever a source of truth.

mod directory;
mod http;
mod names;

pub use self::directory::Directory;
pub use self::http::{HttpProvider, HttpProviderOptions, ProviderError};
