//! The simulator against clients that are scripted down to the single stanza, well-behaved ones and others.

mod client;
mod control;
mod linking;
mod messages;
mod state;
mod truth;
