//! The event log: what happened, in order, for tests to read and to wait for.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::address::Address;
use crate::link::LinkId;

/// The log forgets its oldest entries beyond this many.
const KEPT: usize = 50_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A WebSocket was opened.
    Connect,
    /// A connection ended: its client closed it, or it was reset.
    Disconnect,
    /// A client that has no account was given references to show as QR codes; it said whether it asks for the whole history.
    PairOffer,
    /// A client asked to be linked by a code that is typed on a phone.
    CodeRequested,
    /// A phone linked a device.
    Pair,
    /// A device's signature did not verify, it refused the phone's, or another code was typed than it shows.
    PairRefused,
    /// A device logged in.
    Login,
    /// A login was refused.
    LoginRefused,
    /// A device asked for what is waiting, and is from now on served at once.
    Active,
    /// A device pinged.
    Ping,
    /// A device left keys with the server.
    KeysUploaded,
    /// A device sent a message.
    MessageIn,
    /// A message was put into a device's queue.
    MessageQueued,
    /// A message was sent to a device.
    MessageOut,
    /// A device confirmed a message, which took it from the queue.
    MessageAcked,
    /// A device refused a message, which took it from the queue all the same.
    MessageNacked,
    /// A device sent a receipt.
    Receipt,
    /// A device asked for a message to be encrypted again.
    RetryReceipt,
    /// A device asked its phone for the content of a message.
    ResendAsked,
    /// A person could not open what a device sent.
    Undecryptable,
    /// A device used a message key for a second message.
    CounterReused,
    /// A connection was replaced by a newer login of the same device.
    Superseded,
    /// Two connections of one device were alive at the same moment.
    Overlap,
    /// A frame arrived on a connection that had been replaced.
    StaleFrame,
    /// A device logged in with another Noise key than it was paired with.
    StaticMismatch,
    /// A device was unlinked.
    Removed,
    /// An account was banned for a while.
    Banned,
    /// A fault was asked for.
    Fault,
    /// A group was made, or somebody joined or left one.
    Group,
    /// A device said that somebody is there or not, or asked about somebody.
    Presence,
    /// A device said that somebody types.
    ChatState,
    /// A device rejected a call.
    CallRejected,
    /// A device has looked at what it was told had changed.
    Cleaned,
    /// A device answered a ping of the server.
    Pong,
    /// New connections are refused from now on.
    Refusing,
    /// New connections are accepted again.
    Accepting,
    /// A file was uploaded.
    MediaUploaded,
    /// A file was downloaded.
    MediaDownloaded,
    /// A request for a file was refused.
    MediaRefused,
    /// The server has a new static key.
    StaticRotated,
    /// A connection sent something that cannot be understood.
    Garbled,
}

/// One entry of the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its number; they grow by one.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The device concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jid: Option<Address>,
    /// The connection concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkId>,
    /// More about it, differing by kind.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// An event as the log keeps it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub kind: EventKind,
    /// The device concerned.
    pub jid: Option<Address>,
    /// The connection concerned.
    pub link: Option<LinkId>,
    at: u64,
    /// JSON text, empty for none: a tree of values would be most of what the log takes.
    detail: Box<str>,
}

impl Entry {
    /// The event, to be shown.
    #[must_use]
    pub fn event(&self) -> Event {
        let Self { seq, at, kind, jid, link, detail } = self.clone();
        // It was written by the log itself, but for the empty one.
        let detail = serde_json::from_str(&detail).unwrap_or_default();
        Event { seq, at, kind, jid, link, detail }
    }
}

/// The last events, and how many there have been.
#[derive(Default)]
pub struct EventLog {
    entries: VecDeque<Entry>,
    last: u64,
}

impl EventLog {
    /// Adds an event.
    pub fn push(&mut self, at: u64, kind: EventKind, jid: Option<Address>, link: Option<LinkId>, detail: &Value) {
        let detail = if detail.is_null() { Box::default() } else { detail.to_string().into_boxed_str() };
        self.last += 1;
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { seq: self.last, at, kind, jid, link, detail });
    }

    /// The number of the newest event, 0 when there was none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The events after a number.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        let from = self.entries.partition_point(|event| event.seq <= seq);
        self.entries.range(from..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_gives_exactly_what_came_after() {
        let mut log = EventLog::default();
        assert_eq!(log.last(), 0);
        for _ in 0..KEPT + 5 {
            log.push(0, EventKind::Ping, None, None, &Value::Null);
        }
        let last = log.last();
        assert_eq!(log.since(last).count(), 0);
        assert_eq!(log.since(last - 2).map(|event| event.seq).collect::<Vec<_>>(), [last - 1, last]);
        assert_eq!(log.since(0).count(), KEPT);
    }

    #[test]
    fn an_event_is_shown_as_it_was_logged() {
        let mut log = EventLog::default();
        for detail in [Value::Null, serde_json::json!({ "id": "3EB0", "ids": [1, null] })] {
            log.push(7, EventKind::Receipt, None, Some(LinkId(3)), &detail);
            let event = log.since(log.last() - 1).next().map(Entry::event).unwrap();
            assert_eq!((event.detail, event.at, event.link), (detail, 7, Some(LinkId(3))));
        }
    }
}
