//! What the world knows about a connection.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use utoipa::ToSchema;
use wacore_binary::Jid;

use crate::address::{Address, Phone};
use crate::conduct::Conduct;
use crate::linking::code::CodeRequest;
use crate::noise::Pattern;
use crate::pairing::{Registration, Signing};

/// Names a connection for as long as the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
pub struct LinkId(pub u64);

/// How far a connection has come.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The Noise handshake is not over.
    Handshake,
    /// A client without an account shows references as QR codes.
    Offering(Box<Registration>),
    /// A phone scanned one, or a code was typed; the device's signature is awaited.
    Signing(Box<Signing>),
    /// Logged in; `active` once the device asked for what is waiting.
    Online {
        /// Whether stanzas are delivered at once.
        active: bool,
    },
    /// The server has said its last word; only the client's close is awaited.
    Ending,
}

impl Stage {
    /// The name shown by the control interface.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Offering(_) | Self::Signing(_) => "pairing",
            Self::Online { active: false } => "login",
            Self::Online { active: true } => "open",
            Self::Ending => "ending",
        }
    }
}

/// A connection that its client has not closed yet.
#[derive(Clone, Debug)]
pub struct Link {
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// How far it has come.
    pub stage: Stage,
    /// The code that its client wants to be typed on a phone.
    pub code: Option<Box<CodeRequest>>,
    /// The device at the other end, once known.
    pub address: Option<Address>,
    /// How the Noise channel was set up.
    pub pattern: Option<Pattern>,
    /// Whether the client sent a routing prefix.
    pub routed: bool,
    /// When the last frame came, in milliseconds since 1970.
    pub last_frame_at: u64,
    /// The newer connection of the same device.
    pub superseded_by: Option<LinkId>,
    /// Whether its device said that somebody is there.
    pub available: bool,
    /// About whom its device asked, and under which name.
    pub subscriptions: BTreeMap<Phone, Jid>,
    /// The server's pings that were not answered: their ids, and when they were sent.
    pub pings: VecDeque<(String, u64)>,
    /// Whether it was found alive after a newer one had replaced it.
    pub overlapping: bool,
    /// Frames that came after it was replaced and before that was found out: its client may have left before, and they
    /// were read late.
    pub unjudged: u64,
    /// How the server treats it.
    pub conduct: Conduct,
    /// Whether a frame was sent after which its client can read nothing more.
    pub unreadable: bool,
}

impl Link {
    /// A connection that was just opened.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            since: now,
            stage: Stage::Handshake,
            code: None,
            address: None,
            pattern: None,
            routed: false,
            last_frame_at: now,
            superseded_by: None,
            available: false,
            subscriptions: BTreeMap::new(),
            pings: VecDeque::new(),
            overlapping: false,
            unjudged: 0,
            conduct: Conduct::default(),
            unreadable: false,
        }
    }

    /// Whether its device is logged in and has not been replaced.
    #[must_use]
    pub fn online(&self) -> bool {
        matches!(self.stage, Stage::Online { .. }) && self.superseded_by.is_none()
    }
}
