//! The simulated driver of a link, and WhatsApp behind it: the counterpart of `src/whatsapp/link`.

use std::time::Duration;

use holdfast_core::connection::{DownReason, Event};
use holdfast_core::id::{Epoch, LinkId, Revision};

use super::World;
use super::fate::{Due, Net, Stamp};
use super::places::Login;

/// How long a store may be silent before a link is sealed, and how long a save may take.
const STORE_GRACE: u64 = 5_000;
const SAVE_WITHIN: u64 = 15_000;
const LOG_OUT_WITHIN: u64 = 8_000;
/// Codes in one connection.
const CODES: u32 = 6;

/// How far a dial has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// An earlier one of the same actor has not returned yet.
    Queued,
    Claiming,
    Socket,
    Offering,
    LoggedIn,
    Ready,
}

/// One call of `run()`.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) stamp: Stamp,
    pub(crate) link: LinkId,
    pub(crate) stage: Stage,
    pub(crate) silent: bool,
    pub(crate) sealed: bool,
    /// Given up by its machine, though perhaps not sealed.
    pub(crate) overtaken: bool,
    /// Its end was decided, and when it returns.
    pub(crate) over: Option<DownReason>,
    pub(crate) saved: Option<bool>,
    codes: u32,
    began: bool,
}

impl Dial {
    fn is_live(&self) -> bool {
        self.stage >= Stage::Socket && self.over.is_none() && !self.sealed
    }

    /// Tells whether what is sent on it is heard and answered.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_live() && !self.silent
    }

    /// Tells whether it has come as far as a socket.
    pub(crate) fn is_connected(&self) -> bool {
        self.stage >= Stage::Socket
    }

    /// Tells whether it may have a socket that can still write.
    pub(crate) fn may_write(&self) -> bool {
        self.began && !self.sealed
    }
}

impl World<'_> {
    pub(crate) fn dial(&mut self, i: usize, stamp: Stamp, link: LinkId) -> Option<&mut Dial> {
        self.cells[i].dials.iter_mut().find(|dial| dial.stamp == stamp && dial.link == link)
    }

    fn live(&mut self, i: usize, stamp: Stamp, link: LinkId) -> Option<&mut Dial> {
        self.dial(i, stamp, link).filter(|dial| dial.is_live())
    }

    fn soon(&mut self, i: usize, stamp: Stamp, link: LinkId, (low, high): (u64, u64), step: Net) {
        let wait = self.cells[i].random.between(low, high);
        self.later(self.now + wait, Due::Net { i, stamp, link, step });
    }

    /// Takes the order to dial; the one place through which every dial of the world passes.
    pub(crate) fn start_dial(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let busy = self.cells[i].dials.iter().any(|dial| dial.stamp == stamp);
        self.cells[i].dials.push(Dial {
            stamp,
            link,
            stage: Stage::Queued,
            silent: false,
            sealed: false,
            overtaken: false,
            over: None,
            saved: None,
            codes: 0,
            began: false,
        });
        self.outcome.dials += 1;
        if busy && !self.cells[i].dials.iter().any(|dial| dial.overtaken) {
            return;
        }
        self.begin(i, stamp, link);
    }

    fn begin(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let Some(dial) = self.dial(i, stamp, link) else { return };
        dial.stage = Stage::Claiming;
        dial.began = true;
        self.check_one_socket(i);
        let grace = self.weather.store_down_until.saturating_sub(self.now).min(STORE_GRACE);
        self.soon(i, stamp, link, (grace + 1, grace + 20), Net::Claimed);
    }

    /// Lets a dial come to its end.
    pub(crate) fn end(&mut self, i: usize, stamp: Stamp, link: LinkId, why: DownReason) {
        let Some(dial) = self.dial(i, stamp, link).filter(|dial| dial.over.is_none()) else { return };
        dial.over = Some(why);
        self.soon(i, stamp, link, (1, 60), Net::Returned);
    }

    pub(crate) fn close(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let Some(dial) = self.dial(i, stamp, link).filter(|dial| dial.over.is_none()) else { return };
        dial.over = Some(DownReason::Requested);
        let quick = dial.stage == Stage::Queued;
        let within = if quick {
            (1, 2)
        } else if std::mem::take(&mut self.cells[i].plan.close_hangs) {
            (20_000, 150_000)
        } else {
            (5, 1_500)
        };
        self.soon(i, stamp, link, within, Net::Returned);
    }

    /// Seals the client of an incarnation: nothing leaves it any more, and its dial ends when it ends.
    pub(crate) fn seal(&mut self, i: usize, stamp: Stamp, why: DownReason) {
        let mut ends = Vec::new();
        for dial in self.cells[i].dials.iter_mut().filter(|dial| dial.stamp == stamp) {
            dial.sealed = true;
            if dial.over.is_none() {
                dial.over = Some(why.clone());
                ends.push(dial.link);
            }
        }
        for link in ends {
            self.soon(i, stamp, link, (5, 1_500), Net::Returned);
        }
    }

    pub(crate) fn ping(&mut self, i: usize, stamp: Stamp, link: LinkId, within: u64) {
        let lost = std::mem::take(&mut self.cells[i].plan.ping_lost);
        if lost {
            self.cells[i].truth.ping_lost = Some(self.now);
        }
        let not_awaited = self.has(crate::bugs::Bug::PingNotAwaited);
        let Some(dial) = self.live(i, stamp, link) else {
            return self.report(i, stamp, Event::PingFailed { link });
        };
        let silent = dial.silent;
        if not_awaited {
            return self.report(i, stamp, Event::Pong { link, at: self.time() });
        }
        let (wait, fine) = if lost || silent { ((within, within), false) } else { ((20, 600), true) };
        self.soon(i, stamp, link, wait, Net::Answer { fine });
    }

    pub(crate) fn save(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        if self.live(i, stamp, link).is_none() {
            // Without a client nothing is unsaved.
            if let Some(dial) = self.dial(i, stamp, link) {
                dial.saved = Some(true);
            }
            return self.report(i, stamp, Event::Saved { link, ok: true });
        }
        let (down, slow) = (self.weather.store_down(self.now), self.now < self.weather.store_slow_until);
        let plan = &mut self.cells[i].plan;
        let (within, ok) = if std::mem::take(&mut plan.save_hangs) {
            ((SAVE_WITHIN, SAVE_WITHIN), false)
        } else if std::mem::take(&mut plan.save_fails) || down {
            ((50, STORE_GRACE), false)
        } else {
            (if slow { (500, 4_000) } else { (5, 300) }, true)
        };
        self.soon(i, stamp, link, within, Net::Saved { ok });
    }

    pub(crate) fn log_out(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let Some(dial) = self.live(i, stamp, link) else { return self.close(i, stamp, link) };
        let within = if dial.silent { (LOG_OUT_WITHIN, LOG_OUT_WITHIN) } else { (50, 500) };
        self.soon(i, stamp, link, within, Net::LogoutTold);
    }

    /// Notes that a stanza was decoded.
    fn life(&mut self, i: usize, link: LinkId) {
        let now = self.now;
        self.cells[i].truth.life.insert(link, now);
    }

    pub(crate) fn net(&mut self, i: usize, stamp: Stamp, link: LinkId, step: Net) {
        if self.dial(i, stamp, link).is_none() {
            if matches!(step, Net::Answer { .. }) {
                self.report(i, stamp, Event::PingFailed { link });
            }
            return;
        }
        match step {
            Net::Returned => self.returned(i, stamp, link),
            Net::LogoutTold => {
                if self.live(i, stamp, link).is_some_and(|dial| !dial.silent) {
                    self.cells[i].truth.device = false;
                }
                self.close(i, stamp, link);
            }
            Net::Answer { fine } => {
                let answered = fine && self.live(i, stamp, link).is_some_and(|dial| !dial.silent);
                if answered {
                    self.life(i, link);
                    self.report(i, stamp, Event::Pong { link, at: self.time() });
                } else {
                    self.report(i, stamp, Event::PingFailed { link });
                }
            }
            Net::Saved { ok } => {
                if let Some(dial) = self.dial(i, stamp, link) {
                    dial.saved = Some(ok);
                }
                self.report(i, stamp, Event::Saved { link, ok });
            }
            Net::Claimed
            | Net::Opened
            | Net::Login
            | Net::Ready
            | Net::Stanza
            | Net::Code
            | Net::Scanned
            | Net::Ends(_) => {
                let Some(dial) = self.dial(i, stamp, link) else { return };
                if dial.over.is_some() || dial.sealed {
                    return;
                }
                self.goes_on(i, stamp, link, step);
            }
        }
    }

    fn returned(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let Some(at) = self.cells[i].dials.iter().position(|dial| dial.stamp == stamp && dial.link == link) else {
            return;
        };
        let dial = self.cells[i].dials.remove(at);
        let why = dial.over.unwrap_or(DownReason::Requested);
        self.report(i, stamp, Event::LinkDown { link, why });
        let next = self.cells[i].dials.iter().find(|dial| dial.stamp == stamp && dial.stage == Stage::Queued);
        if let Some(next) = next.filter(|dial| dial.over.is_none()).map(|dial| dial.link) {
            self.begin(i, stamp, next);
        }
    }

    /// A dial that nobody has ended goes on.
    fn goes_on(&mut self, i: usize, stamp: Stamp, link: LinkId, step: Net) {
        let Some(dial) = self.dial(i, stamp, link) else { return };
        let silent = dial.silent;
        match step {
            Net::Claimed => self.claimed(i, stamp, link),
            Net::Opened => {
                dial.stage = Stage::Socket;
                if !std::mem::take(&mut self.cells[i].plan.login_hangs) {
                    self.soon(i, stamp, link, (20, 500), Net::Login);
                }
            }
            Net::Ends(why) => self.end(i, stamp, link, why),
            _ if silent => {}
            Net::Login => self.login(i, stamp, link),
            Net::Ready => {
                dial.stage = Stage::Ready;
                self.life(i, link);
                self.uses_keys(i);
                self.report(i, stamp, Event::Ready { link });
                if self.now < self.cells[i].plan.flap_until {
                    self.soon(i, stamp, link, (300, 3_000), Net::Ends(DownReason::SocketLost { code: None }));
                }
                self.next_stanza(i, stamp, link);
            }
            Net::Stanza => {
                if self.weather.store_down(self.now) && self.now >= self.weather.store_down_since + STORE_GRACE {
                    self.seal(i, stamp, DownReason::StoreUnavailable);
                    return;
                }
                self.life(i, link);
                self.uses_keys(i);
                self.report(i, stamp, Event::Proof { link, at: self.time() });
                self.next_stanza(i, stamp, link);
            }
            Net::Code => self.code(i, stamp, link),
            Net::Scanned => self.scanned(i, stamp, link),
            Net::Returned | Net::LogoutTold | Net::Answer { .. } | Net::Saved { .. } => {}
        }
    }

    fn next_stanza(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let chatter = self.cells[i].chatter;
        if chatter > 0 {
            self.soon(i, stamp, link, (chatter / 4, chatter * 2), Net::Stanza);
        }
    }

    fn claimed(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        // What cannot be read, or is damaged, is never absent.
        if self.weather.store_down(self.now) {
            return self.end(i, stamp, link, DownReason::StoreUnavailable);
        }
        if self.is_damaged(i) {
            return self.end(i, stamp, link, DownReason::CredentialsCorrupt);
        }
        if self.now < self.cells[i].plan.fenced_until {
            return self.end(i, stamp, link, DownReason::LeaseLost);
        }
        if let Some(row) = &mut self.cells[i].stored.row {
            row.mark.epoch = Epoch(row.mark.epoch.0 + 1);
        }
        self.check_keys(i);
        // From here on the network sees it.
        self.check_dial_rate(i);
        if self.now < self.weather.host_down_until {
            let why = if self.cells[i].random.chance(30) { DownReason::Dns } else { DownReason::Unreachable };
            return self.soon(i, stamp, link, (10, 3_000), Net::Ends(why));
        }
        if let Some((times, why)) = self.cells[i].plan.dials_fail.take() {
            if times > 1 {
                self.cells[i].plan.dials_fail = Some((times - 1, why.clone()));
            }
            return self.soon(i, stamp, link, (10, 5_000), Net::Ends(why));
        }
        self.soon(i, stamp, link, (20, 400), Net::Opened);
    }

    fn login(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let Some(row) = self.cells[i].stored.row.filter(|row| row.paired) else {
            return self.code(i, stamp, link);
        };
        let now = self.now;
        let cell = &mut self.cells[i];
        let linked = cell.truth.device && cell.truth.which == row.login.device;
        let refused = if let Some(why) = cell.plan.ending.take() {
            Some(why)
        } else if !linked || std::mem::take(&mut cell.plan.doubtful) {
            Some(DownReason::LoggedOut { code: 401 })
        } else if now < cell.truth.banned_until {
            Some(DownReason::TemporaryBan { seconds: Some((cell.truth.banned_until - now).div_ceil(1_000)) })
        } else if now < cell.plan.restart_loop_until {
            Some(DownReason::RestartRequired)
        } else {
            None
        };
        self.life(i, link);
        if let Some(why) = refused {
            return self.told(i, stamp, link, why);
        }
        if let Some(dial) = self.dial(i, stamp, link) {
            dial.stage = Stage::LoggedIn;
        }
        self.report(i, stamp, Event::Proof { link, at: self.time() });
        self.report(i, stamp, Event::Authenticated { link });
        self.soon(i, stamp, link, (50, 3_000), Net::Ready);
    }

    /// WhatsApp says inside the Noise channel that the connection ends, and why.
    pub(crate) fn told(&mut self, i: usize, stamp: Stamp, link: LinkId, why: DownReason) {
        let now = self.now;
        let truth = &mut self.cells[i].truth;
        if matches!(why, DownReason::LoggedOut { .. }) {
            truth.logouts.push(now);
        }
        truth.terminal |= matches!(why, DownReason::Outdated | DownReason::Refused { .. });
        self.end(i, stamp, link, why);
    }

    fn code(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        let Some(dial) = self.dial(i, stamp, link) else { return };
        dial.stage = Stage::Offering;
        if dial.codes >= CODES {
            return self.end(i, stamp, link, DownReason::QrExhausted);
        }
        dial.codes += 1;
        self.check_code(i);
        let Some(dial) = self.dial(i, stamp, link) else { return };
        let valid = if dial.codes == 1 { 60 } else { 20 };
        self.report(i, stamp, Event::QrShown { link, text: "code".into(), valid: Duration::from_secs(valid) });
        if std::mem::take(&mut self.cells[i].plan.scans) {
            return self.soon(i, stamp, link, (500, 3_000), Net::Scanned);
        }
        self.later(self.now + valid * 1_000, Due::Net { i, stamp, link, step: Net::Code });
    }

    pub(crate) fn scan(&mut self, i: usize) {
        let offering = self.cells[i].dials.iter().find(|dial| dial.stage == Stage::Offering && dial.is_live());
        match offering.map(|dial| (dial.stamp, dial.link)) {
            Some((stamp, link)) => self.soon(i, stamp, link, (500, 3_000), Net::Scanned),
            None => self.cells[i].plan.scans = true,
        }
    }

    fn scanned(&mut self, i: usize, stamp: Stamp, link: LinkId) {
        if self.weather.store_down(self.now) {
            return self.seal(i, stamp, DownReason::StoreUnavailable);
        }
        let (device, chains) = (self.cells[i].next_token(), self.cells[i].next_token());
        let cell = &mut self.cells[i];
        let Some(row) = &mut cell.stored.row else { return };
        if row.paired {
            return;
        }
        row.paired = true;
        row.ever_paired = true;
        row.login = Login { device, chains, used: 0 };
        row.mark.revision = Revision::begun_at(self.now, row.mark.revision);
        cell.truth.device = true;
        cell.truth.which = device;
        cell.truth.logouts.clear();
        cell.truth.unlink_asked = false;
        self.story(|| format!("instance {i}: a phone has accepted the device, and the credentials are on disk"));
        self.changed(i);
        self.life(i, link);
        self.report(i, stamp, Event::Paired { link });
        self.soon(i, stamp, link, (10, 400), Net::Ends(DownReason::RestartRequired));
    }
}
