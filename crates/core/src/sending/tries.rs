//! Whether a message whose fate is unknown is sent once more, under the same id, before its sender is answered.
//!
//! WhatsApp's own clients do it: what was not acknowledged when a connection ended is sent again on the next one, and the
//! recipient drops what it has. Here it is done for those who asked with a key for one message, and not more.

use std::time::Duration;

/// The most tries within one request. A connection that is lost after each of them will not bear a fourth.
pub const MOST: u32 = 3;

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is an answer, good or bad, that another try would not change.
    Answered,
    /// It has certainly not left.
    NotSent,
    /// It may have left; nobody has said anything about it.
    Unknown,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The outcome of this try is the answer.
    Answer,
    /// Sent again, on the next connection.
    Again,
    /// The answer is that it may or may not arrive.
    Unconfirmed,
}

/// The tries of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    keyed: bool,
    made: u32,
    unknown: bool,
}

impl Tries {
    /// Begins; `keyed` says whether the request has a key.
    pub fn new(keyed: bool) -> Self {
        Self { keyed, made: 0, unknown: false }
    }

    /// Decides after a try; `left` is what the request has left of its time.
    pub fn after(&mut self, outcome: Outcome, left: Duration) -> Next {
        self.made += 1;
        self.unknown |= outcome == Outcome::Unknown;
        if outcome == Outcome::Answered || !self.unknown {
            return Next::Answer;
        }
        if self.keyed && self.made < MOST && !left.is_zero() { Next::Again } else { Next::Unconfirmed }
    }
}
