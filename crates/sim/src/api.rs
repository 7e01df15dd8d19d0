//! The words of the control interface: what is asked, what is answered, and what is refused.

pub mod groups;
pub mod signs;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::{IntoParams, ToSchema};

use crate::address::Address;
use crate::counters::Tally;
use crate::events::EventKind;
use crate::link::LinkId;
use crate::signal::SignalError;

/// Why a request was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{sentence}")]
pub struct Problem {
    /// The HTTP status that fits.
    pub status: u16,
    /// What is wrong, for people.
    pub sentence: String,
}

impl Problem {
    /// The request itself is wrong.
    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Self { status: 400, sentence: sentence.into() }
    }

    /// What the request names does not exist.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self { status: 404, sentence: sentence.into() }
    }

    /// The request does not fit the state of things.
    pub fn conflict(sentence: impl Into<String>) -> Self {
        Self { status: 409, sentence: sentence.into() }
    }

    /// A client that should have answered did not.
    pub fn timeout(sentence: impl Into<String>) -> Self {
        Self { status: 504, sentence: sentence.into() }
    }
}

impl From<SignalError> for Problem {
    fn from(error: SignalError) -> Self {
        Self { status: 500, sentence: format!("encryption failed: {error}") }
    }
}

/// `POST /scan`: a phone scans a QR code.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScanRequest {
    /// The text of the QR code.
    pub qr: String,
    /// The phone that scans; a new one when absent.
    pub phone: Option<String>,
    /// Seal the answer with a wrong secret, which the client must refuse.
    #[serde(default)]
    pub bad_secret: bool,
}

/// `POST /pairing-code`: somebody types a code on a phone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairingCodeRequest {
    /// The phone.
    pub phone: String,
    /// The eight characters that the client shows; a dash among them does not matter.
    pub code: String,
}

/// The device that was linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScanAnswer {
    /// Its JID.
    pub jid: String,
    /// Its hidden JID.
    pub lid: String,
}

/// `POST /message`: a person writes to an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageRequest {
    /// Who writes: a phone number or JID.
    pub from: String,
    /// To whom: a phone number, or the JID of an account or of one device. In a group it may be left out: everybody there.
    #[serde(default)]
    pub to: String,
    /// What.
    pub text: String,
    /// The message's id; a new one when absent.
    pub id: Option<String>,
    /// The group in which it is written: a JID, or a name. One that does not exist is made, with both people in it.
    pub group: Option<String>,
}

/// The message that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageAnswer {
    /// Its id.
    pub id: String,
    /// The group in which it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<crate::groups::GroupId>,
}

/// How many connections or devices a fault struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultAnswer {
    /// How many.
    pub hit: usize,
}

/// `GET /health`: where everything is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The address for clients.
    pub ws: String,
    /// The address of the control interface.
    pub control: String,
    /// The address to which files are uploaded.
    pub media: String,
    /// The certificate of the authority that clients have to trust, if they speak TLS: a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The key that signs the certificate chain, in hexadecimal.
    pub root_public_key: String,
}

/// A connection that its client has not closed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its number.
    pub link: LinkId,
    /// The device, once known.
    pub jid: Option<Address>,
    /// The device's hidden JID.
    pub lid: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// How far it has come: `handshake`, `pairing`, `login`, `open` or `ending`.
    pub state: &'static str,
    /// Whether the device is linked.
    pub paired: bool,
    /// How the Noise channel was set up.
    pub handshake: Option<&'static str>,
    /// Whether the client sent a routing prefix.
    pub edge_routing: bool,
    /// Whether a newer login replaced it.
    pub superseded: bool,
    /// Whether the server writes nothing to it.
    pub silent: bool,
    /// What lasts of the faults that struck it: `silent`, `stall`, `mute-pings`, `delay`.
    pub faults: Vec<&'static str>,
    /// When the last frame came, in milliseconds since 1970.
    pub last_frame_at: u64,
}

/// A phone that has, or had, linked devices.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// The number.
    pub phone: String,
    /// The person's JID.
    pub jid: String,
    /// The person's hidden JID.
    pub lid: String,
    /// The linked devices.
    pub devices: Vec<DeviceView>,
}

/// A linked device.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    /// Its JID.
    pub jid: Address,
    /// Its hidden JID.
    pub lid: String,
    /// One-time keys that the server has of it.
    pub pre_keys: usize,
    /// Messages that wait for it.
    pub pending: usize,
    /// When it was linked, in milliseconds since 1970.
    pub linked_at: u64,
    /// Whether it is logged in.
    pub connected: bool,
    /// Whether it said that somebody is there.
    pub available: bool,
}

/// `GET /counters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountersView {
    /// What was counted.
    #[serde(flatten)]
    pub tally: Tally,
    /// Connections that their client has not closed.
    pub current: usize,
    /// Messages that wait for a confirmation.
    pub queued: usize,
}

/// `GET /events` and `GET /wait`: which events.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only events after this number.
    pub since: Option<u64>,
    /// Only events of this kind.
    #[serde(rename = "type")]
    pub kind: Option<EventKind>,
    /// Only events of this person or device.
    pub jid: Option<String>,
    /// Only the last so many of them.
    pub last: Option<usize>,
    /// How long to wait for one.
    pub timeout_ms: Option<u64>,
}
