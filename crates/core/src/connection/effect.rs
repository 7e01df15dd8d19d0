//! What a step asks the shell to do. Effects are carried out in order; each is one call of one port.

use std::time::Duration;

use super::down_reason::DownReason;
use super::event::{Desired, Method, PairingText};
use crate::fleet::Standing;
use crate::id::LinkId;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the fleet how the instance stands; if it asks for a turn, the answer is `TurnGranted`.
    Stand(Standing),
    /// Claim the lease and dial once. `rebuild` asks for a new client over the stored session, `refresh_version` for a new look at
    /// the version that WhatsApp accepts.
    OpenLink { link: LinkId, method: Option<Method>, rebuild: bool, refresh_version: bool },
    /// Ask for a pairing code on a link that is already showing QR codes.
    RequestCode { link: LinkId, number: String },
    /// Close the socket; its end is reported as `LinkDown`.
    CloseLink { link: LinkId },
    /// Tell WhatsApp that this device is gone, then close.
    LogOutLink { link: LinkId },
    /// Cut a socket whose close did not come to an end: nothing leaves it from here on, and nothing more is heard of it.
    AbandonLink { link: LinkId },
    /// Send a ping that has to be answered within this time.
    Ping { link: LinkId, within: Duration },
    /// Make everything that the link knows durable, and answer with `Saved`.
    Save { link: LinkId },
    /// Move the credentials to the archive, from which an operator can bring them back.
    ArchiveCredentials,
    /// Store what the operator wants.
    SetDesired(Desired),
    /// Tell whoever listens.
    Publish(Notice),
    /// Answer the command at hand with a refusal; without this effect the answer is the status.
    Refuse(Refusal),
    /// The actor has no more to do; no other effect of the step comes after it. `clean` is false when something had to be forced.
    Exit { clean: bool },
    /// The actor must not go on with what it holds: let the supervisor decide about a new one. No other effect comes after it.
    Fail { why: DownReason },
}

/// A change that people and webhooks are told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The public state is now `connecting`; `why` is set when a connection was lost.
    Connecting { why: Option<DownReason> },
    /// The public state is now `open`.
    Open,
    /// The public state is now `close`; `why` is set when it was not asked for.
    Closed { why: Option<DownReason> },
    /// A QR code is to be shown; `count` numbers those of this attempt from 1.
    Qr { text: PairingText, count: u32 },
    /// A pairing code is to be typed on the phone with this number.
    Code { number: String, code: PairingText },
    /// Nobody scanned in time, and no further QR code will be made until somebody asks.
    QrLimit,
    /// WhatsApp has logged the device out.
    LoggedOut { why: DownReason },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The instance is being shut down or deleted.
    Stopping,
    /// There is nothing to log out.
    NotConnected,
    /// Somebody is pairing it, or it was paired once: it does not expire.
    InUse,
}
