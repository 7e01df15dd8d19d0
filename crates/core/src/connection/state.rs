//! Where an instance is in its life.

use serde::{Deserialize, Serialize};

use super::down_reason::DownReason;
use super::event::{Desired, Method};
use super::trouble::{Memory, Trouble};
use crate::id::LinkId;
use crate::time::Timestamp;

/// The state of one instance. Each waiting state says until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No credentials, and nobody is asking for any.
    Unpaired,
    /// Something that a dial needs is missing: tried again at `until`.
    Waiting { what: WaitReason, until: Timestamp },
    /// Ready to dial this link, and waiting for its turn since `since`; asked for again at `until`. `held` says that an outage of the
    /// host keeps everybody back.
    Asking {
        link: LinkId,
        method: Option<Method>,
        urgent: bool,
        refresh_version: bool,
        held: bool,
        since: Timestamp,
        until: Timestamp,
    },
    /// Socket, Noise handshake and login.
    Connecting { link: LinkId, method: Option<Method>, until: Timestamp },
    /// A QR or pairing code is shown.
    Pairing { link: LinkId, method: Method, until: Timestamp },
    /// Logged in, draining the offline queue; `ready` once that is done and only an answered ping is missing.
    Syncing { link: LinkId, ready: bool, until: Timestamp },
    /// Serving. `proof` is the last sign of life; `pinged` the time by which a ping in flight has to be answered.
    Online { link: LinkId, since: Timestamp, proof: Timestamp, pinged: Option<Timestamp>, fresh_until: Timestamp },
    /// Waiting to dial again.
    BackingOff { why: DownReason, until: Timestamp },
    /// Will not dial by itself, or not before `retry`.
    Parked { why: ParkReason, retry: Option<Timestamp> },
    /// An operator's logout is on its way to WhatsApp.
    LoggingOut { link: LinkId, until: Timestamp },
    /// Saving, then closing; `saved` holds the answer to Save.
    Draining { saved: Option<bool>, until: Timestamp },
    /// The end.
    Stopped { clean: bool },
}

/// What a dial waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitReason {
    /// The database.
    Store,
    /// The lease, which another node holds.
    Lease,
}

/// Why an instance does not dial by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkReason {
    /// An operator stopped it.
    Operator,
    /// WhatsApp unlinked it.
    LoggedOut(DownReason),
    /// Another connection took over.
    Replaced,
    /// The number is banned for a while.
    Banned(DownReason),
    /// The client version is refused.
    Outdated,
    /// The login is refused.
    Refused(DownReason),
    /// What is stored of the login is damaged.
    Damaged,
    /// Its actor crashed too often.
    Quarantined,
}

/// The state as one word, for people, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Unpaired,
    Waiting,
    Connecting,
    Pairing,
    Syncing,
    Online,
    Suspect,
    BackingOff,
    Parked,
    Draining,
    Stopped,
}

/// The state as Evolution's clients know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublicState {
    Open,
    Connecting,
    Close,
}

impl PublicState {
    /// Reads Evolution's word; whatever else is written claims nothing.
    pub fn named(word: &str) -> Self {
        [Self::Open, Self::Connecting].into_iter().find(|state| state.as_str() == word).unwrap_or(Self::Close)
    }

    /// Returns Evolution's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Connecting => "connecting",
            Self::Close => "close",
        }
    }
}

impl Phase {
    /// Returns the phase as Evolution's clients see it: `open` is only ever backed by fresh proof of life.
    pub fn public(self) -> PublicState {
        match self {
            Self::Online => PublicState::Open,
            Self::Waiting | Self::Connecting | Self::Pairing | Self::Syncing | Self::Suspect | Self::BackingOff => {
                PublicState::Connecting
            }
            Self::Unpaired | Self::Parked | Self::Draining | Self::Stopped => PublicState::Close,
        }
    }

    /// Returns the phase as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unpaired => "unpaired",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Pairing => "pairing",
            Self::Syncing => "syncing",
            Self::Online => "online",
            Self::Suspect => "suspect",
            Self::BackingOff => "backing-off",
            Self::Parked => "parked",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl ParkReason {
    /// Returns the end of the link that led here, if it was one.
    pub fn down_reason(&self) -> Option<DownReason> {
        match self {
            Self::Operator | Self::Quarantined => None,
            Self::LoggedOut(why) | Self::Banned(why) | Self::Refused(why) => Some(why.clone()),
            Self::Replaced => Some(DownReason::Replaced),
            Self::Outdated => Some(DownReason::Outdated),
            Self::Damaged => Some(DownReason::CredentialsCorrupt),
        }
    }
}

impl State {
    /// Returns the moment at which the shell must feed [`Event::Elapsed`](super::Event::Elapsed).
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Unpaired | Self::Stopped { .. } => None,
            Self::Parked { retry, .. } => *retry,
            Self::Waiting { until, .. }
            | Self::Asking { until, .. }
            | Self::Connecting { until, .. }
            | Self::Pairing { until, .. }
            | Self::Syncing { until, .. }
            | Self::BackingOff { until, .. }
            | Self::LoggingOut { until, .. }
            | Self::Draining { until, .. } => Some(*until),
            Self::Online { pinged, fresh_until, .. } => {
                Some(pinged.map_or(*fresh_until, |until| until.min(*fresh_until)))
            }
        }
    }

    /// Returns the link over which WhatsApp has accepted a login.
    pub(super) fn logged_in(&self) -> Option<LinkId> {
        if let Self::Online { link, .. } | Self::Syncing { link, .. } = self { Some(*link) } else { None }
    }

    /// Returns what keeps the instance from being connected, if there is something to explain.
    pub fn why(&self) -> Option<DownReason> {
        match self {
            Self::BackingOff { why, .. } => Some(why.clone()),
            Self::Waiting { what: WaitReason::Store, .. } => Some(DownReason::StoreUnavailable),
            Self::Waiting { what: WaitReason::Lease, .. } => Some(DownReason::LeaseLost),
            Self::Parked { why, .. } => why.down_reason(),
            Self::Unpaired
            | Self::Asking { .. }
            | Self::Connecting { .. }
            | Self::Pairing { .. }
            | Self::Syncing { .. }
            | Self::Online { .. }
            | Self::LoggingOut { .. }
            | Self::Draining { .. }
            | Self::Stopped { .. } => None,
        }
    }

    /// Returns when the next dial is due by itself, if one is.
    pub fn next_try(&self) -> Option<Timestamp> {
        if let Self::BackingOff { until, .. } | Self::Waiting { until, .. } | Self::Parked { retry: Some(until), .. } =
            self
        {
            Some(*until)
        } else {
            None
        }
    }

    /// Returns the state as one word, ignoring the age of the proof.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Unpaired => Phase::Unpaired,
            Self::Waiting { .. } | Self::Asking { .. } => Phase::Waiting,
            Self::Connecting { .. } => Phase::Connecting,
            Self::Pairing { .. } => Phase::Pairing,
            Self::Syncing { .. } => Phase::Syncing,
            Self::Online { .. } => Phase::Online,
            Self::BackingOff { .. } => Phase::BackingOff,
            Self::Parked { .. } => Phase::Parked,
            Self::LoggingOut { .. } | Self::Draining { .. } => Phase::Draining,
            Self::Stopped { .. } => Phase::Stopped,
        }
    }
}

/// The connection machine of one instance: its state, and what it remembers between states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Where it is.
    pub state: State,
    /// What the operator wants.
    pub desired: Desired,
    /// Whether the store holds credentials.
    pub paired: bool,
    /// Whether it holds credentials, or held some since it booted.
    pub(super) was_paired: bool,
    /// The link on which the last pairing was made: told again, it is no other one, whatever became of it.
    pub(super) paired_on: Option<LinkId>,
    /// Whether WhatsApp has confirmed that the last login is gone.
    pub(super) unlinked: bool,
    /// The socket that may exist, be it open or closing. No other is dialled before its end was reported.
    pub(super) link: Option<LinkId>,
    /// When a close that is under way counts as stuck.
    pub(super) closing_until: Option<Timestamp>,
    pub(super) last_link: LinkId,
    /// When the present link was dialled.
    pub(super) dialled_at: Timestamp,
    /// Failures in a row; a stable connection or an operator's command resets it.
    pub(super) failures: u32,
    /// Extra steps of backoff after rate limits; a stable connection takes them off one by one.
    pub(super) penalty: u32,
    /// Takeovers by another connection in a row.
    pub(super) takeovers: u32,
    /// How a new device is to be linked, as the operator asked.
    pub(super) method: Method,
    /// QR codes shown since the operator asked.
    pub(super) qr_shown: u32,
    /// Until when a 401 is doubted, because the pairing is only just done.
    pub(super) doubt_until: Option<Timestamp>,
    /// Whether WhatsApp has asked for a new connection since the last pairing or stable connection.
    pub(super) restarted: bool,
    /// Whether the version has been looked up again since the last login.
    pub(super) version_refreshed: bool,
    /// Whether somebody waits for the next dial.
    pub(super) urgent: bool,
    /// Whether the next dial needs a new client.
    pub(super) rebuild: bool,
    /// What keeps it from being connected.
    pub(super) trouble: Option<Trouble>,
    /// How the last process left it.
    pub(super) memory: Option<Memory>,
    /// The public state that was last told.
    pub(super) told: PublicState,
}

impl Machine {
    /// Makes the machine of an instance that has not booted yet.
    pub fn new() -> Self {
        Self {
            state: State::Unpaired,
            desired: Desired::Stopped,
            paired: false,
            was_paired: false,
            paired_on: None,
            unlinked: false,
            link: None,
            closing_until: None,
            last_link: LinkId(0),
            dialled_at: Timestamp::from_millis(0),
            failures: 0,
            penalty: 0,
            takeovers: 0,
            method: Method::Qr,
            qr_shown: 0,
            doubt_until: None,
            restarted: false,
            version_refreshed: false,
            urgent: false,
            rebuild: false,
            trouble: None,
            memory: None,
            told: PublicState::Close,
        }
    }

    /// Makes the machine of an instance whose earlier actor used the links up to `last`.
    ///
    /// A new actor counts on from there, so that a late fact of an old link can never be taken for one of its own.
    #[must_use]
    pub fn after_link(mut self, last: LinkId) -> Self {
        self.last_link = last;
        self
    }

    /// Makes the machine of an instance of which `told` was last told, by an earlier actor or for one: what differs from it is told anew.
    #[must_use]
    pub fn having_told(mut self, told: PublicState) -> Self {
        self.told = told;
        self
    }

    /// Returns the socket that may exist, open or closing.
    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// Tells whether the phone may still list the device: there are credentials of which WhatsApp has not confirmed that they are void.
    pub fn may_be_listed(&self) -> bool {
        self.paired && !self.unlinked
    }

    /// Returns the newest link that was ever dialled.
    pub fn last_link(&self) -> LinkId {
        self.last_link
    }

    /// Returns the number of failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the number of QR codes shown since the operator asked.
    pub fn qr_shown(&self) -> u32 {
        self.qr_shown
    }

    /// Returns the moment at which the shell must feed [`Event::Elapsed`](super::Event::Elapsed).
    ///
    /// A state that waits for a socket to be gone waits no longer than the close may take.
    pub fn deadline(&self) -> Option<Timestamp> {
        let state = self.state.deadline();
        match self.closing_until {
            None => state,
            Some(stuck) => match self.state {
                State::BackingOff { .. } | State::Waiting { .. } | State::Parked { .. } | State::Unpaired => {
                    Some(stuck)
                }
                State::Draining { until, .. } | State::LoggingOut { until, .. } => Some(until.min(stuck)),
                State::Asking { .. }
                | State::Connecting { .. }
                | State::Pairing { .. }
                | State::Syncing { .. }
                | State::Online { .. }
                | State::Stopped { .. } => state,
            },
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}
