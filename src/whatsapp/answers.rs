//! WhatsApp's answers to the messages of one client: who waits for which.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How WhatsApp has answered a sent message: the code with which it was refused, or none.
pub(super) type Answer = Option<String>;

/// How many messages may be without an answer before late ones are given up; on a connection that works there are none.
const MOST_LATE: usize = 1024;

/// The messages that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: Mutex<HashMap<String, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    chat: String,
    /// Who waits; nobody once the time for it is over.
    sender: Option<oneshot::Sender<Answer>>,
}

impl Answers {
    /// Waits for the answer to a message.
    pub(super) fn to(&self, id: &str, chat: &str) -> oneshot::Receiver<Answer> {
        let (sender, answered) = oneshot::channel();
        self.waiting().insert(id.to_owned(), Waiting { chat: chat.to_owned(), sender: Some(sender) });
        answered
    }

    /// Tells whether the message has had no answer yet.
    pub(super) fn awaits(&self, id: &str) -> bool {
        self.waiting().contains_key(id)
    }

    /// No answer will come: the message has not left.
    pub(super) fn forget(&self, id: &str) {
        self.waiting().remove(id);
    }

    /// Nobody waits any more, but an answer may still come.
    pub(super) fn is_late(&self, id: &str) {
        let mut waiting = self.waiting();
        if waiting.len() > MOST_LATE {
            waiting.remove(id);
        } else if let Some(waiting) = waiting.get_mut(id) {
            waiting.sender = None;
        }
    }

    /// The connection is over, and answers come on no other. Whoever waits is told that there is none.
    pub(super) fn end(&self) {
        self.waiting().clear();
    }

    /// Hands an answer over. If the message waits for one and nobody hears it, returns the message's chat.
    pub(super) fn came(&self, id: &str, answer: Answer) -> Option<String> {
        let waiting = self.waiting().remove(id)?;
        let heard = waiting.sender.is_some_and(|sender| sender.send(answer).is_ok());
        (!heard).then_some(waiting.chat)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_whoever_waits() {
        let answers = Answers::default();
        let (mut first, mut second) = (answers.to("A", "ana"), answers.to("B", "bia"));
        assert_eq!(answers.came("B", Some("463".to_owned())), None);
        assert_eq!(second.try_recv(), Ok(Some("463".to_owned())));
        assert_eq!(answers.came("X", None), None);
        answers.end();
        assert!(first.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert_eq!(answers.came("A", None), None);
    }

    #[test]
    fn an_answer_that_nobody_hears_is_late() {
        let answers = Answers::default();
        // Between the end of the waiting and its note.
        drop(answers.to("A", "ana"));
        assert_eq!(answers.came("A", None), Some("ana".to_owned()));
        answers.is_late("A");
        assert_eq!(answers.came("A", None), None, "it has come already");

        drop(answers.to("B", "bia"));
        answers.is_late("B");
        assert_eq!(answers.came("B", None), Some("bia".to_owned()));
        drop(answers.to("C", "cia"));
        answers.forget("C");
        assert_eq!(answers.came("C", None), None);
    }

    #[test]
    fn what_is_never_answered_takes_no_memory_for_ever() {
        let answers = Answers::default();
        for number in 0..MOST_LATE * 2 {
            drop(answers.to(&number.to_string(), "ana"));
            answers.is_late(&number.to_string());
        }
        assert_eq!(answers.waiting().len(), MOST_LATE);
    }
}
