//! Carrying out the decisions of a history.

use holdfast_core::connection::DownReason;
use holdfast_core::id::LinkId;

use super::World;
use super::driver::Stage;
use super::fate::Stamp;
use crate::history::{Fault, What};

impl World<'_> {
    pub(crate) fn decide(&mut self, number: usize) {
        let history = self.history;
        let Some(decision) = history.decisions.get(number) else { return };
        if decision.what.instance().is_some_and(|i| !history.cast.contains(&i)) {
            return;
        }
        self.story(|| format!("* {}", decision.what));
        *self.outcome.kinds.entry(decision.what.kind()).or_default() += 1;
        let now = self.now;
        match &decision.what {
            What::Ask(i, wish) => self.ask(*i, *wish),
            What::Strike(i, fault) => self.strike(*i, fault),
            What::HostOutage(ms) => {
                self.weather.host_down_until = self.weather.host_down_until.max(now + ms);
                for i in 0..self.cells.len() {
                    for dial in &mut self.cells[i].dials {
                        dial.silent = true;
                    }
                }
            }
            What::StoreDown(ms) => {
                if !self.weather.store_down(now) {
                    self.weather.store_down_since = now;
                }
                self.weather.store_down_until = self.weather.store_down_until.max(now + ms);
            }
            What::StoreSlow(ms) => self.weather.store_slow_until = self.weather.store_slow_until.max(now + ms),
            What::WatchdogStuck(ms) => {
                self.weather.watchdog_stuck_until = self.weather.watchdog_stuck_until.max(now + ms);
            }
            What::Kill(ms) => {
                if self.service.runs() {
                    self.process_down(*ms);
                }
            }
            What::BackUp => self.back_up(),
            What::SetBack(ms) => {
                if self.service.runs() {
                    self.process_down(*ms);
                }
                self.set_back(false);
            }
            What::Emptied(ms) => {
                if self.service.runs() {
                    self.process_down(*ms);
                }
                self.set_back(true);
            }
            What::Unheard(layer, ms) => {
                let until = &mut self.weather.silent_until[*layer];
                *until = (*until).max(now + ms);
            }
            What::Lost(layer) => self.lose(*layer),
            What::Terminate(ms) => self.terminate(*ms),
            What::TerminateAgain => self.terminate_again(),
        }
    }

    /// Finds the connection of an instance that is as far as a socket.
    pub(crate) fn connected(&self, i: usize) -> Option<(Stamp, LinkId)> {
        let live = |dial: &&super::driver::Dial| dial.stage >= Stage::Socket && dial.over.is_none() && !dial.silent;
        self.cells[i].dials.iter().find(live).map(|dial| (dial.stamp, dial.link))
    }

    fn strike(&mut self, i: usize, fault: &Fault) {
        let now = self.now;
        let connected = self.connected(i);
        let plan = &mut self.cells[i].plan;
        match fault {
            Fault::Reset => {
                if let Some((stamp, link)) = connected {
                    self.end(i, stamp, link, DownReason::SocketLost { code: None });
                }
            }
            Fault::Silence => {
                for dial in &mut self.cells[i].dials {
                    dial.silent = true;
                }
            }
            Fault::Ending(why) => self.ending(i, why.clone()),
            Fault::Removed => {
                if self.cells[i].truth.device {
                    self.cells[i].truth.device = false;
                    if let Some((stamp, link)) = connected {
                        self.told(i, stamp, link, DownReason::LoggedOut { code: 401 });
                    }
                }
            }
            Fault::Doubtful401 => plan.doubtful = true,
            Fault::Ban(seconds) => {
                let until = now + seconds * 1_000;
                self.cells[i].truth.banned_until = until;
                if let Some((stamp, link)) = connected {
                    self.told(i, stamp, link, DownReason::TemporaryBan { seconds: Some(*seconds) });
                }
            }
            Fault::DialsFail(times, why) => plan.dials_fail = Some((*times, why.clone())),
            Fault::LoginHangs => plan.login_hangs = true,
            Fault::Flap(ms) => {
                plan.flap_until = now + ms;
                if let Some((stamp, link)) = connected {
                    self.end(i, stamp, link, DownReason::SocketLost { code: None });
                }
            }
            Fault::RestartLoop(ms) => {
                plan.restart_loop_until = now + ms;
                if let Some((stamp, link)) = connected {
                    self.told(i, stamp, link, DownReason::RestartRequired);
                }
            }
            Fault::PingLost => plan.ping_lost = true,
            Fault::CloseHangs => plan.close_hangs = true,
            Fault::SaveHangs => plan.save_hangs = true,
            Fault::SaveFails => plan.save_fails = true,
            Fault::Panics(times) => plan.panics += times,
            Fault::TaskPanics => {
                if let Some((stamp, _)) = connected {
                    self.seal(i, stamp, DownReason::Panicked);
                }
            }
            Fault::Stuck(ms) => {
                plan.stuck_until = plan.stuck_until.max(now + ms);
            }
            Fault::Fenced(ms) => {
                plan.fenced_until = now + ms;
                if let Some((stamp, _)) = connected {
                    self.seal(i, stamp, DownReason::LeaseLost);
                }
            }
            Fault::Unreadable(ms) => plan.unreadable_until = now + ms,
            Fault::FactsTwice(ms) => plan.twice_until = now + ms,
            Fault::CopyDamaged(layer) => self.damage_copy(i, *layer),
            Fault::LoginDamaged => {
                if let Some(row) = self.cells[i].stored.row.as_mut().filter(|row| row.paired) {
                    row.damaged = true;
                }
            }
            Fault::Scan => self.scan(i),
            Fault::ScanThenPanic => {
                plan.panics_when_paired = true;
                self.scan(i);
            }
        }
    }
}
