//! The real Baileys client (Node) against the simulator.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod client;
mod endings;
mod groups;
mod linking;
mod media;
mod refusals;
mod silence;
