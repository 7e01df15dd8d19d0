//! What earlier rounds of the same start have shown: a place that falls silent afterwards has still said it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Layer, Mark, Restored, Verdict};
use crate::id::InstanceId;
use crate::restored::REVISIONS_PASSED_OVER;

/// Numbers that no engine can have reached: there would be none left beyond them.
const BEYOND_ALL: u64 = i64::MAX as u64 - 2 * REVISIONS_PASSED_OVER as u64;

/// What was shown of one session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// The newest state that a copy was seen to hold. If the database holds an older one it was set back, whatever can be read now.
    pub proved: Option<Mark>,
    /// Whether the engine of another database was seen to go on with it, and no round since has heard all places say otherwise.
    pub used: bool,
}

impl Before {
    pub(super) fn saw(&mut self, mark: Option<Mark>) {
        let possible = |mark: &Mark| mark.epoch.0 <= BEYOND_ALL && mark.revision.0 <= BEYOND_ALL;
        if let Some(mark) = mark.filter(possible) {
            self.proved = Some(self.proved.map_or(mark, |known| known.latest(mark)));
        }
    }
}

/// What was shown of all sessions.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    proved: BTreeMap<InstanceId, Mark>,
    used: BTreeSet<InstanceId>,
}

impl Memory {
    /// Returns what was shown of one session.
    pub fn before(&self, id: &InstanceId) -> Before {
        Before { proved: self.proved.get(id).copied(), used: self.used.contains(id) }
    }

    /// Takes back what a copy has shown of an instance: it does not open.
    pub fn forget(&mut self, id: &InstanceId) {
        self.proved.remove(id);
    }

    /// Takes in what the places have said of an instance, and what was decided about it.
    pub fn learn(&mut self, Restored { id, facts, decision, .. }: &Restored) {
        let Facts { redis, files, mut before, .. } = *facts;
        for layer in [redis, files] {
            if let Layer::Holds { mark, .. } = layer {
                before.saw(Some(mark));
            }
        }
        if let Some(mark) = before.proved {
            self.proved.insert(id.clone(), mark);
        }
        if decision.verdict == Verdict::UsedElsewhere {
            self.used.insert(id.clone());
        } else if decision.silent.is_empty() {
            self.used.remove(id);
        }
    }
}
