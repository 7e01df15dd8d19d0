//! The link driver against the simulator: real sockets, real Noise, real Signal.

mod bench;
mod endings;
mod memory_store;
mod messages;
mod pairing;
mod seal;
