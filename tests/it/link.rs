//! The link driver against the simulator: real sockets, real Noise, real Signal.

mod bench;
mod conduct;
mod endings;
mod matrix;
mod messages;
mod pairing;
mod seal;
mod stored;
