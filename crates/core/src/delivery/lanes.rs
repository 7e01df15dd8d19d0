//! Which deliveries are under way at the same time: one of each instance, a share for each target, a turn for everybody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::breaker::{Admission, Breaker, BreakerPolicy, Change, Said};
use super::origin::Origin;
use crate::id::InstanceId;
use crate::time::Timestamp;

/// Targets that are remembered without need, so that one that was alive is known to have been.
const REMEMBERED: usize = 1024;

/// The oldest waiting delivery of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its row; a larger one is later.
    pub seq: i64,
    pub instance: InstanceId,
    /// Where it goes.
    pub origin: Origin,
    /// When it may be tried, in Unix milliseconds.
    pub due_ms: i64,
    /// Tries so far.
    pub tries: u32,
}

/// How many deliveries may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// In all.
    pub lanes: usize,
    /// To one target. It also never has more than half of what is free, so that several slow targets leave something to the others.
    pub per_origin: usize,
    /// To targets that are down.
    pub probes: usize,
    /// To targets that have failed since they last answered, or never have: many dead ones must not hold up those that are well.
    pub doubtful: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { lanes: 64, per_origin: 16, probes: 16, doubtful: 32 }
    }
}

/// What is begun now, and when to look again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Instances whose oldest delivery is to be tried.
    pub picks: Vec<InstanceId>,
    /// When the next delivery becomes due, in Unix milliseconds.
    pub due_ms: Option<i64>,
    /// When a target may be probed.
    pub probe_at: Option<Timestamp>,
}

/// What follows when a turn has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Instances whose oldest delivery is to be tried now.
    pub picks: Vec<InstanceId>,
    /// Whether to look for others.
    pub look: bool,
}

/// What a try meant for its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub origin: Origin,
    /// Whether a failure of the target uses an attempt up.
    pub counts: bool,
    /// Whether the breaker has opened or closed.
    pub change: Option<Change>,
    /// When the target may be probed, if it is down.
    pub probe_at: Option<Timestamp>,
}

/// The deliveries under way, and what is known of their targets.
#[derive(Debug, Clone)]
pub struct Lanes {
    shares: Shares,
    policy: BreakerPolicy,
    origins: BTreeMap<Origin, Target>,
    seats: BTreeMap<InstanceId, Seat>,
    probes: usize,
    doubtful: usize,
    /// Instances that had something due when they were passed over because they were under way.
    again: BTreeSet<InstanceId>,
    /// What was due at the last look and found no lane, by target, each in turn.
    waiting: BTreeMap<Origin, VecDeque<Head>>,
    /// Whether a target that could have been probed was not.
    unprobed: bool,
    turn: u64,
    /// When each instance had its last turn.
    turns: BTreeMap<InstanceId, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Target {
    breaker: Breaker,
    under_way: usize,
}

#[derive(Debug, Clone)]
struct Seat {
    origin: Origin,
    probe: bool,
    doubtful: bool,
}

impl Lanes {
    /// Makes empty lanes.
    pub fn new(shares: Shares, policy: BreakerPolicy) -> Self {
        Self {
            shares,
            policy,
            origins: BTreeMap::new(),
            seats: BTreeMap::new(),
            probes: 0,
            doubtful: 0,
            again: BTreeSet::new(),
            waiting: BTreeMap::new(),
            unprobed: false,
            turn: 0,
            turns: BTreeMap::new(),
        }
    }

    /// Chooses among the oldest deliveries of all instances, and counts what it chose as under way.
    pub fn choose(&mut self, heads: Vec<Head>, now: Timestamp, now_ms: i64) -> Choice {
        self.forget(&heads);
        let mut choice = Choice::default();
        let mut free = Vec::new();
        let mut probes: BTreeMap<Origin, Head> = BTreeMap::new();
        for head in heads {
            if self.seats.contains_key(&head.instance) {
                self.again.insert(head.instance);
                continue;
            }
            match self.breaker(&head.origin).admits(now) {
                Admission::Nothing { until } => choice.probe_at = earlier(choice.probe_at, until),
                Admission::Free | Admission::Probe if head.due_ms > now_ms => {
                    choice.due_ms = earlier(choice.due_ms, Some(head.due_ms));
                }
                Admission::Free => free.push(head),
                Admission::Probe => {
                    // The least tried first: a message that the target chokes on must not be the probe each time.
                    let rank = |head: &Head| (head.tries, head.seq);
                    match probes.get(&head.origin) {
                        Some(best) if rank(best) <= rank(&head) => {}
                        Some(_) | None => drop(probes.insert(head.origin.clone(), head)),
                    }
                }
            }
        }
        let mut probes: Vec<Head> = probes.into_values().collect();
        self.in_turn(&mut probes);
        self.in_turn(&mut free);
        for head in probes {
            if self.probes < self.shares.probes && self.seats.len() < self.shares.lanes {
                self.sit(&head.instance, &head.origin, true);
                choice.picks.push(head.instance);
            } else {
                self.unprobed = true;
            }
        }
        for head in free {
            if self.has_room(&head.origin) {
                self.sit(&head.instance, &head.origin, false);
                choice.picks.push(head.instance);
            } else {
                self.waiting.entry(head.origin.clone()).or_default().push_back(head);
            }
        }
        choice
    }

    /// Notes what the try of an instance has told about its target.
    pub fn judge(&mut self, instance: &InstanceId, said: Said, now: Timestamp, jitter: f64) -> Option<Judged> {
        let seat = self.seats.get_mut(instance)?;
        let probe = std::mem::take(&mut seat.probe);
        self.probes -= usize::from(probe);
        self.doubtful -= usize::from(std::mem::take(&mut seat.doubtful));
        let origin = seat.origin.clone();
        let target = self.origins.entry(origin.clone()).or_default();
        let (breaker, change) = target.breaker.heard(said, probe, self.policy, now, jitter);
        target.breaker = breaker;
        Some(Judged { origin, counts: breaker.counts(), change, probe_at: breaker.until() })
    }

    /// Ends the turn of an instance; whoever found no lane before has one now.
    pub fn leave(&mut self, instance: &InstanceId, now: Timestamp) -> Left {
        let again = self.again.remove(instance);
        if let Some(seat) = self.seats.remove(instance) {
            self.probes -= usize::from(seat.probe);
            self.doubtful -= usize::from(seat.doubtful);
            if let Some(target) = self.origins.get_mut(&seat.origin) {
                target.under_way -= 1;
            }
        }
        let somebody_waited = !self.waiting.is_empty();
        let picks = self.refill(now);
        Left { picks, look: again || self.unprobed || (somebody_waited && self.waiting.is_empty()) }
    }

    /// Gives no lane to those who wait: what follows is the end.
    pub fn stop(&mut self) {
        self.waiting.clear();
        self.unprobed = false;
    }

    /// Gives an instance another turn at once, if nobody waits for its lane, and tells whether it has it.
    pub fn stay(&mut self, instance: &InstanceId, now: Timestamp) -> bool {
        let Some(seat) = self.seats.get(instance) else { return false };
        let full = self.seats.len() >= self.shares.lanes;
        let wanted = self.waiting.contains_key(&seat.origin) || (full && !self.waiting.is_empty());
        if wanted || self.breaker(&seat.origin).admits(now) != Admission::Free {
            return false;
        }
        self.again.remove(instance);
        self.turn += 1;
        self.turns.insert(instance.clone(), self.turn);
        true
    }

    /// Seats those that wait, in turn, as far as there is room.
    fn refill(&mut self, now: Timestamp) -> Vec<InstanceId> {
        let mut picks = Vec::new();
        // A target that has gone down meanwhile is probed after a look.
        let open = |lanes: &Self, origin: &Origin| lanes.breaker(origin).admits(now) == Admission::Free;
        let down: Vec<Origin> = self.waiting.keys().filter(|origin| !open(self, origin)).cloned().collect();
        for origin in down {
            self.waiting.remove(&origin);
        }
        while let Some(head) = self.next_waiting() {
            if self.seats.contains_key(&head.instance) {
                self.again.insert(head.instance);
                continue;
            }
            self.sit(&head.instance, &head.origin, false);
            picks.push(head.instance);
        }
        picks
    }

    /// Takes whoever waits longest for a turn out of those for whom there is room.
    fn next_waiting(&mut self) -> Option<Head> {
        let first = self.waiting.iter().filter(|(origin, _)| self.has_room(origin));
        let first = first.filter_map(|(_, heads)| heads.front()).min_by_key(|head| self.rank(head))?;
        let origin = first.origin.clone();
        let heads = self.waiting.get_mut(&origin)?;
        let head = heads.pop_front();
        if heads.is_empty() {
            self.waiting.remove(&origin);
        }
        head
    }

    /// Returns where the delivery of an instance that is under way goes.
    pub fn origin(&self, instance: &InstanceId) -> Option<&Origin> {
        self.seats.get(instance).map(|seat| &seat.origin)
    }

    /// Returns how many deliveries are under way.
    pub fn under_way(&self) -> usize {
        self.seats.len()
    }

    /// Returns what is known of each target, with the number of deliveries under way to it.
    pub fn targets(&self) -> impl Iterator<Item = (&Origin, Breaker, usize)> {
        self.origins.iter().map(|(origin, target)| (origin, target.breaker, target.under_way))
    }

    fn breaker(&self, origin: &Origin) -> Breaker {
        self.origins.get(origin).copied().unwrap_or_default().breaker
    }

    fn has_room(&self, origin: &Origin) -> bool {
        let mut free = self.shares.lanes.saturating_sub(self.seats.len());
        if self.is_doubtful(origin) {
            free = free.min(self.shares.doubtful.saturating_sub(self.doubtful));
        }
        let under_way = self.origins.get(origin).map_or(0, |target| target.under_way);
        free > 0 && under_way < self.shares.per_origin.min((free / 2).max(1))
    }

    fn is_doubtful(&self, origin: &Origin) -> bool {
        self.breaker(origin) != Breaker::Closed { failures: 0, proven: true }
    }

    fn sit(&mut self, instance: &InstanceId, origin: &Origin, probe: bool) {
        let doubtful = !probe && self.is_doubtful(origin);
        self.doubtful += usize::from(doubtful);
        let target = self.origins.entry(origin.clone()).or_default();
        target.under_way += 1;
        if probe {
            target.breaker = target.breaker.probing();
            self.probes += 1;
        }
        self.turn += 1;
        self.turns.insert(instance.clone(), self.turn);
        self.seats.insert(instance.clone(), Seat { origin: origin.clone(), probe, doubtful });
    }

    /// Who was served longest ago comes first, then the oldest.
    fn rank(&self, head: &Head) -> (Option<u64>, i64) {
        (self.turns.get(&head.instance).copied(), head.seq)
    }

    fn in_turn(&self, heads: &mut [Head]) {
        heads.sort_by_cached_key(|head| self.rank(head));
    }

    /// Drops what no waiting delivery needs, so that memory follows the instances that wait and nothing else.
    fn forget(&mut self, heads: &[Head]) {
        let waiting: BTreeSet<&InstanceId> = heads.iter().map(|head| &head.instance).collect();
        self.turns.retain(|instance, _| waiting.contains(instance) || self.seats.contains_key(instance));
        self.again.clear();
        self.waiting.clear();
        self.unprobed = false;
        if self.origins.len() > REMEMBERED {
            let called: BTreeSet<&Origin> = heads.iter().map(|head| &head.origin).collect();
            self.origins.retain(|origin, target| target.under_way > 0 || called.contains(origin));
        }
    }
}

fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
