//! Every integration test, in one binary.

mod bare;
mod harness;
mod http;
mod layers;
mod link;
mod nodes;
mod service;
mod store;
mod storm;
mod torture;
