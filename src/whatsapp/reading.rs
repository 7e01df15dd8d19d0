//! Marking messages as read, after they are on disk.
//!
//! A receipt is a courtesy: it waits for the connection, it is bounded, and one that fails is logged and counted, not repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::conduct::{Chat, Conduct};
use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;
use tokio::time::timeout;
use tracing::warn;
use wacore::types::events::InboundMessage;
use whatsapp_rust::{Client, Jid};

use super::manners::Manners;
use crate::ports::session::Accepted;

/// How many messages may wait to be marked; beyond that the rest stays unread.
const MOST: usize = 4_096;

/// What comes within this time is marked with one receipt for each chat.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long a receipt may take to leave.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// Which receipt a message goes into: one for a chat, in groups and for status posts one for each who wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    kind: Chat,
    chat: String,
    sender: Option<String>,
}

/// A message that is to be marked as read.
#[derive(Debug, Clone)]
pub(super) struct Read {
    place: Place,
    id: String,
}

/// Returns what is to be marked of messages that are about to be stored: what is announced as a message, and nothing else.
pub(super) fn to_read<'a>(
    batch: impl Iterator<Item = (&'a InboundMessage, &'a Accepted)>,
    conduct: &Conduct,
) -> Vec<Read> {
    let mut reads = Vec::new();
    for (received, accepted) in batch {
        let source = &received.info.source;
        let chat = source.chat.to_string();
        let kind = Chat::of(&chat);
        let is_message = accepted.event.as_ref().is_some_and(|event| event.name == EventName::MessagesUpsert);
        if is_message && conduct.reads(kind, source.is_from_me) {
            let sender = (kind != Chat::Direct).then(|| source.sender.to_string());
            reads.push(Read { place: Place { kind, chat, sender }, id: received.info.id.clone() });
        }
    }
    reads
}

#[derive(Debug, Default)]
struct Waiting {
    places: BTreeMap<Place, Vec<String>>,
    count: usize,
    /// Whether somebody is at it.
    under_way: bool,
}

/// What waits to be marked as read.
pub(super) struct Reading {
    instance: InstanceId,
    waiting: Mutex<Waiting>,
    failed: AtomicU64,
}

impl Reading {
    pub(super) fn new(instance: InstanceId) -> Self {
        Self { instance, waiting: Mutex::default(), failed: AtomicU64::new(0) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, reads: Vec<Read>) {
        let mut left_out = 0;
        {
            let mut waiting = self.waiting();
            for read in reads {
                if waiting.count >= MOST {
                    left_out += 1;
                    continue;
                }
                waiting.count += 1;
                waiting.places.entry(read.place).or_default().push(read.id);
            }
        }
        if left_out > 0 {
            self.failed(left_out, "too many wait already");
        }
    }

    /// Takes what waits, or says that nobody is at it any more.
    fn take(&self) -> Option<BTreeMap<Place, Vec<String>>> {
        let mut waiting = self.waiting();
        waiting.count = 0;
        let places = std::mem::take(&mut waiting.places);
        waiting.under_way = !places.is_empty();
        waiting.under_way.then_some(places)
    }

    fn failed(&self, messages: usize, why: &str) {
        let count = self.failed.fetch_add(messages as u64, Ordering::AcqRel) + messages as u64;
        warn!(instance.id = %self.instance, count, "{messages} messages could not be marked as read: {why}");
    }

    async fn mark(&self, client: &Client, place: &Place, ids: &[String]) {
        let (Ok(chat), Ok(sender)) =
            (place.chat.parse::<Jid>(), place.sender.as_ref().map(|sender| sender.parse::<Jid>()).transpose())
        else {
            return self.failed(ids.len(), "their chat has no address");
        };
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        match timeout(LEAVES_WITHIN, client.mark_as_read(&chat, sender.as_ref(), &ids)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.failed(ids.len(), &error.to_string()),
            Err(_) => self.failed(ids.len(), "the receipt did not leave in its time"),
        }
    }
}

impl Manners {
    /// Marks messages as read that are on disk by now: soon, or when there is a connection again.
    pub(super) fn read(self: &Arc<Self>, reads: Vec<Read>) {
        if !reads.is_empty() {
            self.reading.push(reads);
            self.read_on();
        }
    }

    /// Goes on with what waits, if there is a connection.
    pub(super) fn read_on(self: &Arc<Self>) {
        if self.client().is_none() {
            return;
        }
        {
            let mut waiting = self.reading.waiting();
            if waiting.under_way || waiting.count == 0 {
                return;
            }
            waiting.under_way = true;
        }
        let manners = Arc::clone(self);
        self.handle().spawn(async move {
            loop {
                tokio::time::sleep(TOGETHER).await;
                let Some(client) = manners.client() else {
                    manners.reading.waiting().under_way = false;
                    // It may be back by now, and has found somebody at it.
                    return manners.read_on();
                };
                let Some(places) = manners.reading.take() else { return };
                for (place, ids) in places {
                    // The settings may have changed since.
                    if manners.conduct().reads(place.kind, false) {
                        manners.reading.mark(&client, &place, &ids).await;
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chat: &str, id: &str) -> Read {
        Read { place: Place { kind: Chat::of(chat), chat: chat.to_owned(), sender: None }, id: id.to_owned() }
    }

    #[test]
    fn what_comes_together_is_one_receipt_for_each_chat() {
        let reading = Reading::new(InstanceId::new("i"));
        reading.push(vec![read("1@lid", "A"), read("2@lid", "B"), read("1@lid", "C")]);
        let taken: Vec<_> = reading.take().unwrap().into_iter().map(|(place, ids)| (place.chat, ids)).collect();
        assert_eq!(
            taken,
            [("1@lid".to_owned(), vec!["A".to_owned(), "C".to_owned()]), ("2@lid".to_owned(), vec!["B".to_owned()])]
        );
        assert!(reading.take().is_none());
    }

    #[test]
    fn what_is_too_much_stays_unread_and_is_counted() {
        let reading = Reading::new(InstanceId::new("i"));
        reading.push((0..MOST + 3).map(|number| read("1@lid", &number.to_string())).collect());
        assert_eq!(reading.failed.load(Ordering::Acquire), 3);
        assert_eq!(reading.take().unwrap().values().map(Vec::len).sum::<usize>(), MOST);
        reading.push(vec![read("1@lid", "again")]);
        assert_eq!(reading.failed.load(Ordering::Acquire), 3, "there is room again");
    }
}
