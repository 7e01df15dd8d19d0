//! What can happen: commands of operators, faults of everything else, each at its time, all drawn from a seed.

use std::collections::BTreeSet;
use std::fmt;

use holdfast_core::connection::DownReason;
use holdfast_core::proxy;

use crate::random::Random;
use crate::world::places::LAYERS;

/// How large a world is, and how much happens in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Instances on the roster.
    pub instances: usize,
    /// Decisions in a history.
    pub decisions: usize,
    /// The time over which they are spread, in milliseconds.
    pub span: u64,
}

impl Shape {
    /// Few instances to which much happens.
    pub const SMALL: Self = Self { instances: 4, decisions: 40, span: 600_000 };
    /// A fleet.
    pub const LARGE: Self = Self { instances: 200, decisions: 400, span: 600_000 };
}

/// A history before it is lived.
#[derive(Debug, Clone)]
pub struct History {
    /// What everything that is not a decision is drawn from: delays, jitter, the chatter of accounts.
    pub seed: u64,
    /// Its size.
    pub shape: Shape,
    /// The instances that take part; shrinking takes some away.
    pub cast: BTreeSet<usize>,
    /// What happens, in order.
    pub decisions: Vec<Decision>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// When, in milliseconds since the beginning.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// An operator asks something of an instance.
    Ask(usize, Wish),
    /// Something befalls an instance.
    Strike(usize, Fault),
    /// No dial of this host gets through, for this time.
    HostOutage(u64),
    /// The store refuses, for this time.
    StoreDown(u64),
    /// The store takes seconds for a write, for this time.
    StoreSlow(u64),
    /// The watchdog's actor does not turn, for this time.
    WatchdogStuck(u64),
    /// The database is backed up.
    BackUp,
    /// `kill -9`, the database is what it was when it was backed up, and a new process after this time.
    SetBack(u64),
    /// `kill -9`, the database is empty, and a new process after this time.
    Emptied(u64),
    /// A layer of copies, Redis or the files, says nothing, for this time.
    Unheard(usize, u64),
    /// A layer of copies loses all of them.
    Lost(usize),
    /// `kill -9`, and a new process after this time.
    Kill(u64),
    /// SIGTERM; a new process after this time.
    Terminate(u64),
    /// SIGTERM again.
    TerminateAgain,
}

/// What an operator asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Connect,
    ConnectWithCode,
    Restart,
    LogOut,
    Delete,
    /// Not an operator's: nobody paired it in its time.
    Expire,
    /// A new instance in the place of a deleted one.
    Create,
}

/// What befalls an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The socket is reset.
    Reset,
    /// The socket stays, and nothing comes through any more.
    Silence,
    /// WhatsApp ends the connection, now or at the next login.
    Ending(DownReason),
    /// The phone's owner removes the device.
    Removed,
    /// WhatsApp answers the next login with a 401, although the device is linked.
    Doubtful401,
    /// WhatsApp bans the number for this many seconds.
    Ban(u64),
    /// The next dials end like this.
    DialsFail(u32, DownReason),
    /// The next login is never answered.
    LoginHangs,
    /// Connections end a moment after they are up, for this time.
    Flap(u64),
    /// WhatsApp answers every login with a request for a new connection, for this time.
    RestartLoop(u64),
    /// The next ping is not answered, though stanzas come.
    PingLost,
    /// The next close does not come to an end for minutes.
    CloseHangs,
    /// The next save is never answered.
    SaveHangs,
    /// The next save fails.
    SaveFails,
    /// The actor panics at the next messages, this many times.
    Panics(u32),
    /// A task of the link panics.
    TaskPanics,
    /// The actor does not turn, for this time.
    Stuck(u64),
    /// Another node owns the session, for this time.
    Fenced(u64),
    /// The session of the instance cannot be read, or is damaged, for this time.
    Unreadable(u64),
    /// Each fact of its connection is told twice, for this time.
    FactsTwice(u64),
    /// The copy of its session in a layer is damaged.
    CopyDamaged(usize),
    /// Its login in the database is damaged, for good.
    LoginDamaged,
    /// Somebody scans the next code that is shown.
    Scan,
    /// The same, and the actor panics at the word that the device is paired.
    ScanThenPanic,
}

impl History {
    /// Draws a history.
    pub fn draw(seed: u64, shape: Shape) -> Self {
        let mut random = Random::of(seed, 0x4157);
        let focus: Vec<usize> = (0..6).map(|_| random.below(shape.instances as u64) as usize).collect();
        let mut decisions: Vec<Decision> = (0..shape.decisions)
            .map(|_| Decision { at: 1_000 + random.below(shape.span), what: draw_what(&mut random, shape, &focus) })
            .collect();
        // Things come in threes: much of what goes wrong does so because two things meet.
        for at in 1..decisions.len() {
            let set_back = |decision: &Decision| matches!(decision.what, What::SetBack(_) | What::Emptied(_));
            if decisions.get(at - 1).is_some_and(set_back) && random.chance(50) {
                let layer = random.below(2) as usize;
                let what = match random.below(4) {
                    0 => What::Lost(layer),
                    _ => What::Unheard(layer, random.between(1_000, 120_000)),
                };
                let earlier = decisions.get(at - 1).map_or(0, |decision| decision.at);
                if let Some(decision) = decisions.get_mut(at) {
                    *decision = Decision { at: earlier + random.below(30_000), what };
                }
            } else if random.chance(35) {
                let earlier = decisions.get(at - 1).map_or(0, |decision| decision.at);
                let near = earlier + [5, 200, 2_000, 15_000][random.below(4) as usize % 4].min(random.below(15_000));
                if let Some(decision) = decisions.get_mut(at) {
                    decision.at = near;
                }
            }
        }
        decisions.sort_by_key(|decision| decision.at);
        Self { seed, shape, cast: (0..shape.instances).collect(), decisions }
    }

    /// Returns when the last fault is over.
    pub fn calm_from(&self) -> u64 {
        let lasts = |what: &What| match what {
            What::HostOutage(ms)
            | What::StoreDown(ms)
            | What::StoreSlow(ms)
            | What::WatchdogStuck(ms)
            | What::Kill(ms)
            | What::SetBack(ms)
            | What::Emptied(ms)
            | What::Unheard(_, ms)
            | What::Strike(
                _,
                Fault::Flap(ms)
                | Fault::RestartLoop(ms)
                | Fault::Stuck(ms)
                | Fault::Fenced(ms)
                | Fault::Unreadable(ms)
                | Fault::FactsTwice(ms),
            ) => *ms,
            What::Terminate(ms) => *ms + 40_000,
            What::Strike(_, Fault::Ban(seconds)) => *seconds * 1_000,
            What::Ask(..) | What::Strike(..) | What::TerminateAgain | What::BackUp | What::Lost(_) => 0,
        };
        self.decisions.iter().map(|decision| decision.at + lasts(&decision.what)).max().unwrap_or(0) + 1_000
    }
}

impl What {
    /// Returns the instance that it is about, if it is about one.
    pub fn instance(&self) -> Option<usize> {
        match self {
            Self::Ask(instance, _) | Self::Strike(instance, _) => Some(*instance),
            Self::HostOutage(_)
            | Self::StoreDown(_)
            | Self::StoreSlow(_)
            | Self::WatchdogStuck(_)
            | Self::BackUp
            | Self::SetBack(_)
            | Self::Emptied(_)
            | Self::Unheard(..)
            | Self::Lost(_)
            | Self::Kill(_)
            | Self::Terminate(_)
            | Self::TerminateAgain => None,
        }
    }

    /// Returns the kind of happening as one word, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ask(_, wish) => match wish {
                Wish::Connect => "connect",
                Wish::ConnectWithCode => "connect-with-code",
                Wish::Restart => "restart",
                Wish::LogOut => "logout",
                Wish::Delete => "delete",
                Wish::Expire => "expiry",
                Wish::Create => "create",
            },
            Self::Strike(_, fault) => match fault {
                Fault::Reset => "reset",
                Fault::Silence => "silence",
                Fault::Ending(why) => why.code(),
                Fault::Removed => "device-removed",
                Fault::Doubtful401 => "doubtful-401",
                Fault::Ban(_) => "ban",
                Fault::DialsFail(..) => "dials-fail",
                Fault::LoginHangs => "login-hangs",
                Fault::Flap(_) => "flapping",
                Fault::RestartLoop(_) => "515-loop",
                Fault::PingLost => "ping-lost",
                Fault::CloseHangs => "close-hangs",
                Fault::SaveHangs => "save-hangs",
                Fault::SaveFails => "save-fails",
                Fault::Panics(_) => "actor-panics",
                Fault::TaskPanics => "task-panics",
                Fault::Stuck(_) => "actor-stuck",
                Fault::Fenced(_) => "fenced",
                Fault::Unreadable(_) => "session-unreadable",
                Fault::FactsTwice(_) => "facts-twice",
                Fault::CopyDamaged(_) => "copy-damaged",
                Fault::LoginDamaged => "login-damaged",
                Fault::Scan => "scan",
                Fault::ScanThenPanic => "scan-then-panic",
            },
            Self::HostOutage(_) => "host-outage",
            Self::StoreDown(_) => "store-down",
            Self::StoreSlow(_) => "store-slow",
            Self::WatchdogStuck(_) => "watchdog-stuck",
            Self::BackUp => "backup",
            Self::SetBack(_) => "database-set-back",
            Self::Emptied(_) => "database-emptied",
            Self::Unheard(..) => "layer-silent",
            Self::Lost(_) => "layer-lost",
            Self::Kill(_) => "kill",
            Self::Terminate(_) => "sigterm",
            Self::TerminateAgain => "second-signal",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: &u64| *ms as f64 / 1_000.0;
        match self {
            Self::Ask(i, Wish::Expire) => write!(f, "the time of instance {i} to be paired is over"),
            Self::Ask(i, wish) => write!(f, "an operator asks instance {i}: {wish:?}"),
            Self::Strike(i, Fault::Ending(why)) => {
                write!(f, "WhatsApp or the network ends instance {i}: {}", why.code())
            }
            Self::Strike(i, Fault::DialsFail(times, why)) => {
                write!(f, "the next {times} dials of instance {i} end with {}", why.code())
            }
            Self::Strike(i, fault) => write!(f, "instance {i} suffers {fault:?}"),
            Self::HostOutage(ms) => write!(f, "the host has no network for {} s", seconds(ms)),
            Self::StoreDown(ms) => write!(f, "the store is down for {} s", seconds(ms)),
            Self::StoreSlow(ms) => write!(f, "the store is slow for {} s", seconds(ms)),
            Self::WatchdogStuck(ms) => write!(f, "the watchdog does not turn for {} s", seconds(ms)),
            Self::BackUp => f.write_str("the database is backed up"),
            Self::SetBack(ms) => {
                write!(f, "kill -9; the database is set back to its backup; a new process after {} s", seconds(ms))
            }
            Self::Emptied(ms) => {
                write!(f, "kill -9; the database is emptied; a new process after {} s", seconds(ms))
            }
            Self::Unheard(layer, ms) => write!(f, "{} says nothing for {} s", LAYERS[*layer].word(), seconds(ms)),
            Self::Lost(layer) => write!(f, "{} loses all copies", LAYERS[*layer].word()),
            Self::Kill(ms) => write!(f, "kill -9; a new process after {} s", seconds(ms)),
            Self::Terminate(ms) => write!(f, "SIGTERM; a new process {} s after its end", seconds(ms)),
            Self::TerminateAgain => write!(f, "SIGTERM again"),
        }
    }
}

fn draw_what(random: &mut Random, shape: Shape, focus: &[usize]) -> What {
    let i = if random.chance(70) {
        focus.get(random.below(focus.len() as u64) as usize).copied().unwrap_or(0)
    } else {
        random.below(shape.instances as u64) as usize
    };
    match random.below(112) {
        0..=9 => What::Ask(i, Wish::Connect),
        10..=11 => What::Ask(i, Wish::ConnectWithCode),
        12..=16 => What::Ask(i, Wish::Restart),
        17..=20 => What::Ask(i, Wish::LogOut),
        21 => What::Ask(i, Wish::Delete),
        22..=23 => What::Ask(i, Wish::Create),
        24..=25 => What::HostOutage(random.between(1_000, 120_000)),
        26..=28 => What::StoreDown(random.between(500, 40_000)),
        29 => What::StoreSlow(random.between(5_000, 60_000)),
        30 => What::WatchdogStuck(random.between(10_000, 120_000)),
        31..=32 => What::Kill(random.between(100, 20_000)),
        33..=35 => What::Terminate(random.between(100, 20_000)),
        36 => What::TerminateAgain,
        37 => What::Ask(i, Wish::Expire),
        38..=40 => What::BackUp,
        41..=42 => What::SetBack(random.between(100, 20_000)),
        43 => What::Emptied(random.between(100, 20_000)),
        44..=46 => What::Unheard(random.below(2) as usize, random.between(1_000, 120_000)),
        47 => What::Lost(random.below(2) as usize),
        48 => What::Strike(i, Fault::CopyDamaged(random.below(2) as usize)),
        49 => What::Strike(i, Fault::LoginDamaged),
        _ => What::Strike(i, draw_fault(random)),
    }
}

fn draw_fault(random: &mut Random) -> Fault {
    match random.below(64) {
        0..=5 => Fault::Reset,
        6..=10 => Fault::Silence,
        11..=15 => Fault::Ending(draw_ending(random)),
        16 => Fault::Removed,
        17..=18 => Fault::Doubtful401,
        19 => Fault::Ban(random.between(5, 300)),
        20..=24 => Fault::DialsFail(random.between(1, 6) as u32, draw_dial_end(random)),
        25..=26 => Fault::LoginHangs,
        27..=28 => Fault::Flap(random.between(30_000, 600_000)),
        29 => Fault::RestartLoop(random.between(10_000, 120_000)),
        30..=32 => Fault::PingLost,
        33..=36 => Fault::CloseHangs,
        37..=38 => Fault::SaveHangs,
        39..=40 => Fault::SaveFails,
        41..=44 => Fault::Panics(random.between(1, 3) as u32),
        45 => Fault::Panics(random.between(5, 12) as u32),
        46..=47 => Fault::TaskPanics,
        48..=49 => Fault::Stuck(random.between(500, 90_000)),
        50..=51 => Fault::Fenced(random.between(1_000, 60_000)),
        52 => Fault::Unreadable(random.between(1_000, 30_000)),
        53 => Fault::Unreadable(random.between(30_000, 600_000)),
        54..=55 => Fault::FactsTwice(random.between(5_000, 120_000)),
        56 => Fault::ScanThenPanic,
        _ => Fault::Scan,
    }
}

fn draw_ending(random: &mut Random) -> DownReason {
    match random.below(8) {
        0 => DownReason::RestartRequired,
        1 => DownReason::RateLimited,
        2 => DownReason::Transient { code: Some(503) },
        3 | 4 => DownReason::Replaced,
        5 => DownReason::Outdated,
        6 => DownReason::Refused { code: 411 },
        _ => DownReason::Transient { code: None },
    }
}

fn draw_dial_end(random: &mut Random) -> DownReason {
    match random.below(6) {
        0 => DownReason::Dns,
        1 => DownReason::Unreachable,
        2 => DownReason::Proxy { fault: proxy::Fault::Unreachable },
        3 => DownReason::Tls,
        4 => DownReason::UpgradeRefused { status: 401 },
        _ => DownReason::Handshake,
    }
}
