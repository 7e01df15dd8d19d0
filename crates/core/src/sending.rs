//! Sending a message: at most how many, under which id again, and what a refusal means.
//!
//! | file | noun |
//! |---|---|
//! | [`allowance`] | how many messages an instance may send |
//! | [`key`] | a request's idempotency key, and what is done when it comes again |
//! | [`tries`] | whether a message whose fate is unknown is sent once more |
//! | [`nack`] | why WhatsApp refused a message |

pub mod allowance;
pub mod key;
pub mod nack;
pub mod tries;
