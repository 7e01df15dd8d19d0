//! Says things that happen often at most once in a while, with how often they happened.

use std::time::Duration;

use holdfast_core::time::Timestamp;

/// The shortest time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps one kind of line rare.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    said_at: Option<Timestamp>,
    unsaid: u64,
}

impl Quiet {
    /// Tells whether to say it now, and if so, how often it was not said since the last time.
    pub(super) fn may_say(&mut self, now: Timestamp) -> Option<u64> {
        if self.said_at.is_some_and(|said_at| now.since(said_at) < EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::{Quiet, Timestamp};

    #[test]
    fn a_line_comes_at_once_and_then_rarely_with_what_was_left_out() {
        let mut quiet = Quiet::default();
        let said: Vec<_> = (0..12_000).step_by(1000).map(|at| quiet.may_say(Timestamp::from_millis(at))).collect();
        assert_eq!(said[0], Some(0));
        assert!(said[1..10].iter().all(Option::is_none));
        assert_eq!(said[10..], [Some(9), None]);
    }
}
