//! What can happen to an instance: commands, facts about its link, and the passing of time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::down_reason::DownReason;
use crate::id::LinkId;
use crate::time::Timestamp;

/// Whether the operator wants this instance connected; stored, and the only thing that decides at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// Keep it connected, whatever happens.
    Connected,
    /// Leave it alone until somebody asks.
    Stopped,
}

/// How a new device is linked to a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A QR code that the phone scans.
    Qr,
    /// An eight-character code, typed on the phone with this number (digits, country code first).
    Code(String),
}

/// What a phone scans or somebody types: whoever reads it can link a device of their own, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingText(String);

impl PairingText {
    /// Returns the text, to be shown to whoever asked for it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for PairingText {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for PairingText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The instance's actor has started; `paired` says whether the store holds credentials, `desired` what the operator wants.
    Booted { paired: bool, desired: Desired },
    /// An operator wants it connected, pairing by `method` if it has no credentials. Safe to repeat.
    Connect { method: Method },
    /// An operator wants a new connection, whatever the present one is doing. Safe to repeat.
    Restart,
    /// The proxy of the instance has been changed: what is connected by another way must not stay so. Safe to repeat.
    Rerouted,
    /// An operator wants the device unlinked and the credentials gone.
    LogOut,
    /// An operator deletes the instance: unlink if possible, then end.
    Delete { within: Duration },
    /// Nobody paired it in its time, so that it is to be deleted: end, unless somebody is pairing it or it was ever paired.
    Expire,
    /// The service stops: save, then close, within this time.
    Shutdown { within: Duration },
    /// The deadline of the state has come.
    Elapsed,
    /// HealthActor wants fresh proof of life.
    PingDue,
    /// The fleet lets it dial this link, which it asked for.
    TurnGranted { link: LinkId },
    /// An outage of the host holds back this link, for which it asked, or does not any more.
    TurnHeld { link: LinkId, held: bool },
    /// A new QR text is to be shown; it is replaced or void after `valid`.
    QrShown { link: LinkId, text: PairingText, valid: Duration },
    /// The pairing code for this number is known.
    CodeShown { link: LinkId, number: String, code: PairingText, valid: Duration },
    /// The phone accepted the device and the credentials are durable.
    Paired { link: LinkId },
    /// WhatsApp accepted the login.
    Authenticated { link: LinkId },
    /// The offline queue is drained and the client says it is connected.
    Ready { link: LinkId },
    /// A stanza was decoded, and when: what lay in a mailbox since then is no fresher for it.
    Proof { link: LinkId, at: Timestamp },
    /// A ping was answered, and when.
    Pong { link: LinkId, at: Timestamp },
    /// A ping was not answered in its time, or could not be sent.
    PingFailed { link: LinkId },
    /// What the link knew is durable, or `ok: false` if that failed.
    Saved { link: LinkId, ok: bool },
    /// WhatsApp has confirmed that this device is not linked any more, as an operator asked.
    Unlinked { link: LinkId },
    /// The dial has returned and its socket is gone.
    LinkDown { link: LinkId, why: DownReason },
}

impl Event {
    /// Returns the socket that a fact is about; commands and timers have none, nor have turns, which come before there is one.
    pub fn link(&self) -> Option<LinkId> {
        match self {
            Self::QrShown { link, .. }
            | Self::CodeShown { link, .. }
            | Self::Paired { link }
            | Self::Authenticated { link }
            | Self::Ready { link }
            | Self::Proof { link, .. }
            | Self::Pong { link, .. }
            | Self::PingFailed { link }
            | Self::Saved { link, .. }
            | Self::Unlinked { link }
            | Self::LinkDown { link, .. } => Some(*link),
            Self::Booted { .. }
            | Self::Connect { .. }
            | Self::Restart
            | Self::Rerouted
            | Self::LogOut
            | Self::Delete { .. }
            | Self::Expire
            | Self::Shutdown { .. }
            | Self::Elapsed
            | Self::TurnGranted { .. }
            | Self::TurnHeld { .. }
            | Self::PingDue => None,
        }
    }
}
