//! When an instance is asked for proof of life, and when a claim has none behind it.
//!
//! Every proof re-arms two deadlines: after one interval a ping is due, and after the proof window the claim of being open has run out.
//! The instance's own machine acts on both; a deadline that passes here all the same means that its actor does not turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::connection::Phase;
use crate::id::{Generation, InstanceId};
use crate::status::InstanceStatus;
use crate::time::Timestamp;

/// How long an instance may take to act on a deadline of its own before it counts as stuck.
pub const GRACE: Duration = Duration::from_millis(300);

/// What is to be done about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Ask it for proof of life.
    Ping(InstanceId),
    /// Compare what it claims with the evidence: its proof window is over.
    Look(InstanceId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Ping,
    Look,
}

#[derive(Debug)]
struct Watched {
    generation: Generation,
    ping: Option<Timestamp>,
    look: Option<Timestamp>,
}

/// The deadlines of all watched instances.
#[derive(Debug)]
pub struct Watchdog {
    interval: Duration,
    watched: BTreeMap<InstanceId, Watched>,
    due: BTreeSet<(Timestamp, What, InstanceId)>,
}

impl Watchdog {
    /// Watches nobody yet; `interval` is how old a proof of life may become before it is asked for.
    pub fn new(interval: Duration) -> Self {
        Self { interval, watched: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Begins to watch a generation of an instance, from scratch: what an earlier one had proven does not count.
    pub fn watch(&mut self, id: InstanceId, generation: Generation) {
        self.arm(&id, None, None);
        self.watched.insert(id, Watched { generation, ping: None, look: None });
    }

    /// Ends the watch over a generation; tells whether it was the one that is watched.
    pub fn unwatch(&mut self, id: &InstanceId, generation: Generation) -> bool {
        if !self.watches(id, generation) {
            return false;
        }
        self.arm(id, None, None);
        self.watched.remove(id);
        true
    }

    /// Re-arms after a sign of life: a ping is due at `ping`, the claim runs out at `stale`. `None` says that it claims nothing.
    ///
    /// Word of another generation changes nothing.
    pub fn proven(
        &mut self,
        id: &InstanceId,
        generation: Generation,
        ping: Option<Timestamp>,
        stale: Option<Timestamp>,
    ) {
        if self.watches(id, generation) {
            self.arm(id, ping, stale.map(|stale| stale.after(GRACE)));
        }
    }

    /// Returns when something is due next.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// Takes what is due. A ping is due again after another interval, should the question be lost; an answer re-arms it anyway.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Due> {
        let mut taken = Vec::new();
        while let Some((at, what, id)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            let (ping, look) = self.watched.get(&id).map_or((None, None), |watched| (watched.ping, watched.look));
            match what {
                What::Ping => {
                    self.arm(&id, Some(now.after(self.interval)), look);
                    taken.push(Due::Ping(id));
                }
                What::Look => {
                    self.arm(&id, ping, None);
                    taken.push(Due::Look(id));
                }
            }
        }
        taken
    }

    fn watches(&self, id: &InstanceId, generation: Generation) -> bool {
        self.watched.get(id).is_some_and(|watched| watched.generation == generation)
    }

    fn arm(&mut self, id: &InstanceId, ping: Option<Timestamp>, look: Option<Timestamp>) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        let before = [(watched.ping, What::Ping), (watched.look, What::Look)];
        (watched.ping, watched.look) = (ping, look);
        for (at, what) in before {
            if let Some(at) = at {
                self.due.remove(&(at, what, id.clone()));
            }
        }
        for (at, what) in [(ping, What::Ping), (look, What::Look)] {
            if let Some(at) = at {
                self.due.insert((at, what, id.clone()));
            }
        }
    }
}

/// Returns what an instance has to be reported as, if it claims to be online and nothing backs that any more.
pub fn mismatch(status: &InstanceStatus, now: Timestamp) -> Option<InstanceStatus> {
    let claims = status.phase == Phase::Online;
    (claims && status.phase_at(now) == Phase::Suspect).then(|| InstanceStatus {
        phase: Phase::Suspect,
        since: now,
        ..status.clone()
    })
}
