//! Reading the row of a child that is to be started: the counterpart of `src/actors/supervisor/reading.rs`.

use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::{DownReason, Memory, Verdict};
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;

use super::World;
use super::cell::{Child, Otherwise};
use super::fate::Due;
use crate::bugs::Bug;

/// How long the row may take to be read, and the wait before it is read again.
const READ_WITHIN: u64 = 1_000;
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(15) };

impl World<'_> {
    /// Reads from the row how the instance was parked, as the supervisor does.
    pub(crate) fn memory(&self, i: usize) -> Option<Memory> {
        let (why, at) = self.cells[i].stored.end.clone()?;
        let retry = match (&why, why.verdict()) {
            (DownReason::TemporaryBan { .. }, Verdict::WaitOut(ban)) => Some(Timestamp::from_millis(at).after(ban)),
            _ => None,
        };
        Some(Memory { why, retry })
    }

    pub(crate) fn read_row(&mut self, i: usize) {
        let (epoch, token) = (self.service.epoch, self.cells[i].next_token());
        let slow = self.now < self.weather.store_slow_until;
        let takes = self.cells[i].random.between(1, if slow { 4_000 } else { 40 });
        let Some(line) = &mut self.cells[i].line else { return };
        let otherwise = match line.child {
            Child::Running { .. } | Child::Reading { .. } => return,
            Child::Restarting { .. } => Otherwise::Restarts,
            Child::Quarantined => Otherwise::Quarantined,
            Child::Ended => Otherwise::Ended,
        };
        line.child = Child::Reading { token, otherwise };
        let at = self.now + takes.min(READ_WITHIN);
        self.later(at, Due::RowRead { i, epoch, token, late: takes > READ_WITHIN });
    }

    /// The row of a child that is to be started was read, or could not be.
    pub(crate) fn row_read(&mut self, i: usize, epoch: u64, token: u64, late: bool) {
        let (now, down) = (self.now, self.weather.store_down(self.now));
        let memory = self.memory(i);
        let (guessed, forgets) = (self.has(Bug::AbsenceOfStore), self.has(Bug::CrashForgetsPairing));
        let cell = &mut self.cells[i];
        let Some(line) = cell.line.as_mut().filter(|_| epoch == self.service.epoch && !self.service.draining) else {
            return;
        };
        let Child::Reading { otherwise, .. } = line.child else { return };
        if line.child != (Child::Reading { token, otherwise }) {
            return;
        }
        let archiving = cell.scribes.iter().any(|scribe| scribe.epoch == epoch && !scribe.is_archived());
        let unreadable = late || down || now < cell.plan.unreadable_until || archiving;
        line.known = match cell.stored.row {
            _ if forgets => Some((line.believed, memory)),
            Some(_) if unreadable => guessed.then_some((false, None)),
            Some(row) => Some((row.paired, memory)),
            None => None,
        };
        if line.known.is_some() {
            line.unread = 0;
            line.child = Child::Ended;
            match otherwise {
                Otherwise::Restarts => cell.truth.restarts.push(now),
                Otherwise::Quarantined => line.crashes.forgive(),
                Otherwise::Ended => {}
            }
            self.start_child(i);
            return self.check_restarts(i);
        }
        line.unread += 1;
        line.waiting.clear();
        match otherwise {
            Otherwise::Restarts => {
                let wait = RETRY.delay(line.unread, cell.random.unit());
                let token = cell.next_token();
                if let Some(line) = &mut cell.line {
                    line.child = Child::Restarting { token };
                }
                let paired = self.believed(i);
                let retry = self.time().after(wait);
                self.hang_instead(i, InstanceStatus::unread(self.time(), self.time(), retry, paired));
                self.later(now + wait.as_millis() as u64, Due::Restart { i, epoch, token });
            }
            Otherwise::Quarantined => line.child = Child::Quarantined,
            Otherwise::Ended => line.child = Child::Ended,
        }
    }

    /// What the board says of its credentials.
    pub(crate) fn believed(&self, i: usize) -> bool {
        self.cells[i].board.as_ref().is_some_and(|status| status.paired)
    }
}
