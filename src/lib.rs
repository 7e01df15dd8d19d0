//! Holdfast: a WhatsApp connection engine that keeps many numbers connected and tells the truth about each.
//!
//! Floors, from the top; each uses only those below it:
//!
//! | floor | modules |
//! |---|---|
//! | 4 | [`app`]: the only place that knows every part |
//! | 3 | [`http`]: Evolution's routes and our own |
//! | 2 | [`actors`], [`whatsapp`], [`store`], [`cache`], [`provider`], [`sinks`]: shells and drivers, which do not know each other |
//! | 1 | [`ports`], [`config`], [`telemetry`] |
//! | 0 | [`holdfast_core`]: the decisions; [`failpoint`]: where tests end the process |

pub mod actors;
pub mod app;
pub mod cache;
pub mod config;
pub mod failpoint;
pub mod http;
pub mod mirror;
pub mod ports;
pub mod provider;
pub mod restoration;
pub mod sinks;
pub mod store;
pub mod telemetry;
pub mod whatsapp;
