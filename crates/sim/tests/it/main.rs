//! The simulator against clients that are scripted down to the single stanza, well-behaved ones and others.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod adoption;
mod client;
mod control;
mod description;
mod faults;
mod groups;
mod linking;
mod media;
mod messages;
mod pairing_code;
mod program;
mod refuse;
mod rules;
mod signs;
mod slow;
mod state;
mod tls;
mod traffic;
mod truth;
mod writing;
