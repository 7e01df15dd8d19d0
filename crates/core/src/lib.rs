//! The decisions of Holdfast: what an instance, a supervisor and a shutdown do next, and why.
//!
//! Nothing here reads a clock, draws a random number, opens a socket or touches a database. Each machine is a value; a step consumes
//! it with an event and returns the next value with the effects that a shell has to carry out. Reading order:
//!
//! 1. [`id`] and [`time`]: what things are called, and how time is handed in;
//! 2. [`connection`]: the life of one instance, from QR to shutdown; [`connection::down_reason`] says why a link ended;
//!    [`explanation`] puts it into the words that all reads share, [`health`] says when proof of life is asked for;
//! 3. [`backoff`] and [`supervision`]: how long to wait, and when a crash is one too many; [`fleet`]: who may dial now;
//! 4. [`shutdown`]: the phases of the whole service;
//! 5. [`delivery`] and [`event`]: what webhooks see, and the life of one delivery; [`network`]: which addresses they may reach;
//! 6. [`sending`]: how many messages, which id again, and what a refusal means;
//! 7. [`conduct`]: how a connection behaves by the settings of its instance;
//! 8. [`restored`]: what of a login goes on after it came back from a backup; [`restoration`]: which copy of a session goes on at the start;
//! 9. [`proxy`]: which proxy an instance dials through, and that what cannot be used is never gone around;
//! 10. [`expiry`]: which instances are deleted because nobody paired them;
//! 11. [`tenancy`]: which instances a node owns where several share a database, and until when it may act for them;
//! 12. [`elsewhere`]: instances that another node owns;
//! 13. [`logging`]: which lines are logged.

pub mod backoff;
pub mod conduct;
pub mod connection;
pub mod delivery;
pub mod elsewhere;
pub mod event;
pub mod expiry;
pub mod explanation;
pub mod fleet;
pub mod health;
pub mod id;
pub mod logging;
pub mod network;
pub mod proxy;
pub mod restoration;
pub mod restored;
pub mod sending;
pub mod shutdown;
pub mod status;
pub mod supervision;
pub mod tenancy;
pub mod time;
