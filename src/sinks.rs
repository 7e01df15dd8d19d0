//! Where events go. Each sink is one implementation of [`ports::sink::Sink`](crate::ports::sink::Sink); retries are not its business.

pub mod webhook;
