//! Messages that the library has received and not dealt with yet, and how many of them there may be.
//!
//! Behind a slow store the library would queue without limit. So the socket is read only while there is room: what does not fit waits at
//! WhatsApp, which keeps it anyway. The library says of most messages what became of them. A few kinds end without a word; they are taken for
//! done a while after it has let go of their stanza.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use holdfast_core::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::timeout;
use whatsapp_rust::OwnedNodeRef;

use crate::ports::clock::Clock;

/// Messages that may wait. With the library's own state for each, some 10 MB.
pub(super) const MOST: usize = 512;

/// Bytes that may be read while messages wait.
pub(super) const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How long a message may be unheard of after its stanza was let go.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// How often one that waits for room looks for what ended without a word.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The backlog of one client.
pub(super) struct Backlog {
    clock: Clock,
    state: Mutex<State>,
    shrunk: Notify,
}

#[derive(Default)]
struct State {
    waiting: HashMap<String, Message>,
    /// Bytes read since nothing waited.
    bytes: usize,
}

struct Message {
    stanza: Weak<OwnedNodeRef>,
    since: Timestamp,
    from_own_device: bool,
}

impl State {
    fn has_room(&self) -> bool {
        self.waiting.is_empty() || (self.waiting.len() < MOST && self.bytes < MOST_BYTES)
    }
}

impl Backlog {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), shrunk: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message has come, and is on its way through the library.
    pub(super) fn arrived(&self, id: String, stanza: &Arc<OwnedNodeRef>) {
        // So say the stanzas by which the devices of an account talk among themselves (`category="peer"`).
        let from_own_device = stanza.get_attr("category").is_some_and(|category| category.as_str() == "peer");
        let message = Message { stanza: Arc::downgrade(stanza), since: self.clock.now(), from_own_device };
        self.state().waiting.insert(id, message);
    }

    /// Tells whether a message that waits is one by which the devices of the account talk among themselves: nobody keeps those.
    pub(super) fn is_from_own_device(&self, id: &str) -> bool {
        self.state().waiting.get(id).is_some_and(|message| message.from_own_device)
    }

    /// The library is done with these messages.
    pub(super) fn settled<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        {
            let mut state = self.state();
            for id in ids {
                state.waiting.remove(id);
            }
        }
        self.shrunk.notify_waiters();
    }

    /// So many bytes were read from the socket.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = if state.waiting.is_empty() { bytes } else { state.bytes.saturating_add(bytes) };
    }

    /// A new connection begins: what was received on the last one comes again.
    pub(super) fn clear(&self) {
        *self.state() = State::default();
        self.shrunk.notify_waiters();
    }

    /// Waits until more may be read.
    pub(super) async fn room(&self) {
        loop {
            let shrunk = self.shrunk.notified();
            if self.state().has_room() {
                return;
            }
            // Waking up without a notice is the point: nobody gives one for what ends without a word.
            let _ = timeout(LOOK_EVERY, shrunk).await;
            self.forget();
        }
    }

    fn forget(&self) {
        let now = self.clock.now();
        let unheard_of =
            |message: &Message| message.stanza.strong_count() == 0 && now.since(message.since) >= FORGOTTEN_AFTER;
        self.state().waiting.retain(|_, message| !unheard_of(message));
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza() -> Arc<OwnedNodeRef> {
        let node = wacore_binary::builder::NodeBuilder::new("message").attr("id", "1").build();
        let bytes = wacore_binary::marshal::marshal(&node).unwrap();
        Arc::new(OwnedNodeRef::new(bytes[1..].to_vec()).unwrap())
    }

    async fn is_full(backlog: &Backlog) -> bool {
        timeout(Duration::from_millis(1), backlog.room()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_messages_and_again_when_one_is_settled() {
        let (backlog, stanza) = (Backlog::new(Clock::start()), stanza());
        for number in 0..MOST {
            assert!(!is_full(&backlog).await);
            backlog.arrived(number.to_string(), &stanza);
        }
        assert!(is_full(&backlog).await);
        backlog.settled(["0"]);
        assert!(!is_full(&backlog).await);
        backlog.clear();
        assert_eq!(backlog.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn large_messages_take_more_room_until_all_are_settled() {
        let (backlog, stanza) = (Backlog::new(Clock::start()), stanza());
        backlog.read(MOST_BYTES);
        assert!(!is_full(&backlog).await, "nothing waits for what was read");
        backlog.arrived("1".to_owned(), &stanza);
        backlog.read(MOST_BYTES);
        assert!(is_full(&backlog).await);
        backlog.settled(["1"]);
        assert!(!is_full(&backlog).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_without_a_word_is_forgotten_only_once_its_stanza_is_gone() {
        let (backlog, stanza) = (Backlog::new(Clock::start()), stanza());
        for number in 0..MOST {
            backlog.arrived(number.to_string(), &stanza);
        }
        assert!(timeout(Duration::from_secs(600), backlog.room()).await.is_err(), "they are in the library's queue");
        drop(stanza);
        timeout(Duration::from_secs(6), backlog.room()).await.unwrap();
    }
}
