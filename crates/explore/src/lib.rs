//! A model of the whole service that searches for what nobody thought of.
//!
//! The decisions are the real ones, of `holdfast-core`: machine, supervision, health, shutdown, restoration, expiry, status. Everything they live in is simulated:
//! the actors' shells, the link's driver, WhatsApp, the store, the process and the clock. A history of faults and commands is drawn
//! from a seed, the promises are checked after every step against a truth that the decisions cannot see, and a history that breaks
//! one is shrunk to a short story. The same seed gives the same history, step by step.
//!
//! Reading order: [`history`] (what can happen), [`world`] (what it happens to), [`checks`] (what must hold), [`shrink`], [`bugs`]
//! (mistakes that are made on purpose, to show that the search finds them), [`search`] (many seeds).

pub mod bugs;
pub mod checks;
pub mod history;
pub mod random;
pub mod search;
pub mod shrink;
pub mod world;
