//! Instances that are not on this node's board: which way a request for one goes, and what may be said of its state.

use crate::connection::state::PublicState;

/// The node that the database names as the owner of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Its name.
    pub node: &'a str,
    /// Where the other nodes reach it.
    pub url: Option<&'a str>,
    /// Whether its leases hold.
    pub alive: bool,
}

/// Why an instance that exists cannot be reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// No living node owns it.
    Unowned,
    /// Its owner is only just taking it over, or has only just given it up.
    Moving,
    /// Its owner does not say where it is reached.
    WithoutUrl,
    /// Its owner does not answer.
    Unreachable,
}

impl Absence {
    /// Returns what may be said of the state, and whether the absence explains it; `wanted` means paired and to be connected.
    ///
    /// It is never `open`: that takes a proof, and nobody is there to give one.
    pub fn state(self, wanted: bool) -> (PublicState, bool) {
        match self {
            Self::Unowned | Self::Moving if wanted => (PublicState::Connecting, true),
            Self::Unowned | Self::Moving => (PublicState::Close, false),
            // It may well be open; what is said of it has to be true whatever it is.
            Self::WithoutUrl | Self::Unreachable => (PublicState::Connecting, true),
        }
    }
}

/// What becomes of a request for an instance that is not on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course<'a> {
    /// There is no such instance.
    Unknown,
    /// It cannot be carried out at present.
    Refused(Absence),
    /// It goes to this node at this address.
    HandedOn {
        /// The owner.
        node: &'a str,
        /// Where it is reached.
        url: &'a str,
    },
}

/// Chooses for the node `here`. `found` is what the database says: no instance, no owner, or an owner.
///
/// A request that another node has `forwarded` is never sent on: two nodes that take each other for the owner would play with it.
pub fn course<'a>(here: &str, found: Option<Option<Owner<'a>>>, forwarded: bool) -> Course<'a> {
    let Some(owner) = found else { return Course::Unknown };
    if forwarded {
        return Course::Refused(Absence::Moving);
    }
    match owner {
        Some(Owner { node, alive: true, .. }) if node == here => Course::Refused(Absence::Moving),
        Some(Owner { node, url: Some(url), alive: true }) => Course::HandedOn { node, url },
        Some(Owner { url: None, alive: true, .. }) => Course::Refused(Absence::WithoutUrl),
        Some(Owner { alive: false, .. }) | None => Course::Refused(Absence::Unowned),
    }
}
