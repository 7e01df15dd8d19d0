//! What is sent later than it was said, in the order in which it was said.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// As many things wait at most; beyond that the oldest one goes out early, and nothing is lost.
const LONGEST_QUEUE: usize = 1024;

/// Things that wait for their time.
pub struct Late<T> {
    waiting: VecDeque<(Instant, T)>,
    delay: Duration,
    not_before: Option<Instant>,
}

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), delay: Duration::ZERO, not_before: None }
    }
}

impl<T> Late<T> {
    /// Makes everything that is said from now on so late. What waits already waits no longer than that.
    pub fn set_delay(&mut self, now: Instant, delay: Duration) {
        self.delay = delay;
        let latest = self.due(now, Duration::ZERO);
        for (due, _) in &mut self.waiting {
            *due = latest.min(*due);
        }
    }

    /// Lets nothing out for so long.
    pub fn hold(&mut self, now: Instant, time: Duration) {
        self.not_before = Some(now + time);
    }

    /// Whether something that is said now has to wait.
    #[must_use]
    pub fn is_late(&self, now: Instant) -> bool {
        !self.waiting.is_empty() || self.due(now, Duration::ZERO) > now
    }

    /// Lets something wait, `extra` longer than the rest.
    pub fn push(&mut self, now: Instant, extra: Duration, what: T) {
        // It cannot overtake what was said before it.
        let before = self.waiting.back().map_or(now, |(due, _)| *due);
        self.waiting.push_back((self.due(now, extra).max(before), what));
    }

    /// When the next thing is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }

    /// The next thing, if its time has come.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let too_many = self.waiting.len() > LONGEST_QUEUE;
        let (_, what) = self.waiting.pop_front_if(|(due, _)| too_many || *due <= now)?;
        if self.waiting.is_empty() {
            // Thousands of connections are mostly idle.
            self.waiting = VecDeque::new();
        }
        Some(what)
    }

    fn due(&self, now: Instant, extra: Duration) -> Instant {
        (now + self.delay + extra).max(self.not_before.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn things_come_late_and_in_the_order_in_which_they_were_said() {
        let (start, mut late) = (Instant::now(), Late::default());
        assert!(!late.is_late(start));
        late.set_delay(start, SECOND);
        assert!(late.is_late(start));
        late.push(start, SECOND, "slow");
        late.push(start, Duration::ZERO, "next");
        assert_eq!(late.pop(start + SECOND), None);
        assert_eq!(late.next_due(), Some(start + 2 * SECOND));
        assert_eq!(late.pop(start + 2 * SECOND), Some("slow"));
        assert_eq!(late.pop(start + 2 * SECOND), Some("next"));
        assert_eq!(late.next_due(), None);
    }

    #[test]
    fn a_delay_taken_back_frees_what_waits_but_not_what_is_held() {
        let (start, mut late) = (Instant::now(), Late::default());
        late.set_delay(start, 60 * SECOND);
        late.push(start, Duration::ZERO, 1);
        late.set_delay(start, Duration::ZERO);
        assert!(late.is_late(start), "nothing overtakes what waits");
        assert_eq!(late.pop(start), Some(1));
        assert!(!late.is_late(start));
        late.hold(start, SECOND);
        late.push(start, Duration::ZERO, 2);
        late.set_delay(start, Duration::ZERO);
        assert_eq!((late.pop(start), late.pop(start + SECOND)), (None, Some(2)));
        assert!(!late.is_late(start + SECOND));
    }

    #[test]
    fn too_many_things_push_the_oldest_out_early() {
        let (start, mut late) = (Instant::now(), Late::default());
        late.set_delay(start, SECOND);
        (0..=LONGEST_QUEUE).for_each(|number| late.push(start, Duration::ZERO, number));
        assert_eq!((late.pop(start), late.pop(start)), (Some(0), None));
    }
}
