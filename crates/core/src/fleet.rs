//! Who may dial now: the one gate that every dial of the service passes, so that neither this host nor WhatsApp sees a herd.
//!
//! ```text
//!   an instance asks --> queue (operators first) --> a turn: a free slot, a token, no outage --> it dials --> slot free again
//!                                                                     |
//!   half of them fail for network reasons within the window --> outage: automatic dials are held, one canary at a time dials,
//!   its success releases the rest under the same limits
//! ```
//!
//! [`Fleet::step`] takes what an instance's machine says of itself ([`Standing`]), or the passing of time, and returns who may dial.
//! A turn that was lost on its way costs nothing: who still asks says so again, and a turn that is not given back expires.

mod limits;
mod member;
mod outage;
mod turns;

use std::time::Duration;

use crate::backoff::Backoff;
use crate::id::{InstanceId, LinkId};
use crate::time::Timestamp;

pub use turns::Fleet;

/// How an instance stands towards the dials of the fleet; a property of its machine's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It wants no connection, or will not dial by itself.
    Out,
    /// It has no connection and will ask for a turn; `network` says that it lost or missed the last one as in an outage of the host.
    Down { network: bool },
    /// It asks for a turn to dial this link; `urgent` says that somebody waits for it.
    Asks { link: LinkId, urgent: bool },
    /// It dials or logs in.
    Dials { link: LinkId },
    /// It is online, or shows a code.
    Up { link: LinkId },
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An instance stands like this now. Safe to repeat.
    Stands { id: InstanceId, standing: Standing },
    /// An instance is off the roster.
    Gone { id: InstanceId },
    /// The deadline has come.
    Elapsed,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// This instance may dial this link.
    Grant { id: InstanceId, link: LinkId },
    /// An instance that asks is held back by an outage, or is not any more.
    Hold { id: InstanceId, link: LinkId, held: bool },
    /// The host has lost its network: of `wanting` instances that were seen to try, `failing` failed within the window.
    OutageBegan { failing: usize, wanting: usize },
    /// A dial came through; those that were held dial in their turn.
    OutageEnded { lasted: Duration, held: usize },
}

/// The rules of the fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How many dials may be in flight. An eighth of them is kept for what somebody waits for.
    pub concurrency: usize,
    /// How many dials may begin in a second.
    pub per_second: u32,
    /// The share of the instances that has to fail for the whole host to be down, from 0 to 1.
    pub outage_share: f64,
    /// How many have to fail at least.
    pub outage_min: usize,
    /// Within which time they have to.
    pub outage_window: Duration,
    /// The wait between the dials of an outage.
    pub canary: Backoff,
    /// How long a turn lasts if nobody says how the dial went.
    pub turn_lasts: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 16,
            per_second: 20,
            outage_share: 0.5,
            outage_min: 5,
            outage_window: Duration::from_secs(10),
            canary: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) },
            turn_lasts: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// Returns how many dials may be in flight that nobody waits for.
    pub(crate) fn automatic(&self) -> usize {
        self.concurrency.saturating_sub(self.concurrency / 8).max(1)
    }
}

/// What a step may know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// A fresh random number from 0 to 1.
    pub jitter: f64,
    /// The rules.
    pub policy: &'a Policy,
}

/// What people are told about the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Since when the host counts as cut off, if it does.
    pub outage_since: Option<Timestamp>,
    /// Who dials for all in an outage.
    pub canary: Option<InstanceId>,
    /// When the next canary may dial, if none does.
    pub next_canary_at: Option<Timestamp>,
    /// Dials in flight.
    pub in_flight: usize,
    /// Instances that ask for a turn, with those that are held.
    pub waiting: usize,
    /// Those of them that an outage holds back.
    pub held: usize,
    /// Instances that want a connection.
    pub wanting: usize,
    /// Those of them that are online or show a code.
    pub up: usize,
}
