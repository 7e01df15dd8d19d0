//! What a round does to the engine, and when. All of it follows from the seed.

use std::fmt;
use std::time::Duration;

use holdfast_sim::{Action, RefuseMode};

/// A source of numbers that is the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Rolls a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    pub(crate) fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

/// What the engine is in the middle of when the blow falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// It was down and starts again.
    Boot,
    /// It was down for so long that many messages wait, and takes them.
    Drain,
    /// Everybody is connected and talks.
    Traffic,
    /// It was told to stop.
    Shutdown,
}

/// What happens to it.
#[derive(Clone, Debug)]
pub(super) enum Blow {
    Kill,
    Terminate,
    /// SIGTERM, and SIGKILL so much later.
    TerminateAndKill(Duration),
    /// SIGSTOP, and SIGCONT so much later.
    Suspend(Duration),
    /// Operations of the database fail, so many of them.
    StoreFails {
        fault: &'static str,
        times: u64,
    },
    /// One hangs for so long.
    StoreHangs {
        fault: &'static str,
        time: Duration,
    },
    /// They fail, and the process is killed so much later.
    StoreFailsAndKill {
        fault: &'static str,
        times: u64,
        after: Duration,
    },
    /// Something happens to all connections.
    Network(Action),
    /// All connections are reset and new ones refused for so long.
    Away(RefuseMode, Duration),
    /// The receiver of webhooks refuses so many.
    WebhookRefuses(u32),
    /// Redis is killed, and starts empty so much later.
    RedisDies(Duration),
    /// So does the database, which has forgotten nothing.
    DatabaseDies(Duration),
}

/// One round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) moment: Moment,
    /// How far into it.
    pub(super) after: Duration,
    pub(super) blow: Blow,
}

impl Round {
    /// Rolls one; where the database is a server, that may die too.
    pub(super) fn roll(dice: &mut Dice, server: bool) -> Self {
        let moment = dice.pick(&[Moment::Boot, Moment::Drain, Moment::Traffic, Moment::Traffic, Moment::Shutdown]);
        let within = match moment {
            Moment::Boot => 1_200,
            Moment::Drain => 2_000,
            Moment::Traffic => 1_500,
            Moment::Shutdown => 250,
        };
        Self { moment, after: dice.millis(within), blow: Blow::roll(dice, server) }
    }
}

impl Blow {
    fn roll(dice: &mut Dice, server: bool) -> Self {
        let fault = dice.pick(&["store.begin", "store.commit", "store.committed", "store.read"]);
        let times = 1 + dice.below(40);
        match dice.below(if server { 20 } else { 16 }) {
            0..=3 => Self::Kill,
            4 => Self::Terminate,
            5 => Self::TerminateAndKill(dice.millis(400)),
            6 => Self::Suspend(Duration::from_secs(1) + dice.millis(7_000)),
            7 | 8 => Self::StoreFails { fault, times },
            9 => Self::StoreHangs { fault: dice.pick(&["store.begin", "store.commit"]), time: dice.millis(4_000) },
            10 => Self::StoreFailsAndKill { fault, times, after: dice.millis(500) },
            11 => Self::Network(dice.pick(&[
                Action::Rst,
                Action::Fin,
                Action::Silent,
                Action::StreamError { code: Some(503), conflict: None, times: None },
                Action::WsClose { code: Some(1011) },
            ])),
            12 => {
                let mode = dice.pick(&[RefuseMode::Http, RefuseMode::Rst, RefuseMode::Hang, RefuseMode::Listen]);
                Self::Away(mode, Duration::from_millis(500) + dice.millis(2_000))
            }
            13 => Self::WebhookRefuses(1 + dice.below(30) as u32),
            14 | 15 => Self::RedisDies(dice.millis(3_000)),
            _ => Self::DatabaseDies(dice.millis(6_000)),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Boot => "a start",
            Moment::Drain => "a start with messages waiting",
            Moment::Traffic => "traffic",
            Moment::Shutdown => "a shutdown",
        };
        write!(f, "{} ms into {moment}: {}", self.after.as_millis(), self.blow)
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => write!(f, "SIGKILL"),
            Self::Terminate => write!(f, "SIGTERM"),
            Self::TerminateAndKill(after) => write!(f, "SIGTERM, and SIGKILL {} ms later", after.as_millis()),
            Self::Suspend(time) => write!(f, "SIGSTOP for {} ms", time.as_millis()),
            Self::StoreFails { fault, times } => write!(f, "{fault} fails {times} times"),
            Self::StoreHangs { fault, time } => write!(f, "{fault} hangs for {} ms", time.as_millis()),
            Self::StoreFailsAndKill { fault, times, after } => {
                write!(f, "{fault} fails {times} times, and SIGKILL {} ms later", after.as_millis())
            }
            Self::Network(action) => write!(f, "all connections: {action:?}"),
            Self::Away(mode, time) => write!(f, "WhatsApp is away ({mode:?}) for {} ms", time.as_millis()),
            Self::RedisDies(time) => write!(f, "Redis is killed, and starts {} ms later", time.as_millis()),
            Self::DatabaseDies(time) => write!(f, "the database is killed, and starts {} ms later", time.as_millis()),
            Self::WebhookRefuses(times) => write!(f, "the webhook refuses {times} deliveries"),
        }
    }
}
