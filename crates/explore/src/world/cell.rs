//! Everything about one instance: what the service knows of it, what is true, and what is going to go wrong.

use std::collections::{BTreeMap, VecDeque};

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, DownReason, Event, Machine, Memory};
use holdfast_core::id::{Epoch, LinkId, Revision};
use holdfast_core::restoration::Mark;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::CrashRecord;

use super::driver::Dial;
use super::fate::{Inbox, Stamp};
use super::places::{Copy, Login};
use super::scribe::Scribe;
use crate::random::Random;

/// The durable row of an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) paired: bool,
    /// Whether it bears a trace of a login, be it over.
    pub(crate) ever_paired: bool,
    pub(crate) desired: Desired,
    /// The state as it was last written.
    pub(crate) state: PublicState,
    /// Which state of the session it is.
    pub(crate) mark: Mark,
    /// The login, while it is paired.
    pub(crate) login: Login,
    /// Whether its login cannot be read, until it is replaced.
    pub(crate) damaged: bool,
}

/// What the database holds of an instance, and what a backup of it would.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) row: Option<Row>,
    /// Why the last connection ended, if it did not come online since.
    pub(crate) end: Option<End>,
    /// Whether an operator has deleted it.
    pub(crate) departed: bool,
}

/// Why and when a connection ended, as the row says.
pub(crate) type End = (DownReason, u64);

/// What the child of a line on the roster is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    Running {
        since: u64,
    },
    Restarting {
        token: u64,
    },
    /// Its row is being read; if that fails, it is what it was.
    Reading {
        token: u64,
        otherwise: Otherwise,
    },
    Quarantined,
    Ended,
}

/// What a child is whose row is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    Restarts,
    Quarantined,
    Ended,
}

/// What became of an instance that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    Pending,
    /// It has no actor, and its rows are being written.
    Writing,
    Clean,
    /// It ended before it was saved and closed.
    Cut,
}

/// A line of the supervisor's roster.
pub(crate) struct Line {
    pub(crate) generation: u64,
    pub(crate) child: Child,
    pub(crate) crashes: CrashRecord,
    pub(crate) last_link: LinkId,
    pub(crate) desired: Desired,
    /// What its row said of credentials and of the last end, for the next actor alone.
    pub(crate) known: Option<(bool, Option<Memory>)>,
    /// What the last actor believed of its credentials; nobody is to go by it.
    pub(crate) believed: bool,
    /// How often the row could not be read.
    pub(crate) unread: u32,
    /// Commands that wait for the child to be started.
    pub(crate) waiting: Vec<Event>,
    /// A deletion that waits for the child to end.
    pub(crate) deletion: Option<u64>,
    /// Whether that is because nobody paired it.
    pub(crate) expires: bool,
}

/// The actor of an instance.
pub(crate) struct Actor {
    pub(crate) stamp: Stamp,
    pub(crate) machine: Machine,
    pub(crate) since: u64,
    pub(crate) timer: Option<u64>,
    pub(crate) mailbox: VecDeque<Inbox>,
    pub(crate) waking: bool,
    /// A dial that waits for an archiving: and what was submitted until then.
    pub(crate) opening: Option<(LinkId, u64)>,
    /// The end that waits for the last rows, and whether it is clean.
    pub(crate) leaving: Option<(bool, u64)>,
    /// A save was asked for, so that the close has to come after it.
    pub(crate) saving: bool,
    /// What the ExitGuard will say.
    pub(crate) guard: (LinkId, bool, Desired),
}

/// What goes wrong next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) ending: Option<DownReason>,
    pub(crate) doubtful: bool,
    pub(crate) dials_fail: Option<(u32, DownReason)>,
    pub(crate) login_hangs: bool,
    pub(crate) flap_until: u64,
    pub(crate) restart_loop_until: u64,
    pub(crate) ping_lost: bool,
    pub(crate) close_hangs: bool,
    pub(crate) save_hangs: bool,
    pub(crate) save_fails: bool,
    pub(crate) panics: u32,
    pub(crate) panics_when_paired: bool,
    pub(crate) stuck_until: u64,
    pub(crate) fenced_until: u64,
    pub(crate) scans: bool,
    pub(crate) unreadable_until: u64,
    pub(crate) twice_until: u64,
}

/// What is true, whatever the service believes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    /// Whether WhatsApp knows the device.
    pub(crate) device: bool,
    /// Which device that is.
    pub(crate) which: u64,
    /// How far each chain of keys was ever used.
    pub(crate) used: BTreeMap<u64, u64>,
    /// When a ping was last lost on its way, in a connection that was not silent.
    pub(crate) ping_lost: Option<u64>,
    /// When each logout was told inside the Noise channel since the pairing.
    pub(crate) logouts: Vec<u64>,
    /// The last pairing, boot or request for a new connection: for a while after it a logout is doubted once.
    pub(crate) doubt_from: u64,
    /// An operator has asked for the device to be unlinked.
    pub(crate) unlink_asked: bool,
    pub(crate) delete_asked: bool,
    /// An ending that needs a person was told.
    pub(crate) terminal: bool,
    pub(crate) banned_until: u64,
    /// Injected crashes of the actor in this process.
    pub(crate) crashes: Vec<u64>,
    /// Starts of the actor after a crash, in this process, since an operator last asked.
    pub(crate) restarts: Vec<u64>,
    /// Dials since the process began or an operator last asked.
    pub(crate) dials: VecDeque<u64>,
    /// The last sign of life on each link of the present actor.
    pub(crate) life: BTreeMap<LinkId, u64>,
    /// Steps at the present millisecond.
    pub(crate) busy: (u64, u32),
}

/// One instance.
pub(crate) struct Cell {
    pub(crate) cast: bool,
    pub(crate) random: Random,
    pub(crate) stored: Stored,
    /// The database as it was when it was backed up last.
    pub(crate) backup: Stored,
    /// The copies in Redis and in files.
    pub(crate) copies: [Option<Copy>; 2],
    /// Whether a copy is about to be written there.
    pub(crate) copying: [bool; 2],
    pub(crate) line: Option<Line>,
    pub(crate) actor: Option<Actor>,
    pub(crate) scribes: Vec<Scribe>,
    pub(crate) dials: Vec<Dial>,
    pub(crate) board: Option<InstanceStatus>,
    pub(crate) plan: Plan,
    pub(crate) truth: Truth,
    /// Milliseconds between two stanzas, on average; none come if it is 0.
    pub(crate) chatter: u64,
    /// Facts of a link arrive in order: not before this.
    pub(crate) channel: u64,
    pub(crate) token: u64,
    /// What became of it in the shutdown under way.
    pub(crate) drain: Option<Drain>,
}

impl Cell {
    pub(crate) fn drawn(seed: u64, i: usize, cast: bool) -> Self {
        let mut random = Random::of(seed, 0x1_0000 + i as u64);
        // As an earlier process left it: killed in any state, amid a pairing or a change of the wish.
        let (paired, desired) = match random.below(20) {
            0 => (false, Desired::Stopped),
            1 => (false, Desired::Connected),
            2..=3 => (true, Desired::Stopped),
            _ => (true, Desired::Connected),
        };
        let state = [PublicState::Close, PublicState::Open, PublicState::Connecting][random.below(3) as usize % 3];
        let chatter = [0, 3_000, 20_000, 60_000][random.below(4) as usize % 4];
        let (mark, login) =
            (Mark { epoch: Epoch(1), revision: Revision(10) }, Login { device: 0, chains: 0, used: 10 });
        let row = Row { paired, ever_paired: paired, desired, state, mark, login, damaged: false };
        let stored = Stored { row: cast.then_some(row), ..Stored::default() };
        let mut places = Random::of(seed, 0x2_0000 + i as u64);
        let copies = [(); 2].map(|()| Copy::left_of(&row, &mut places).filter(|_| cast));
        Self {
            cast,
            random,
            backup: stored.clone(),
            stored,
            copies,
            copying: [false; 2],
            line: None,
            actor: None,
            scribes: Vec::new(),
            dials: Vec::new(),
            board: None,
            plan: Plan::default(),
            truth: Truth { device: paired, used: [(login.chains, login.used)].into(), ..Truth::default() },
            chatter,
            channel: 0,
            token: 0,
            drain: None,
        }
    }

    pub(crate) fn next_token(&mut self) -> u64 {
        self.token += 1;
        self.token
    }
}
