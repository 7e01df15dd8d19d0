//! What waits for a device until the device confirms it.
//!
//! WhatsApp drops a message as soon as its recipient says anything about it: a receipt, an acknowledgement, or a
//! refusal. The same message id can be delivered more than once (after a retry receipt), and a client may confirm one
//! delivery with both a receipt and an acknowledgement, so each confirmation is matched with the oldest delivery that
//! has not had one of its kind.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize, Serializer};

use crate::encoding;

/// Deliveries that were confirmed once are remembered for a second confirmation, up to this many.
const SETTLED_KEPT: usize = 256;

/// The kinds of stanza that a device confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A message.
    Message,
    /// A receipt for something the device sent.
    Receipt,
    /// A notification.
    Notification,
}

impl Class {
    /// Reads the `class` attribute of an acknowledgement.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "message" => Some(Self::Message),
            "receipt" => Some(Self::Receipt),
            "notification" => Some(Self::Notification),
            _ => None,
        }
    }
}

/// How a device confirmed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// An `<ack>`.
    Ack,
    /// A `<receipt>`.
    Receipt,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Delivery {
    id: String,
    class: Class,
    #[serde(with = "encoding::bytes")]
    stanza: Vec<u8>,
    #[serde(skip)]
    sent: bool,
    #[serde(skip)]
    acked: bool,
    #[serde(skip)]
    receipted: bool,
}

impl Delivery {
    fn had(&self, confirmation: Confirmation) -> bool {
        match confirmation {
            Confirmation::Ack => self.acked,
            Confirmation::Receipt => self.receipted,
        }
    }

    fn settled(&self) -> bool {
        self.acked || self.receipted
    }
}

/// The queue of one device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Queue(VecDeque<Delivery>);

impl Serialize for Queue {
    /// What was confirmed once is remembered for the sake of the connection, which does not survive.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter(|delivery| !delivery.settled()))
    }
}

impl Queue {
    /// Adds an encoded stanza.
    pub fn push(&mut self, id: String, class: Class, stanza: Vec<u8>) {
        self.0.push_back(Delivery { id, class, stanza, sent: false, acked: false, receipted: false });
    }

    /// Takes note of a confirmation; says whether it took something from the queue.
    pub fn confirm(&mut self, id: &str, class: Class, confirmation: Confirmation) -> bool {
        let open = |delivery: &Delivery| delivery.id == id && delivery.class == class && !delivery.had(confirmation);
        let sent = self.0.iter().position(|delivery| open(delivery) && delivery.sent);
        // A client may also confirm, right after a login, what it received on the connection before.
        let Some(place) = sent.or_else(|| self.0.iter().position(|delivery| open(delivery) && !delivery.settled()))
        else {
            return false;
        };
        let delivery = &mut self.0[place];
        let first = !delivery.settled();
        match confirmation {
            Confirmation::Ack => delivery.acked = true,
            Confirmation::Receipt => delivery.receipted = true,
        }
        delivery.stanza = Vec::new();
        if class != Class::Message || (delivery.acked && delivery.receipted) {
            self.0.remove(place);
        }
        self.trim();
        first
    }

    /// Forgets what earlier connections were sent: everything that was not confirmed is to be sent again.
    pub fn restart(&mut self) {
        self.0.retain(|delivery| !delivery.settled());
        self.0.iter_mut().for_each(|delivery| delivery.sent = false);
    }

    /// The stanzas that were not sent yet, marked as sent.
    pub fn take_unsent(&mut self) -> Vec<(String, Class, Vec<u8>)> {
        let unsent = self.0.iter_mut().filter(|delivery| !delivery.sent && !delivery.settled());
        unsent
            .map(|delivery| {
                delivery.sent = true;
                (delivery.id.clone(), delivery.class, delivery.stanza.clone())
            })
            .collect()
    }

    /// How many messages wait for a confirmation.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.waiting(Class::Message)
    }

    /// How many stanzas of a class wait for a confirmation.
    #[must_use]
    pub fn waiting(&self, class: Class) -> usize {
        self.0.iter().filter(|delivery| delivery.class == class && !delivery.settled()).count()
    }

    fn trim(&mut self) {
        let mut surplus = self.0.iter().filter(|delivery| delivery.settled()).count().saturating_sub(SETTLED_KEPT);
        self.0.retain(|delivery| {
            let drop = surplus > 0 && delivery.settled();
            surplus -= usize::from(drop);
            !drop
        });
    }
}

#[cfg(test)]
mod tests;
