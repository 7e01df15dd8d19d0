//! The simulated scribe of an actor: rows are written in the background, merged, tried again while the store refuses.

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::Desired;
use std::time::Duration;

use super::World;
use super::fate::{Due, Stamp};

const RETRY: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

#[derive(Debug, Clone, Copy, Default)]
struct Pages {
    archive: bool,
    desired: Option<Desired>,
}

/// The scribe of one incarnation.
pub(crate) struct Scribe {
    pub(crate) stamp: Stamp,
    pages: Pages,
    pub(crate) submitted: u64,
    pub(crate) archive_submitted: u64,
    pub(crate) written: u64,
    failures: u32,
    writing: bool,
    /// Its actor is gone.
    pub(crate) closed: bool,
}

impl Scribe {
    pub(crate) fn new(stamp: Stamp) -> Self {
        Self {
            stamp,
            pages: Pages::default(),
            submitted: 0,
            archive_submitted: 0,
            written: 0,
            failures: 0,
            writing: false,
            closed: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.written >= self.submitted
    }
}

impl World<'_> {
    pub(crate) fn scribe(&mut self, i: usize, stamp: Stamp) -> Option<&mut Scribe> {
        self.cells[i].scribes.iter_mut().find(|scribe| scribe.stamp == stamp)
    }

    /// Submits what an actor wants written: an archiving, a wish, or with neither of them other rows.
    pub(crate) fn submit(&mut self, i: usize, stamp: Stamp, archive: bool, desired: Option<Desired>) {
        let Some(scribe) = self.scribe(i, stamp) else { return };
        scribe.submitted += 1;
        if archive {
            scribe.pages.archive = true;
            scribe.archive_submitted = scribe.submitted;
        }
        scribe.pages.desired = desired.or(scribe.pages.desired);
        if !scribe.writing {
            scribe.writing = true;
            self.write_later(i, stamp);
        }
    }

    fn write_later(&mut self, i: usize, stamp: Stamp) {
        let slow = self.now < self.weather.store_slow_until;
        let takes = if slow { self.cells[i].random.between(500, 4_000) } else { self.cells[i].random.between(1, 40) };
        self.later(self.now + takes, Due::Written { i, stamp });
    }

    /// A write has come to its end, one way or the other.
    pub(crate) fn written(&mut self, i: usize, stamp: Stamp) {
        let (now, down) = (self.now, self.weather.store_down(self.now));
        let jitter = self.cells[i].random.unit();
        let exists = self.cells[i].row.is_some();
        let Some(scribe) = self.scribe(i, stamp) else { return };
        if down && exists {
            scribe.failures += 1;
            if scribe.closed && scribe.failures > 3 {
                self.cells[i].scribes.retain(|scribe| scribe.stamp != stamp);
                self.cells[i].truth.handover_lost = true;
                return;
            }
            let wait = RETRY.delay(scribe.failures, jitter).as_millis() as u64;
            return self.later(now + wait + 5, Due::Written { i, stamp });
        }
        scribe.failures = 0;
        scribe.writing = false;
        scribe.written = scribe.submitted;
        let pages = std::mem::take(&mut scribe.pages);
        let over = scribe.closed;
        if over {
            self.cells[i].scribes.retain(|scribe| scribe.stamp != stamp);
        }
        if let Some(row) = &mut self.cells[i].row {
            if pages.archive {
                row.paired = false;
            }
            row.desired = pages.desired.unwrap_or(row.desired);
        }
        if pages.archive {
            self.story(|| format!("instance {i}: its credentials are archived"));
        }
        self.rows_are_written(i, stamp);
    }
}
