//! The instances that wait for a copy, each once. One that was copied a moment ago rests before the next.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;

/// Who waits, and until when.
pub(super) struct Backlog {
    waiting: HashMap<InstanceId, (Timestamp, u64)>,
    /// Those that are due first come first; of two alike the one that waits longer.
    order: BTreeMap<(Timestamp, u64), InstanceId>,
    /// When each was copied last.
    copied: HashMap<InstanceId, Timestamp>,
    next: u64,
    most: usize,
    rest: Duration,
    left_out: u64,
}

impl Backlog {
    pub(super) fn new(most: usize, rest: Duration) -> Self {
        Self {
            waiting: HashMap::new(),
            order: BTreeMap::new(),
            copied: HashMap::new(),
            next: 0,
            most,
            rest,
            left_out: 0,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns when the first is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.order.keys().next().map(|(due, _)| *due)
    }

    /// Adds one that has changed: at once if it was never copied, otherwise when it has rested.
    pub(super) fn add(&mut self, id: &InstanceId, now: Timestamp) {
        let due = self.copied.get(id).map_or(now, |copied| copied.after(self.rest).max(now));
        self.put(id.clone(), due);
    }

    /// Adds one whose copy is to go: it does not rest, and what comes after is new.
    pub(super) fn add_at_once(&mut self, id: &InstanceId, now: Timestamp) {
        self.copied.remove(id);
        if let Some(place) = self.waiting.remove(id) {
            self.order.remove(&place);
        }
        self.put(id.clone(), now);
    }

    /// Puts one back that failed, unless it waits again already.
    pub(super) fn put_back(&mut self, id: InstanceId, due: Timestamp) {
        self.put(id, due);
    }

    fn put(&mut self, id: InstanceId, due: Timestamp) {
        if self.waiting.contains_key(&id) {
            return;
        }
        if self.waiting.len() >= self.most {
            self.left_out += 1;
            return;
        }
        self.waiting.insert(id.clone(), (due, self.next));
        self.order.insert((due, self.next), id);
        self.next += 1;
    }

    /// Takes those that are due first; with `by` none that is due later.
    pub(super) fn take(&mut self, most: usize, by: Option<Timestamp>) -> Vec<InstanceId> {
        let mut taken = Vec::with_capacity(most);
        while taken.len() < most
            && let Some(first) = self.order.first_entry()
            && by.is_none_or(|by| first.key().0 <= by)
        {
            let id = first.remove();
            self.waiting.remove(&id);
            taken.push(id);
        }
        taken
    }

    /// Notes that one was copied. Of those that rested long ago nothing needs to be known.
    pub(super) fn written(&mut self, id: &InstanceId, now: Timestamp) {
        if self.copied.len() >= self.most {
            self.copied.retain(|_, copied| copied.after(self.rest) > now);
        }
        self.copied.insert(id.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(30);

    fn id(name: &str) -> InstanceId {
        InstanceId::new(name)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_instance_waits_once_and_rests_after_a_copy() {
        let mut backlog = Backlog::new(10, REST);
        for name in ["shop", "cafe", "shop"] {
            backlog.add(&id(name), at(1));
        }
        assert_eq!(backlog.take(5, Some(at(1))), [id("shop"), id("cafe")]);
        backlog.written(&id("shop"), at(1));
        backlog.add(&id("shop"), at(2));
        backlog.add(&id("cafe"), at(3));
        assert_eq!(backlog.next_due(), Some(at(3)));
        assert_eq!(backlog.take(5, Some(at(30))), [id("cafe")], "it rests");
        assert_eq!(backlog.next_due(), Some(at(31)));
        assert_eq!(backlog.take(5, None), [id("shop")], "at the end nobody rests");
        backlog.add(&id("shop"), at(100));
        assert_eq!(backlog.next_due(), Some(at(100)));
    }

    #[test]
    fn what_is_gone_does_not_rest_and_a_new_login_is_copied_at_once() {
        let mut backlog = Backlog::new(10, REST);
        backlog.written(&id("shop"), at(1));
        backlog.add(&id("shop"), at(2));
        assert_eq!(backlog.next_due(), Some(at(31)));
        backlog.add_at_once(&id("shop"), at(3));
        assert_eq!((backlog.waiting(), backlog.take(5, Some(at(3)))), (1, vec![id("shop")]));
        backlog.add(&id("shop"), at(4));
        assert_eq!(backlog.next_due(), Some(at(4)));
    }

    #[test]
    fn what_failed_comes_again_unless_it_waits_already() {
        let mut backlog = Backlog::new(10, REST);
        backlog.add(&id("shop"), at(1));
        let taken = backlog.take(1, None);
        backlog.add(&id("shop"), at(2));
        backlog.put_back(taken[0].clone(), at(9));
        assert_eq!((backlog.waiting(), backlog.next_due()), (1, Some(at(2))));
    }

    #[test]
    fn a_full_queue_leaves_out_and_counts() {
        let mut backlog = Backlog::new(1, REST);
        for name in ["shop", "cafe", "shop"] {
            backlog.add(&id(name), at(1));
        }
        assert_eq!((backlog.waiting(), backlog.left_out()), (1, 1));
    }
}
