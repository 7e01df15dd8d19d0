//! What an instance says about itself: one source for every read, event, metric and row.

use crate::connection::down_reason::UserAction;
use crate::connection::state::PublicState;
use crate::connection::{DownReason, Machine, ParkReason, Phase, State, Trouble};
use crate::time::Timestamp;

/// The code of an instance that the supervisor has parked.
pub const QUARANTINE: &str = "instance-quarantined";
/// What people are told about it.
pub const QUARANTINE_SENTENCE: &str = "The instance crashed too often and is parked; restart it after reading the log.";

/// Why an instance that could dial does not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnWait {
    /// Others are before it.
    InLine,
    /// An outage of the host holds everybody back.
    Outage,
}

impl TurnWait {
    /// Both, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::InLine, Self::Outage];

    /// Returns the stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::InLine => "waiting-for-turn",
            Self::Outage => "host-outage",
        }
    }

    /// Returns a sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::InLine => "The instance waits for its turn to dial.",
            Self::Outage => {
                "Most connections of this host failed at once; one instance keeps trying, and the others dial when it comes through."
            }
        }
    }

    /// Returns what a person can do about it.
    pub fn user_action(self) -> UserAction {
        match self {
            Self::InLine => UserAction::Wait,
            Self::Outage => UserAction::CheckNetwork,
        }
    }
}

/// The state of one instance as its actor last knew it.
///
/// `fresh_until` bounds what it claims: a reader that finds it passed reads [`Phase::Suspect`], even if the actor itself is stuck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStatus {
    /// The phase at the time of writing; readers use [`InstanceStatus::phase_at`].
    pub phase: Phase,
    /// When the phase began.
    pub since: Timestamp,
    /// Until when an `Online` may be believed.
    pub fresh_until: Option<Timestamp>,
    /// The last proof of life on the present link.
    pub proof: Option<Timestamp>,
    /// What keeps it from being connected, if anything does.
    pub trouble: Option<Trouble>,
    /// When the next dial is due.
    pub next_try: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The present link, 0 before the first dial.
    pub link: u64,
    /// Whether there are credentials.
    pub paired: bool,
    /// Why it does not dial although it could, if that is so.
    pub turn: Option<TurnWait>,
    /// A quarantine by the supervisor.
    pub quarantined: bool,
}

impl InstanceStatus {
    /// Describes `machine`; `since` is when its present phase began.
    pub fn of(machine: &Machine, since: Timestamp) -> Self {
        let (fresh_until, proof) = if let State::Online { fresh_until, proof, .. } = machine.state {
            (Some(fresh_until), Some(proof))
        } else {
            (None, None)
        };
        Self {
            phase: machine.state.phase(),
            since,
            fresh_until,
            proof,
            trouble: machine.trouble().cloned(),
            next_try: machine.state.next_try(),
            failures: machine.failures(),
            link: machine.last_link().0,
            paired: machine.paired,
            turn: if let State::Asking { held, .. } = machine.state {
                Some(if held { TurnWait::Outage } else { TurnWait::InLine })
            } else {
                None
            },
            quarantined: matches!(machine.state, State::Parked { why: ParkReason::Quarantined, .. }),
        }
    }

    /// Describes an instance whose actor does not run: parked by the supervisor, or not started yet.
    pub fn without_actor(phase: Phase, since: Timestamp, paired: bool, quarantined: bool) -> Self {
        Self {
            phase,
            since,
            fresh_until: None,
            proof: None,
            trouble: None,
            next_try: None,
            failures: 0,
            link: 0,
            paired,
            turn: None,
            quarantined,
        }
    }

    /// Returns the phase as it may be told at `now`.
    pub fn phase_at(&self, now: Timestamp) -> Phase {
        match self.fresh_until {
            Some(until) if now >= until => Phase::Suspect,
            _ => self.phase,
        }
    }

    /// Returns Evolution's state as it may be told at `now`.
    pub fn state_at(&self, now: Timestamp) -> PublicState {
        self.phase_at(now).public()
    }

    /// Returns what keeps the instance from being connected, if anything does.
    pub fn why(&self) -> Option<&DownReason> {
        self.trouble.as_ref().map(|trouble| &trouble.why)
    }

    /// Returns since when that has been so; for a quarantine, since it began.
    pub fn why_since(&self) -> Option<Timestamp> {
        match &self.trouble {
            Some(trouble) if !self.quarantined => Some(trouble.since),
            Some(_) | None => (self.quarantined || self.turn.is_some()).then_some(self.since),
        }
    }

    /// Returns the stable code that explains a state other than open, if there is something to explain.
    pub fn code(&self) -> Option<&'static str> {
        if self.quarantined {
            return Some(QUARANTINE);
        }
        self.told_turn().map(TurnWait::code).or_else(|| self.why().map(DownReason::code))
    }

    /// Returns a sentence that explains the state, if there is something to explain.
    pub fn message(&self) -> Option<&'static str> {
        if self.quarantined {
            return Some(QUARANTINE_SENTENCE);
        }
        self.told_turn().map(TurnWait::sentence).or_else(|| self.why().map(DownReason::sentence))
    }

    /// Returns what a person can do, if there is something to explain.
    pub fn user_action(&self) -> Option<UserAction> {
        if self.quarantined {
            return Some(UserAction::Restart);
        }
        self.told_turn().map(TurnWait::user_action).or_else(|| self.why().map(DownReason::user_action))
    }

    /// Returns the wait for a turn if that explains more than why the last link ended: an outage does, a queue does not.
    fn told_turn(&self) -> Option<TurnWait> {
        self.turn.filter(|turn| *turn == TurnWait::Outage || self.trouble.is_none())
    }
}
