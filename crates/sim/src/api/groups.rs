//! The words about groups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::groups::{Addressing, GroupId, Role};

/// `POST /group`: people make a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupRequest {
    /// What it is called.
    pub subject: Option<String>,
    /// Its JID; a new one when absent.
    pub jid: Option<String>,
    /// Who is in it: phone numbers or JIDs.
    pub participants: Vec<String>,
    /// Who makes it; the first participant when absent.
    pub owner: Option<String>,
    /// How its members are called in stanzas; as in WhatsApp's groups of today when absent.
    #[serde(default)]
    pub addressing_mode: Addressing,
}

/// The group that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupAnswer {
    /// Its JID.
    pub jid: GroupId,
}

/// `GET /groups`: a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Its JID.
    pub jid: GroupId,
    /// What it is called.
    pub subject: String,
    /// Who made it.
    pub owner: String,
    /// When, in seconds since 1970.
    pub created_at: u64,
    /// How its members are called in stanzas.
    pub addressing_mode: Addressing,
    /// Who is in it.
    pub participants: Vec<MemberView>,
}

/// Somebody in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// The person's JID.
    pub jid: String,
    /// The person's hidden JID.
    pub lid: String,
    /// What they may do.
    pub role: Role,
}
