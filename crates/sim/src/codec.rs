//! From bytes to stanzas and back: the connection header, frames, and nodes.

pub mod channel;
pub mod frames;
pub mod stanza;
