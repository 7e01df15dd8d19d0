//! The HTTP interface as a real server on loopback, over the real store and scripted actors; and the webhook sink against real
//! receivers.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod actors;
mod clients;
mod codes;
mod connect;
mod create;
mod engine;
mod errors;
mod fetch;
mod fleet;
mod forwarding;
mod idempotency;
mod lifecycle;
mod metrics;
mod nodes;
mod proxies;
mod receiver;
mod register;
mod send;
mod service;
mod settings;
mod sink;
mod system;
mod validation;
mod webhooks;
