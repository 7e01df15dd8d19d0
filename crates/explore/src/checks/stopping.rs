//! P7, and what P1 says of an end: saved, closed and written, within the time, and the report names what was not.

use holdfast_core::connection::state::PublicState;
use holdfast_core::id::LinkId;
use holdfast_core::shutdown::ShutdownReport;

use crate::world::World;
use crate::world::cell::{Actor, Drain};

impl World<'_> {
    /// P7: while the service stops, a socket is closed only after its save was answered.
    pub(crate) fn check_saved_before_close(&mut self, i: usize, stamp: crate::world::Stamp, link: LinkId) {
        let saving = self.cells[i].actor.as_ref().is_some_and(|actor| actor.saving);
        let unsaved = |dial: &crate::world::Dial| !dial.sealed && dial.over.is_none() && dial.saved.is_none();
        if saving && self.dial(i, stamp, link).is_some_and(|dial| unsaved(dial) && dial.is_connected()) {
            self.broken("P7-save", Some(i), format!("instance {i} is closed before it is saved"));
        }
    }

    /// P7: who ends and calls it clean has closed its socket and written its rows.
    pub(crate) fn check_exit(&mut self, i: usize, actor: &Actor, clean: bool) {
        if !clean {
            return;
        }
        let stamp = actor.stamp;
        if self.cells[i].dials.iter().any(|dial| dial.stamp == stamp && dial.may_write()) {
            self.broken("P7-closed", Some(i), format!("instance {i} ends with a socket open and calls it clean"));
        }
        let desired = actor.machine.desired;
        if let Some(row) = self.cells[i].stored.row.filter(|row| row.desired != desired) {
            let stored = row.desired;
            self.broken(
                "P5-desire",
                Some(i),
                format!("instance {i} ends with {desired:?} wanted and {stored:?} stored"),
            );
        }
    }

    /// P7: the report names everything that had to be forced.
    pub(crate) fn check_report(&mut self, report: &ShutdownReport, hurried: bool) {
        if hurried {
            return;
        }
        for i in 0..self.cells.len() {
            let Some(outcome) = self.cells[i].drain else { continue };
            let named = report.forced.iter().any(|line| line.contains(&format!("instance {i} ")));
            if outcome != Drain::Clean && !named {
                return self.broken(
                    "P7-report",
                    Some(i),
                    format!("instance {i} had to be forced, and the report does not say so"),
                );
            }
        }
        self.check_rows_after(report);
    }

    /// P1: after an orderly end no row claims that somebody connects or is connected, unless the report names it.
    fn check_rows_after(&mut self, report: &ShutdownReport) {
        for i in 0..self.cells.len() {
            let cell = &self.cells[i];
            let Some(row) = cell.stored.row.as_ref().filter(|_| cell.line.is_some()) else { continue };
            let named = report.forced.iter().any(|line| line.contains(&format!("instance {i} ")));
            if !named && row.state != PublicState::Close {
                let text = format!("instance {i} is {:?} in its row, and its process has ended", row.state);
                return self.broken("P1-stopped", Some(i), text);
            }
        }
    }

    /// P7: a shutdown is over when its phases are.
    pub(crate) fn check_overdue(&mut self, epoch: u64) {
        if epoch == self.service.epoch {
            self.broken("P7-overdue", None, "the shutdown takes longer than its budgets");
        }
    }
}
