//! Which state of a session comes after which.

use std::cmp::Ordering;

use crate::id::{Epoch, Revision};
use crate::restored::REVISIONS_PASSED_OVER;

/// Of a revision, the digits below its era.
const ERA_BITS: u32 = 22;

/// A state of a session. Within one history both numbers only grow: each claim raises the epoch, each write the revision.
///
/// What begins, begins an era: a pairing and the adoption of a copy lift the revision to the second in which they are made. A database that was
/// set back to before a login, and in which the instance was paired anew, so holds a later login than any copy of the earlier one, however many
/// claims and writes that has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    pub epoch: Epoch,
    pub revision: Revision,
}

/// What a copy is to the state that the database holds.
///
/// The order is that of their worth: what proves that the database was set back comes before what agrees with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The database has gone on without it.
    Older,
    /// It is that state: nothing was written since.
    Exact,
    /// It knows of a claim or a write that the database does not: the database was set back.
    Newer,
}

impl Mark {
    /// Compares a copy's state with that of the database. A claim raises the epoch and changes nothing, so an earlier epoch with the same
    /// revision is the same state; a later one is proof of a later history, unless the database holds a later login.
    pub fn against(self, database: Self) -> Standing {
        match self.era().cmp(&database.era()) {
            Ordering::Greater => return Standing::Newer,
            Ordering::Less => return Standing::Older,
            Ordering::Equal => {}
        }
        if self.epoch > database.epoch || self.revision > database.revision {
            return Standing::Newer;
        }
        if self.revision == database.revision { Standing::Exact } else { Standing::Older }
    }

    /// Returns the later of both numbers each: no history that has one of the two marks is beyond it.
    #[must_use]
    pub fn latest(self, other: Self) -> Self {
        Self { epoch: self.epoch.max(other.epoch), revision: self.revision.max(other.revision) }
    }

    /// Returns the state that comes next: nothing was lost since this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { epoch: self.epoch.next(), revision: Revision(self.revision.0.saturating_add(1)) }
    }

    /// Returns the first state of what goes on from a copy at this moment, in Unix milliseconds, if this one is the latest that is known.
    #[must_use]
    pub fn begun_at(self, now_ms: u64) -> Self {
        let epoch = Epoch(self.epoch.0.saturating_add(REVISIONS_PASSED_OVER as u64));
        Self { epoch, revision: Revision::begun_at(now_ms, self.revision) }
    }

    /// Returns when its history began, in seconds since 1970, or a little later: every four million writes add one.
    pub fn era(self) -> u64 {
        self.revision.0 >> ERA_BITS
    }
}

impl Revision {
    /// Returns the first revision of what begins at this moment, in Unix milliseconds: a new login, or one that goes on from a copy. It is beyond
    /// `latest`, which is the latest that is known, and beyond all that are not, as far as the clock is right.
    #[must_use]
    pub fn begun_at(now_ms: u64, latest: Self) -> Self {
        let by_the_clock = Self((now_ms / 1_000) << ERA_BITS);
        if by_the_clock > latest { by_the_clock } else { Self(latest.0.saturating_add(REVISIONS_PASSED_OVER as u64)) }
    }
}

impl Ord for Mark {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |mark: &Self| (mark.era(), mark.epoch, mark.revision);
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Mark {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
