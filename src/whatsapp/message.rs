//! Messages in the shape of Evolution's API: pure functions from what the library hands over.

mod content;
mod enum_number;
mod inbound;
mod outbound;
mod protobuf_json;
mod receipt;
mod recipient;

pub(super) use inbound::accepted;
pub(super) use outbound::{Sent, compose, sent_body};
pub(super) use receipt::{late_ack_update, refusal_update, updates};
pub(super) use recipient::{Recipient, recipient};
