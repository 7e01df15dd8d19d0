//! A simulated WhatsApp server.
pub mod address;
pub mod cert;
pub mod codec;
pub mod encoding;
pub mod keys;
pub mod noise;
pub mod signal;
