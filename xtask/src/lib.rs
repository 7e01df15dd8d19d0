//! Development commands: `cargo xtask help` lists them.
//!
//! Reading order: [`tidy`] (the rules that no compiler keeps), [`deps`], then [`ci`], which runs everything.

pub mod bench;
pub mod ci;
pub mod deps;
pub mod drill;
pub mod explore;
pub mod faults;
pub mod finding;
pub mod lexer;
pub mod paths;
pub mod tidy;
pub mod torture;
pub mod tree;
