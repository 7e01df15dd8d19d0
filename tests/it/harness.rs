//! What tests are made of: the engine as a process, a simulated WhatsApp, a receiver of webhooks, and patience.

pub(crate) mod bare;
pub(crate) mod cable;
pub(crate) mod client;
pub(crate) mod engine;
pub(crate) mod eventually;
pub(crate) mod faulty_store;
pub(crate) mod misbehaving;
pub(crate) mod postgres;
pub(crate) mod provider;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod redis;
pub(crate) mod watch;
