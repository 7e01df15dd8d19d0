//! What the server has seen of the devices: when each was served, when not, and when it had two connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast_sim::{Event, EventKind, EventQuery, Operator, Simulator};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const EVERY: Duration = Duration::from_millis(500);

/// Milliseconds since 1970.
pub(super) type Moment = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Moment,
    /// When it ended, if it has.
    to: Option<Moment>,
}

impl Span {
    fn reaches_past(&self, since: Moment) -> bool {
        self.to.is_none_or(|to| to >= since)
    }
}

/// What is known of one device.
#[derive(Clone, Debug, Default)]
struct Track {
    /// The connection on which it is served.
    link: Option<u64>,
    /// When it began to be served.
    served: Vec<Moment>,
    /// When nobody served it.
    dark: Vec<Span>,
    /// When two connections of it lived, by the older one.
    double: BTreeMap<u64, Span>,
}

/// What is known of all.
#[derive(Default)]
struct Pages {
    seen: u64,
    tracks: BTreeMap<String, Track>,
}

/// Written up while it lives: the server remembers its newest events only.
pub(super) struct Record {
    pages: Arc<Mutex<Pages>>,
    operator: Operator,
    writing: JoinHandle<()>,
}

impl Record {
    pub(super) fn begin(sim: &Simulator) -> Self {
        let pages = Arc::new(Mutex::new(Pages { seen: sim.last_event(), ..Pages::default() }));
        let (kept, operator) = (Arc::clone(&pages), sim.operator());
        let writing = tokio::spawn(async move {
            loop {
                enter(&kept, &operator);
                sleep(EVERY).await;
            }
        });
        Self { pages, operator: sim.operator(), writing }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        enter(&self.pages, &self.operator);
        lock(&self.pages)
    }

    /// Returns how long after `since` each of these was served anew, in milliseconds; `None` for those that were not.
    pub(super) fn served_anew(&self, whose: &[String], since: Moment) -> Vec<Option<u64>> {
        let pages = self.pages();
        let first = |track: &Track| track.served.iter().find(|at| **at >= since).map(|at| at - since);
        whose.iter().map(|phone| pages.tracks.get(phone).and_then(first)).collect()
    }

    /// Returns the longest time after `since` in which each of those that were dark was so, in milliseconds.
    pub(super) fn dark(&self, since: Moment, now: Moment) -> Vec<u64> {
        let pages = self.pages();
        let longest = |track: &Track| {
            let spans = track.dark.iter().filter(|span| span.reaches_past(since));
            spans.map(|span| span.to.unwrap_or(now).saturating_sub(span.from)).max()
        };
        pages.tracks.values().filter_map(longest).collect()
    }

    /// Returns for how long two connections of one device lived, each time after `since`.
    pub(super) fn double(&self, since: Moment, now: Moment) -> Vec<u64> {
        let pages = self.pages();
        let spans = pages.tracks.values().flat_map(|track| track.double.values());
        let spans = spans.filter(|span| span.from >= since);
        spans.map(|span| span.to.unwrap_or(now).saturating_sub(span.from)).collect()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

fn lock(pages: &Mutex<Pages>) -> MutexGuard<'_, Pages> {
    pages.lock().expect("pages that no panic has left")
}

fn enter(pages: &Mutex<Pages>, operator: &Operator) {
    let mut pages = lock(pages);
    let newest = operator.last_event();
    let query = EventQuery { since: Some(pages.seen), ..EventQuery::default() };
    for event in operator.events(&query).expect("the events").into_iter().filter(|event| event.seq <= newest) {
        pages.note(&event);
    }
    pages.seen = newest;
}

impl Pages {
    #[expect(clippy::wildcard_enum_match_arm, reason = "three kinds of many")]
    fn note(&mut self, event: &Event) {
        let (Some(jid), Some(link)) = (&event.jid, event.link) else { return };
        let track = self.tracks.entry(jid.phone.to_string()).or_default();
        match event.kind {
            EventKind::Active => {
                track.link = Some(link.0);
                track.served.push(event.at);
                if let Some(span) = track.dark.last_mut().filter(|span| span.to.is_none()) {
                    span.to = Some(event.at);
                }
            }
            EventKind::Disconnect => {
                if track.link == Some(link.0) {
                    track.link = None;
                    track.dark.push(Span { from: event.at, to: None });
                }
                if let Some(span) = track.double.get_mut(&link.0).filter(|span| span.to.is_none()) {
                    span.to = Some(event.at);
                }
            }
            EventKind::Overlap => {
                track.double.entry(link.0).or_insert(Span { from: event.at, to: None });
            }
            _other => {}
        }
    }
}
