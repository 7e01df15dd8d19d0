//! Every integration test, in one binary.

mod harness;
mod service;
mod store;
