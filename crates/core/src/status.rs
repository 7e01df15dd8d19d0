//! What an instance says about itself: one source for every read, event, metric and row.

use crate::connection::down_reason::UserAction;
use crate::connection::state::PublicState;
use crate::connection::{DownReason, Machine, ParkReason, Phase, State, Trouble};
use crate::explanation::{Explanation, NextTry};
use crate::time::Timestamp;

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

    /// Describes an instance whose actor has crashed and is started again at `retry`.
    pub fn crashed(now: Timestamp, retry: Timestamp, paired: bool) -> Self {
        Self {
            trouble: Some(Trouble { why: DownReason::Panicked, since: now }),
            next_try: Some(retry),
            ..Self::without_actor(Phase::BackingOff, now, paired, false)
        }
    }

    /// Describes an instance that is to be started once its row can be read, which has failed since `since`; tried again at `retry`.
    pub fn unread(since: Timestamp, now: Timestamp, retry: Timestamp, paired: bool) -> Self {
        Self {
            trouble: Some(Trouble { why: DownReason::StoreUnavailable, since }),
            next_try: Some(retry),
            ..Self::without_actor(Phase::Waiting, now, paired, false)
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

    /// Returns what explains a state other than open at `now`, if there is something to explain.
    pub fn explanation_at(&self, now: Timestamp) -> Option<Explanation> {
        if self.quarantined {
            return Some(Explanation::quarantined());
        }
        if let Some(turn) = self.told_turn() {
            return Some(Explanation::waiting(turn));
        }
        match self.why() {
            Some(why) => Some(Explanation::of(why, self.next_try())),
            None => (self.phase_at(now) == Phase::Suspect).then(Explanation::suspect),
        }
    }

    /// Returns the stable code that explains a state other than open, if there is something to explain.
    pub fn code(&self) -> Option<&'static str> {
        self.explanation_at(self.since).map(|explanation| explanation.code)
    }

    /// Returns when the next dial comes by itself.
    fn next_try(&self) -> NextTry {
        match (self.next_try, self.phase) {
            (Some(at), _) => NextTry::At(at),
            (None, Phase::Unpaired | Phase::Parked | Phase::Draining | Phase::Stopped) => NextTry::Never,
            (
                None,
                Phase::Waiting
                | Phase::Connecting
                | Phase::Pairing
                | Phase::Syncing
                | Phase::Online
                | Phase::Suspect
                | Phase::BackingOff,
            ) => NextTry::UnderWay,
        }
    }

    /// Returns the wait for a turn if that explains more than why the last link ended: an outage does, a queue does not.
    fn told_turn(&self) -> Option<TurnWait> {
        self.turn.filter(|turn| *turn == TurnWait::Outage || self.trouble.is_none())
    }
}
