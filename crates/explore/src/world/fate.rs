//! What can come due.

use holdfast_core::connection::{Desired, Event};
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::restoration::Facts;
use holdfast_core::shutdown::Phase;
use holdfast_core::supervision::ExitReason;
use holdfast_core::time::Timestamp;

/// Which incarnation of an actor, in which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
}

/// A child's last word.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    pub(crate) generation: u64,
    pub(crate) reason: ExitReason,
    pub(crate) last_link: LinkId,
    pub(crate) paired: bool,
    pub(crate) desired: Desired,
    pub(crate) clean: bool,
}

/// What arrives at an actor.
#[derive(Debug, Clone)]
pub(crate) enum Inbox {
    Boot {
        paired: bool,
        desired: Desired,
    },
    Fact(Event),
    Command(Event),
    Ping,
    Timer(u64),
    /// The archiving that a dial waits for has taken too long.
    OpenGivesUp(LinkId),
    /// The last rows have taken too long.
    LeaveGivesUp,
}

/// What goes on at a link.
#[derive(Debug, Clone)]
pub(crate) enum Net {
    Claimed,
    Opened,
    Login,
    Ready,
    Stanza,
    Code,
    Scanned,
    Ends(holdfast_core::connection::DownReason),
    Answer { fine: bool },
    Saved { ok: bool },
    LogoutTold,
    Returned,
}

/// What the watchdog is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    Watch,
    Unwatch,
    Proven { ping: Option<Timestamp>, stale: Option<Timestamp> },
}

/// What is due.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    Decide(usize),
    Deliver { i: usize, stamp: Stamp, what: Inbox },
    Wake { i: usize, stamp: Stamp },
    Net { i: usize, stamp: Stamp, link: LinkId, step: Net },
    Written { i: usize, stamp: Stamp },
    Exited { i: usize, epoch: u64, exit: Exit },
    Restart { i: usize, epoch: u64, token: u64 },
    RowRead { i: usize, epoch: u64, token: u64, late: bool },
    Stands { i: usize, stamp: Stamp, standing: Standing },
    Turns { epoch: u64, token: u64 },
    Watched { i: usize, stamp: Stamp, word: Word },
    Health { epoch: u64, token: u64 },
    Sweep { epoch: u64 },
    RunOut { i: usize, epoch: u64, fresh_until: Timestamp },
    Copied { i: usize, layer: usize, epoch: u64 },
    Refresh { epoch: u64 },
    Adopted { i: usize, epoch: u64, facts: Box<Facts> },
    Asked { epoch: u64 },
    GoneBy { i: usize, epoch: u64, token: u64 },
    DrainGivesUp { i: usize, epoch: u64 },
    PhaseElapsed { epoch: u64, token: u64 },
    PhaseDone { epoch: u64, phase: Phase, forced: Vec<String> },
    Overdue { epoch: u64 },
    ProcessUp,
    Calm,
    Tick,
}

impl Due {
    /// Returns the one instance that it may change, if it is not about all.
    pub(crate) fn instance(&self) -> Option<usize> {
        match self {
            Self::Deliver { i, .. }
            | Self::Wake { i, .. }
            | Self::Net { i, .. }
            | Self::Written { i, .. }
            | Self::Exited { i, .. }
            | Self::Restart { i, .. }
            | Self::RowRead { i, .. }
            | Self::Watched { i, .. }
            | Self::RunOut { i, .. }
            | Self::Copied { i, .. }
            | Self::GoneBy { i, .. } => Some(*i),
            Self::Decide(_)
            | Self::Health { .. }
            | Self::Sweep { .. }
            | Self::Refresh { .. }
            | Self::Adopted { .. }
            | Self::Asked { .. }
            | Self::DrainGivesUp { .. }
            | Self::Turns { .. }
            | Self::Stands { .. }
            | Self::PhaseElapsed { .. }
            | Self::PhaseDone { .. }
            | Self::Overdue { .. }
            | Self::ProcessUp
            | Self::Calm
            | Self::Tick => None,
        }
    }

    /// Returns a number for the kind, for the digest.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Decide(number) => 100 + *number as u64,
            Self::Deliver { .. } => 1,
            Self::Wake { .. } => 2,
            Self::Net { link, .. } => 1_000 + link.0,
            Self::Written { .. } => 3,
            Self::Exited { .. } => 4,
            Self::Restart { .. } => 5,
            Self::RowRead { .. } => 18,
            Self::Turns { .. } => 6,
            Self::Stands { .. } => 17,
            Self::Watched { .. } => 7,
            Self::Health { .. } => 8,
            Self::Sweep { .. } => 19,
            Self::RunOut { .. } => 20,
            Self::Copied { .. } => 21,
            Self::Refresh { .. } => 22,
            Self::Adopted { .. } => 23,
            Self::Asked { .. } => 24,
            Self::GoneBy { .. } => 9,
            Self::DrainGivesUp { .. } => 10,
            Self::PhaseElapsed { .. } => 11,
            Self::PhaseDone { .. } => 12,
            Self::Overdue { .. } => 13,
            Self::ProcessUp => 14,
            Self::Calm => 15,
            Self::Tick => 16,
        }
    }
}
