//! The simulated scribe of an actor: rows are written in the background, merged, tried again while the store refuses.

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, Notice};
use std::time::Duration;

use super::World;
use super::cell::End;
use super::fate::{Due, Stamp};

const RETRY: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    pub(crate) archive: bool,
    pub(crate) desired: Option<Desired>,
    pub(crate) state: Option<PublicState>,
    /// How the connection ended.
    pub(crate) end: Option<End>,
    /// It came online, so that an earlier end is none any more.
    pub(crate) online: bool,
}

impl Pages {
    pub(crate) fn wish(desired: Desired) -> Self {
        Self { desired: Some(desired), ..Self::default() }
    }

    pub(crate) fn state(state: PublicState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    /// Returns what a notice changes in the row.
    pub(crate) fn told(notice: Notice, now: u64) -> Self {
        match notice {
            Notice::Connecting { .. } => Self::state(PublicState::Connecting),
            Notice::Open => Self { online: true, ..Self::state(PublicState::Open) },
            Notice::Closed { why } => Self { end: why.map(|why| (why, now)), ..Self::state(PublicState::Close) },
            Notice::Qr { .. } | Notice::Code { .. } | Notice::QrLimit | Notice::LoggedOut { .. } => Self::default(),
        }
    }
}

/// The scribe of one instance in one process, the same for all incarnations of its actor.
pub(crate) struct Scribe {
    pub(crate) epoch: u64,
    pages: Pages,
    /// The state that was last told, written or not.
    pub(crate) told: PublicState,
    pub(crate) submitted: u64,
    pub(crate) archive_submitted: u64,
    pub(crate) written: u64,
    failures: u32,
    writing: bool,
}

impl Scribe {
    pub(crate) fn new(epoch: u64, told: PublicState) -> Self {
        Self {
            epoch,
            pages: Pages::default(),
            told,
            submitted: 0,
            archive_submitted: 0,
            written: 0,
            failures: 0,
            writing: false,
        }
    }

    pub(crate) fn is_archived(&self) -> bool {
        self.written >= self.archive_submitted
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.written >= self.submitted
    }
}

impl World<'_> {
    pub(crate) fn scribe(&mut self, i: usize, stamp: Stamp) -> Option<&mut Scribe> {
        self.cells[i].scribes.iter_mut().find(|scribe| scribe.epoch == stamp.epoch)
    }

    /// Submits what an actor wants written.
    pub(crate) fn submit(&mut self, i: usize, stamp: Stamp, pages: Pages) {
        let Some(scribe) = self.scribe(i, stamp) else { return };
        scribe.submitted += 1;
        if pages.archive {
            scribe.pages.archive = true;
            scribe.archive_submitted = scribe.submitted;
        }
        scribe.pages.desired = pages.desired.or(scribe.pages.desired);
        scribe.pages.state = pages.state.or(scribe.pages.state);
        let earlier = scribe.pages.end.take().filter(|_| !pages.online);
        scribe.pages.end = pages.end.or(earlier);
        scribe.pages.online |= pages.online;
        scribe.told = pages.state.unwrap_or(scribe.told);
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
        let exists = self.cells[i].stored.row.is_some();
        let Some(scribe) = self.scribe(i, stamp) else { return };
        if down && exists {
            scribe.failures += 1;
            let wait = RETRY.delay(scribe.failures, jitter).as_millis() as u64;
            return self.later(now + wait + 5, Due::Written { i, stamp });
        }
        scribe.failures = 0;
        scribe.writing = false;
        scribe.written = scribe.submitted;
        let pages = std::mem::take(&mut scribe.pages);
        if let Some(row) = &mut self.cells[i].stored.row {
            if pages.archive {
                row.paired = false;
                row.damaged = false;
            }
            row.desired = pages.desired.unwrap_or(row.desired);
            row.state = pages.state.unwrap_or(row.state);
        }
        let earlier = self.cells[i].stored.end.take().filter(|_| !pages.online);
        self.cells[i].stored.end = pages.end.or(earlier);
        if pages.archive {
            self.login_ended(i);
            self.story(|| format!("instance {i}: its credentials are archived"));
        }
        let present = self.cells[i].actor.as_ref().map_or(stamp, |actor| actor.stamp);
        self.rows_are_written(i, present);
        self.look_whether_drained();
    }
}
