//! What is seen of a storm from outside: every 100 ms what each instance says, against what the server knows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast::ports::clock::Clock;
use holdfast_sim::Simulator;
use reqwest::Method;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::plan::Kind;
use crate::harness::client::{Answer, Api};
use crate::torture::talk::phone;

const EVERY: Duration = Duration::from_millis(100);
/// How long after the order to panic somebody has to have obeyed, in milliseconds.
const PANICS_WITHIN: u64 = 5_000;

/// Milliseconds since 1970, of the clock that the simulator reads too.
pub(super) type Moment = u64;

/// One look: what every instance said, between two looks at the server.
pub(super) struct Look {
    pub(super) asked: Moment,
    pub(super) answered: Moment,
    /// By number of the instance.
    pub(super) seen: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) open: bool,
    /// Whether the server served it before it was asked, and since when that was so.
    pub(super) before: (bool, Moment),
    /// The same after it had answered.
    pub(super) after: (bool, Moment),
}

/// What came of the faults of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) struck: u64,
    /// From the fault until `open` was left, in milliseconds.
    pub(super) detected: Vec<u64>,
    /// From the end of the fault until `open` again, in milliseconds.
    pub(super) recovered: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: Kind,
    began: Moment,
    /// When it is over, as far as that does not depend on the engine.
    over: Moment,
    left: Option<Moment>,
}

#[derive(Clone, Debug, Default)]
struct Track {
    open: bool,
    served: bool,
    fault: Option<Fault>,
    /// What struck it for good.
    terminal: Option<Kind>,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    tracks: Vec<Track>,
    pub(super) kinds: BTreeMap<Kind, Figures>,
    pub(super) looks: u64,
    /// The sum over all instances of the time in which they said `open` and were not served, in milliseconds.
    pub(super) false_open: u64,
    /// The longest such time, and whose.
    pub(super) longest: (u64, Option<(usize, Kind)>),
    /// Instances that left `open` though nothing had struck them.
    pub(super) unexplained: Vec<String>,
    last: Moment,
    /// Until when newcomers are refused.
    shut_until: Moment,
    panics: VecDeque<Moment>,
}

impl Log {
    pub(super) fn new(instances: usize) -> Self {
        Self { tracks: vec![Track::default(); instances], ..Self::default() }
    }

    /// Tells whether it is connected, and nothing is being done to it.
    pub(super) fn is_at_ease(&self, number: usize) -> bool {
        let track = &self.tracks[number];
        track.open && track.served && track.fault.is_none()
    }

    pub(super) fn all_open(&self, of: usize) -> bool {
        self.tracks[..of].iter().all(|track| track.open && track.served)
    }

    pub(super) fn down(&self, of: usize) -> Vec<usize> {
        (0..of).filter(|number| !self.tracks[*number].open).collect()
    }

    pub(super) fn terminal(&self) -> Vec<(usize, Kind)> {
        let of = |(number, track): (usize, &Track)| Some((number, track.terminal?));
        self.tracks.iter().enumerate().filter_map(of).collect()
    }

    pub(super) fn shut(&mut self, until: Moment) {
        self.shut_until = until;
    }

    /// A fault begins now.
    pub(super) fn strike(&mut self, number: usize, kind: Kind, began: Moment, over: Moment) {
        let track = &mut self.tracks[number];
        self.kinds.entry(kind).or_default().struck += 1;
        if kind.parks().is_some() {
            track.terminal = Some(kind);
        }
        // One that is down already has only its return put off.
        if track.fault.is_none() && track.open {
            track.fault = Some(Fault { kind, began, over, left: None });
        }
    }

    /// It struck nobody: the instance had just left.
    pub(super) fn missed(&mut self, number: usize, kind: Kind) {
        let track = &mut self.tracks[number];
        track.fault = None;
        if let Some(figures) = self.kinds.get_mut(&kind) {
            figures.struck -= 1;
        }
    }

    /// Somebody's task is to panic; it will be seen whose.
    pub(super) fn panic_ordered(&mut self, at: Moment) {
        self.kinds.entry(Kind::Panic).or_default().struck += 1;
        self.panics.push_back(at);
    }

    /// Takes in what was seen.
    pub(super) fn see(&mut self, look: &Look) {
        let since_last = look.asked.saturating_sub(self.last);
        self.last = look.asked;
        self.looks += 1;
        while self.panics.front().is_some_and(|at| at + PANICS_WITHIN < look.asked) {
            self.panics.pop_front();
        }
        for (number, seen) in look.seen.iter().enumerate() {
            self.count_false_open(number, *seen, look, since_last);
            self.follow(number, *seen, look);
            let track = &mut self.tracks[number];
            (track.open, track.served) = (seen.open, seen.after.0);
        }
    }

    fn count_false_open(&mut self, number: usize, seen: Seen, look: &Look, since_last: u64) {
        // Somebody who was connected again while the answer was under way may have been so when it was given.
        if !seen.open || seen.before.0 || seen.before != seen.after {
            return;
        }
        let time = look.asked.saturating_sub(seen.before.1);
        self.false_open += time.min(since_last);
        if time > self.longest.0 {
            self.longest = (time, self.tracks[number].fault.map(|fault| (number, fault.kind)));
        }
    }

    fn follow(&mut self, number: usize, seen: Seen, look: &Look) {
        let track = &mut self.tracks[number];
        let Some(mut fault) = track.fault else {
            if track.open && !seen.open && track.terminal.is_none() {
                let panicked = self.panics.pop_front();
                if panicked.is_none() {
                    self.unexplained.push(format!("{} at {}", phone(number), look.answered));
                }
                let began = panicked.unwrap_or(look.answered);
                let fault = Fault { kind: Kind::Panic, began, over: 0, left: Some(look.answered) };
                track.fault = panicked.map(|_at| fault);
                if panicked.is_some() {
                    self.kinds.entry(Kind::Panic).or_default().detected.push(look.answered - began);
                }
            }
            return;
        };
        let figures = self.kinds.entry(fault.kind).or_default();
        let served_again = seen.open && seen.after.0;
        let mut over = false;
        match fault.left {
            None if !seen.open => {
                fault.left = Some(look.answered);
                if fault.kind.cuts() {
                    figures.detected.push(look.answered - fault.began);
                } else if let Some(at) = self.panics.pop_front() {
                    // The panic came to one whose connection was late, too.
                    self.kinds.entry(Kind::Panic).or_default().detected.push(look.answered - at);
                } else {
                    self.unexplained.push(format!("{} by a {} at {}", phone(number), fault.kind, look.answered));
                }
            }
            // Gone and back between two looks.
            None if served_again && seen.after.1 > fault.began => {
                figures.detected.push(seen.after.1 - fault.began);
                figures.recovered.push(0);
                over = true;
            }
            None => over = !fault.kind.cuts() && look.asked > fault.over,
            Some(left) if served_again => {
                let end = left.max(fault.over).max(self.shut_until).min(look.answered);
                figures.recovered.push(look.answered - end);
                over = true;
            }
            Some(_left) => {}
        }
        track.fault = (!over).then_some(fault);
    }
}

/// Looks every 100 ms until it is dropped.
pub(super) struct Watch {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(sim: &Simulator, api: Api, clock: Arc<Clock>, instances: usize) -> Self {
        let log = Arc::new(Mutex::new(Log::new(instances)));
        let (shared, server) = (Arc::clone(&log), sim.operator());
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let served = || -> HashMap<String, (bool, Moment)> {
                    let all = server.served().into_iter();
                    all.map(|one| (one.jid.phone.to_string(), (one.served, one.since))).collect()
                };
                let (asked, before) = (now(&clock), served());
                let answer = api.try_call(Method::GET, "/instance/fetchInstances", None).await;
                let Ok(Answer { status: 200, body }) = answer else { continue };
                let (answered, after) = (now(&clock), served());
                let rows = body.as_array().into_iter().flatten();
                let open: HashMap<&str, bool> =
                    rows.filter_map(|row| Some((row["name"].as_str()?, row["connectionStatus"] == "open"))).collect();
                let seen = |number| {
                    let name = phone(number);
                    let of = |served: &HashMap<_, _>| served.get(&name).copied().unwrap_or_default();
                    let open = open.get(name.as_str()).copied().unwrap_or_default();
                    Seen { open, before: of(&before), after: of(&after) }
                };
                let look = Look { asked, answered, seen: (0..instances).map(seen).collect() };
                lock(&shared).see(&look);
            }
        });
        Self { log, task }
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().expect("a log that no panic has left")
}

pub(super) fn now(clock: &Clock) -> Moment {
    clock.wall().timestamp_millis().cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Moment, open: bool, served: bool, since: Moment) -> Look {
        let of = (served, since);
        Look { asked: at, answered: at + 1, seen: vec![Seen { open, before: of, after: of }] }
    }

    #[test]
    fn an_open_that_the_server_does_not_know_of_is_measured_from_when_it_ended() {
        let mut log = Log::new(1);
        log.see(&look(1_000, true, true, 500));
        log.strike(0, Kind::Silence, 1_030, 0);
        log.see(&look(1_100, true, false, 1_030));
        log.see(&look(1_200, true, false, 1_030));
        assert_eq!((log.false_open, log.longest), (170, (170, Some((0, Kind::Silence)))));
        log.see(&look(1_300, false, false, 1_030));
        log.see(&look(1_500, true, true, 1_480));
        let figures = &log.kinds[&Kind::Silence];
        assert_eq!((&figures.detected, &figures.recovered), (&vec![271], &vec![200]));
        assert_eq!(log.false_open, 170);
        assert!(log.is_at_ease(0) && log.unexplained.is_empty());
    }

    #[test]
    fn one_that_is_gone_and_back_between_two_looks_counts_and_one_that_leaves_by_itself_is_told() {
        let mut log = Log::new(1);
        log.see(&look(1_000, true, true, 500));
        log.strike(0, Kind::Rst, 1_010, 0);
        log.see(&look(1_100, true, true, 1_060));
        assert_eq!(log.kinds[&Kind::Rst].detected, [50]);
        log.see(&look(1_200, false, false, 1_150));
        assert_eq!(log.unexplained.len(), 1);
    }
}
