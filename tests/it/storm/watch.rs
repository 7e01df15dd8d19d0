//! What is seen of a storm from outside: every 100 ms what each instance says, against what the server knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast::ports::clock::Clock;
use holdfast_sim::Simulator;
use reqwest::Method;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::panics::Panic;
use super::plan::Kind;
use crate::harness::client::{Answer, Api};
use crate::torture::talk::phone;

const EVERY: Duration = Duration::from_millis(100);
/// How long after a panic its instance has to be seen leaving, in milliseconds.
const PANIC_SEEN_WITHIN: u64 = 3_000;

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

/// An instance left `open`, and no fault that was done to its connection says why.
#[derive(Clone, Copy, Debug)]
struct Departure {
    number: usize,
    at: Moment,
    /// What was being done to it, which is no reason to leave.
    under: Option<Kind>,
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
    departures: Vec<Departure>,
    last: Moment,
    /// Until when newcomers are refused.
    shut_until: Moment,
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

    /// Counts the panics that came, and returns those who left `open` though neither a panic nor anything else had struck them.
    pub(super) fn unexplained(&mut self, mut panics: Vec<Panic>) -> Vec<String> {
        let figures = self.kinds.entry(Kind::Panic).or_default();
        figures.struck += panics.len() as u64;
        let mut unexplained = Vec::new();
        for Departure { number, at, under } in self.departures.drain(..) {
            let who = phone(number);
            let is_why = |panic: &Panic| panic.who == who && (panic.at..=panic.at + PANIC_SEEN_WITHIN).contains(&at);
            match panics.iter().position(is_why) {
                Some(place) => figures.detected.push(at - panics.swap_remove(place).at),
                None => unexplained.push(format!(
                    "{who}{} at {at}",
                    under.map(|kind| format!(", to whom a {kind} was done,")).unwrap_or_default()
                )),
            }
        }
        unexplained
    }

    /// Takes in what was seen.
    pub(super) fn see(&mut self, look: &Look) {
        let since_last = look.asked.saturating_sub(self.last);
        self.last = look.asked;
        self.looks += 1;
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
                let at = look.answered;
                self.departures.push(Departure { number, at, under: None });
                track.fault = Some(Fault { kind: Kind::Panic, began: at, over: 0, left: Some(at) });
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
                } else {
                    self.departures.push(Departure { number, at: look.answered, under: Some(fault.kind) });
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
        assert!(log.is_at_ease(0) && log.unexplained(Vec::new()).is_empty());
    }

    #[test]
    fn one_that_is_gone_and_back_between_two_looks_counts_and_one_that_leaves_by_itself_is_told() {
        let mut log = Log::new(1);
        log.see(&look(1_000, true, true, 500));
        log.strike(0, Kind::Rst, 1_010, 0);
        log.see(&look(1_100, true, true, 1_060));
        assert_eq!(log.kinds[&Kind::Rst].detected, [50]);
        log.see(&look(1_200, false, false, 1_150));
        assert_eq!(log.unexplained(Vec::new()).len(), 1);
    }

    #[test]
    fn only_a_panic_of_its_own_and_of_that_time_explains_why_one_left() {
        let mut log = Log::new(1);
        log.see(&look(9_000, true, true, 500));
        log.see(&look(9_200, false, false, 9_150));
        log.see(&look(9_400, true, true, 9_300));
        assert_eq!(log.kinds[&Kind::Panic].recovered, [200]);
        let panic = |who: usize, at| Panic { who: phone(who), at };
        let (others, later, much_earlier) = (panic(1, 9_100), panic(0, 9_250), panic(0, 9_200 - PANIC_SEEN_WITHIN));
        assert_eq!(log.clone().unexplained(vec![others, later, much_earlier]).len(), 1);
        assert!(log.unexplained(vec![panic(0, 9_150)]).is_empty());
        let figures = &log.kinds[&Kind::Panic];
        assert_eq!((figures.struck, figures.detected.as_slice()), (1, [51].as_slice()));
    }
}
