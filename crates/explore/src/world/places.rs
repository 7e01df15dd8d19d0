//! Where a session is beside the database, and who keeps the copies there: the counterpart of `src/mirror.rs`, `src/cache` and `src/provider`.

use holdfast_core::connection::Desired;
use holdfast_core::id::Revision;
use holdfast_core::restoration::{Layer, Mark, Silence, Source, Standing};
use std::time::Duration;

use super::World;
use super::cell::Row;
use super::fate::Due;
use crate::random::Random;

/// The places beside the database, in the order of a cell's copies.
pub(crate) const LAYERS: [Source; 2] = [Source::Redis, Source::Files];
/// What may pass before a change is copied, and between two copies of the same instance.
const EVERY: u64 = 2_000;
const REST: u64 = 30_000;
/// How often it is asked whether a copy was lost.
const REFRESH: u64 = 300_000;

/// A login: which device, under which chains of keys, and how far these were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) device: u64,
    pub(crate) chains: u64,
    pub(crate) used: u64,
}

/// A copy of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) mark: Mark,
    pub(crate) login: Login,
    pub(crate) desired: Desired,
    pub(crate) damaged: bool,
    /// When it was written.
    pub(crate) at: u64,
}

impl Copy {
    fn of(row: &Row, at: u64) -> Option<Self> {
        let Row { mark, login, desired, .. } = *row;
        row.paired.then_some(Self { mark, login, desired, damaged: false, at })
    }

    /// What an earlier process may have left of a row: its state, an earlier one, or nothing.
    pub(crate) fn left_of(row: &Row, random: &mut Random) -> Option<Self> {
        let mut copy = Self::of(row, 0)?;
        match random.below(5) {
            0 => return None,
            1 => {
                copy.mark.revision = Revision(copy.mark.revision.0 - 3);
                copy.login.used -= 3;
            }
            _ => {}
        }
        Some(copy)
    }
}

impl World<'_> {
    pub(crate) fn is_silent(&self, layer: usize) -> bool {
        self.weather.silent_until.get(layer).is_some_and(|until| self.now < *until)
    }

    /// What a layer says of an instance.
    pub(crate) fn said_by(&self, layer: usize, i: usize) -> Layer {
        match self.cells[i].copies[layer] {
            _ if self.is_silent(layer) => Layer::Silent(Silence::Down),
            None => Layer::Absent,
            Some(Copy { damaged: true, .. }) => Layer::Corrupt,
            Some(Copy { mark, at, .. }) => Layer::Holds { mark, age: Duration::from_millis(self.now - at) },
        }
    }

    /// Lists the whole copies of an instance, whether they can be read now or not.
    pub(crate) fn whole_copies(&self, i: usize) -> impl Iterator<Item = Copy> {
        self.cells[i].copies.into_iter().flatten().filter(|copy| !copy.damaged)
    }

    /// The connection has used its keys, and written so before.
    pub(crate) fn uses_keys(&mut self, i: usize) {
        if self.weather.store_down(self.now) {
            return;
        }
        let cell = &mut self.cells[i];
        let Some(row) = cell.stored.row.as_mut().filter(|row| row.paired) else { return };
        row.login.used += 1;
        row.mark.revision = Revision(row.mark.revision.0 + 1);
        let used = cell.truth.used.entry(row.login.chains).or_default();
        *used = (*used).max(row.login.used);
        self.changed(i);
    }

    /// A session has changed: its copies follow, in their time.
    pub(crate) fn changed(&mut self, i: usize) {
        for layer in 0..LAYERS.len() {
            let soon = self.now + self.cells[i].random.below(EVERY);
            let cell = &mut self.cells[i];
            let rested = cell.copies[layer].map_or(0, |copy| copy.at + REST);
            if !std::mem::replace(&mut cell.copying[layer], true) {
                self.copy_at(i, layer, soon.max(rested));
            }
        }
    }

    /// A login has ended: its copies are to go at once.
    pub(crate) fn login_ended(&mut self, i: usize) {
        for layer in 0..LAYERS.len() {
            self.cells[i].copying[layer] = true;
            self.copy_at(i, layer, self.now + 1);
        }
    }

    fn copy_at(&mut self, i: usize, layer: usize, at: u64) {
        let epoch = self.service.epoch;
        self.later(at, Due::Copied { i, layer, epoch });
    }

    pub(crate) fn copied(&mut self, i: usize, layer: usize, epoch: u64) {
        if epoch != self.service.epoch || !self.cells[i].copying[layer] {
            return;
        }
        if self.is_silent(layer) || self.weather.store_down(self.now) {
            return self.copy_at(i, layer, self.now + EVERY);
        }
        self.cells[i].copying[layer] = false;
        self.copy(i, layer);
    }

    /// Makes the copy what the row is. Of a damaged row, and in the place of a newer copy, none is made.
    fn copy(&mut self, i: usize, layer: usize) {
        let now = self.now;
        let cell = &mut self.cells[i];
        let there = &mut cell.copies[layer];
        match &cell.stored.row {
            None => *there = None,
            Some(row) if row.damaged => {}
            Some(row) => {
                let newer = there.is_some_and(|copy| !copy.damaged && copy.mark > row.mark);
                if !newer || !row.paired {
                    *there = Copy::of(row, now);
                }
            }
        }
    }

    /// The service ends in order: what waits is copied, where that is possible.
    pub(crate) fn last_copies(&mut self) {
        if self.weather.store_down(self.now) {
            return;
        }
        for layer in (0..LAYERS.len()).filter(|layer| !self.is_silent(*layer)).collect::<Vec<_>>() {
            for i in 0..self.cells.len() {
                if self.cells[i].copying[layer] {
                    self.copy(i, layer);
                }
            }
        }
    }

    /// Copies that were lost are made again, though nothing changes.
    pub(crate) fn refresh(&mut self, epoch: u64) {
        if epoch != self.service.epoch {
            return;
        }
        for i in 0..self.cells.len() {
            let cell = &self.cells[i];
            let lives = cell.line.is_some() && cell.stored.row.is_some_and(|row| row.paired);
            if lives && (0..LAYERS.len()).any(|layer| !self.is_silent(layer) && cell.copies[layer].is_none()) {
                self.changed(i);
            }
        }
        self.refresh_later();
    }

    pub(crate) fn refresh_later(&mut self) {
        self.later(self.now + REFRESH, Due::Refresh { epoch: self.service.epoch });
    }

    /// A layer loses all that it holds.
    pub(crate) fn lose(&mut self, layer: usize) {
        for cell in &mut self.cells {
            cell.copies[layer] = None;
        }
        self.nobody_can_know();
    }

    pub(crate) fn damage_copy(&mut self, i: usize, layer: usize) {
        if let Some(copy) = &mut self.cells[i].copies[layer] {
            copy.damaged = true;
        }
        self.nobody_can_know();
    }

    pub(crate) fn back_up(&mut self) {
        for cell in &mut self.cells {
            cell.backup = cell.stored.clone();
        }
    }

    /// The database is what it was when it was backed up, or knows nothing at all.
    pub(crate) fn set_back(&mut self, emptied: bool) {
        for cell in &mut self.cells {
            cell.stored = if emptied { super::cell::Stored::default() } else { cell.backup.clone() };
        }
        self.nobody_can_know();
    }

    /// What no place shows any more cannot be known: a login that is lost everywhere counts as gone, and keys whose use is recorded nowhere as
    /// unused.
    pub(crate) fn nobody_can_know(&mut self) {
        for i in 0..self.cells.len() {
            let held = self.cells[i].stored.row.filter(|row| row.paired).map(|row| row.login.device);
            let which = self.cells[i].truth.which;
            if held != Some(which) && !self.whole_copies(i).any(|copy| copy.login.device == which) {
                self.cells[i].truth.device = false;
            }
            let Some(row) = self.cells[i].stored.row else { continue };
            let later = |copy: Copy| copy.mark.against(row.mark) == Standing::Newer;
            if !self.service.restoration.has_shown_later(i, row.mark) && !self.whole_copies(i).any(later) {
                self.keys_count_as_unused(i, row.login);
            }
        }
    }

    /// From here on the state of a login is the newest that anybody can know of.
    pub(crate) fn keys_count_as_unused(&mut self, i: usize, login: Login) {
        self.cells[i].truth.used.entry(login.chains).and_modify(|used| *used = (*used).min(login.used));
    }
}
