//! The traits and tables through which the floors above meet the world and each other.
//!
//! Drivers implement them, actors and HTTP use them, and nobody here knows who does which.

pub mod address;
pub mod board;
pub mod chance;
pub mod changes;
pub mod clock;
pub mod copies;
pub mod copying;
pub mod dead_letters;
pub mod fingerprint;
pub mod layer;
pub mod leases;
pub mod link;
pub mod meter;
pub mod neighbours;
pub mod node_key;
pub mod outbox;
pub mod process;
pub mod proxies;
pub mod restoration;
pub mod restore;
pub mod sends;
pub mod session;
pub mod signing_key;
pub mod sink;
pub mod store;
pub mod tenure;
pub mod withheld;
