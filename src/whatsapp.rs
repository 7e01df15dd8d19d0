//! The WhatsApp driver: one `whatsapp_rust::Client` per actor incarnation, dialled once per link.
//!
//! What is relied on of the library, version 0.7.0, and why the parts are as they are:
//!
//! - A dial is one call of `run()` with the library's own reconnecting off. It is never aborted: it ends when its transport does.
//! - It only logs why an attempt failed, so [`transport`] and [`dial`] keep the evidence, and [`events`] reads the stanzas.
//! - An error of a store call is answered by nacks, and a nacked message is gone. Therefore every part of a link shares one
//!   [`seal::Seal`], which is set before such an error is handed to the library: from then on nothing leaves the socket.
//! - Whatever it sends goes one [`way`]: through the proxy that the instance has, or nowhere.
//! - It acknowledges a message only after [`durability`] has committed it together with its events.
//!
//! Reading order: [`seal`], [`transport`], [`backend`], [`link`].

mod answers;
mod backend;
mod backlog;
mod calls;
mod debts;
mod dial;
mod durability;
mod events;
mod evidence;
mod http;
mod link;
mod manners;
mod message;
mod pairing_code;
mod presence;
mod proxy;
mod reach;
mod reading;
mod renewal;
mod reports;
mod runtime;
mod seal;
mod settings;
mod transport;
mod version;
mod way;

pub use link::WhatsApp;
pub use reach::{Unreached, reach};
pub use renewal::DeviceRenewal;
pub use settings::LinkSettings;
