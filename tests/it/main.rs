//! Every integration test, in one binary.

mod harness;
mod http;
mod link;
mod service;
mod store;
