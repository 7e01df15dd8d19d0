//! The words about signs of life: receipts, presence, pings, and what devices are told to look at again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::presence::State;
use crate::reading::Reading;

/// `POST /receipt`: a person got, read or played what a device sent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptRequest {
    /// Who read: a phone number or JID.
    pub from: String,
    /// Whose message: a phone number, or the JID of an account or of one device.
    pub to: String,
    /// Which messages; the last one that this person read when absent.
    pub ids: Option<Vec<String>>,
    /// The group in which they were written: its JID.
    pub group: Option<String>,
    /// What the person did.
    #[serde(rename = "type")]
    pub kind: Reading,
}

/// The receipt that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptAnswer {
    /// For which messages.
    pub ids: Vec<String>,
    /// To how many devices.
    pub hit: usize,
}

/// `POST /presence`: a person comes, goes or types.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresenceRequest {
    /// Who: a phone number or JID.
    pub from: String,
    /// To whom they type: a phone number, or the JID of an account or of one device. Coming and going is for everybody who asked.
    pub to: Option<String>,
    /// The group in which they type: its JID.
    pub group: Option<String>,
    /// What they do.
    pub state: State,
}

/// `POST /dirty`: devices are told that something changed while they did not look.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirtyRequest {
    /// Whose devices: a phone number, or the JID of an account or of one device.
    pub target: String,
    /// What changed: `account_sync`, `groups` and so on.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `POST /ping`: the server asks devices whether they are there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PingRequest {
    /// Whose devices: a phone number, or the JID of an account or of one device.
    pub target: String,
}

/// What a caller does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ringing {
    /// They call.
    #[default]
    Offer,
    /// They give up, because nobody answers.
    Terminate,
}

/// `POST /call`: a person calls an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallRequest {
    /// Who calls: a phone number or JID.
    pub from: String,
    /// Whom: a phone number, or the JID of an account or of one device. Only what is connected hears it.
    pub to: String,
    /// The id of the call; a new one when absent.
    pub id: Option<String>,
    /// What the caller does; they call when absent.
    #[serde(default)]
    pub state: Ringing,
    /// Whether they want to be seen.
    #[serde(default)]
    pub video: bool,
    /// Whether the server says that it comes late, as for a call that rang while nobody was connected.
    #[serde(default)]
    pub offline: bool,
}

/// The call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallAnswer {
    /// Its id.
    pub id: String,
    /// How many connections heard of it.
    pub hit: usize,
}

/// How many devices or connections it concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HitAnswer {
    /// How many.
    pub hit: usize,
}
