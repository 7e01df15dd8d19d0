//! What the fleet knows of one instance.

use std::time::Duration;

use super::Standing;
use crate::id::LinkId;
use crate::time::Timestamp;

/// A place in the queue: what somebody waits for comes first, then who asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) automatic: bool,
    pub(super) number: u64,
}

/// A turn that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) link: LinkId,
    /// When it ends if nobody says how the dial went.
    pub(super) until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) standing: Standing,
    pub(super) place: Option<Place>,
    pub(super) turn: Option<Turn>,
    /// When it last failed as in an outage, unless something else has happened since.
    pub(super) failed: Option<Timestamp>,
    /// Whether it was told that an outage holds it.
    pub(super) held: bool,
}

impl Member {
    pub(super) fn new() -> Self {
        Self { standing: Standing::Out, place: None, turn: None, failed: None, held: false }
    }

    /// Takes in what the standing says about the network.
    pub(super) fn notice_failure(&mut self, standing: Standing, now: Timestamp, window: Duration) {
        match standing {
            Standing::Down { network: true } => self.failed = Some(now),
            Standing::Out | Standing::Down { network: false } | Standing::Up { .. } => self.failed = None,
            // What it spends on waiting for a turn and on dialling does not make its failure older: a dial into the dark takes longer
            // than the window. A failure that has passed while it waited by itself is over.
            Standing::Asks { .. } if self.is_waiting_by_itself() && !self.failed_within(now, window) => {
                self.failed = None;
            }
            Standing::Asks { .. } | Standing::Dials { .. } => {}
        }
    }

    /// Tells whether it counts as failing.
    pub(super) fn is_failing(&self, now: Timestamp, window: Duration) -> bool {
        match self.standing {
            Standing::Down { .. } => self.failed_within(now, window),
            Standing::Asks { .. } | Standing::Dials { .. } => self.failed.is_some(),
            Standing::Out | Standing::Up { .. } => false,
        }
    }

    /// Tells whether it has been seen to try; who waits for its first turn says nothing about the network.
    pub(super) fn is_seen(&self) -> bool {
        match self.standing {
            Standing::Out => false,
            Standing::Asks { .. } => self.failed.is_some(),
            Standing::Down { .. } | Standing::Dials { .. } | Standing::Up { .. } => true,
        }
    }

    fn is_waiting_by_itself(&self) -> bool {
        matches!(self.standing, Standing::Down { .. })
    }

    fn failed_within(&self, now: Timestamp, window: Duration) -> bool {
        self.failed.is_some_and(|at| now.since(at) < window)
    }
}
