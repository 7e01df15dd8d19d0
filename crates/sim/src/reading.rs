//! People reading what devices sent them, which they say when they are asked to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wacore_binary::builder::NodeBuilder;

use crate::address::Address;
use crate::api::Problem;
use crate::api::signs::{ReceiptAnswer, ReceiptRequest};
use crate::groups::GroupId;
use crate::queue::Class;
use crate::world::World;

/// The most messages that one receipt is for, as with WhatsApp.
const MOST_IDS: usize = 256;

/// What a person did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Their phone got it, which it also says of its own accord.
    Delivered,
    /// They read it.
    Read,
    /// They listened to it.
    Played,
}

impl Reading {
    /// As it stands in `type`, which is left out for a mere delivery.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Delivered => None,
            Self::Read => Some("read"),
            Self::Played => Some("played"),
        }
    }
}

impl World {
    /// A person says what they did with messages of an account; every linked device of it hears that.
    ///
    /// # Errors
    /// When a name is wrong, or there is no such message.
    pub fn receipt(&mut self, request: &ReceiptRequest) -> Result<ReceiptAnswer, Problem> {
        let reader = self.somebody(&request.from)?.phone;
        let to = self.somebody(&request.to)?;
        let group = request.group.as_deref().map(|name| self.group_named(name)).transpose()?;
        let meant = |device: &Address| device.phone == to.phone && (to.device == 0 || to.device == device.device);
        let ids = match &request.ids {
            Some(ids) if ids.is_empty() || ids.len() > MOST_IDS => {
                return Err(Problem::bad_request(format!("a receipt is for 1 to {MOST_IDS} messages")));
            }
            Some(ids) => ids.clone(),
            None => {
                let mut read = self.sent.iter().rev().filter(|message| message.to.phone == reader);
                let last = read.find(|message| meant(&message.from) && message.group == group);
                let none = || Problem::not_found(format!("{} has read nothing of {}", request.from, request.to));
                vec![last.ok_or_else(none)?.id.clone()]
            }
        };
        let devices: Vec<Address> =
            self.devices_of(std::iter::once(&to.phone)).into_iter().filter(|device| meant(device)).collect();
        if devices.is_empty() {
            return Err(Problem::conflict(format!("{} has no linked device that could get a receipt", request.to)));
        }
        let Some((first, more)) = ids.split_first() else {
            return Err(Problem::bad_request("a receipt is for a message"));
        };
        let mut receipt = NodeBuilder::new("receipt").attr("id", first.as_str()).attr("t", self.seconds());
        receipt = match &group {
            Some(group) => {
                let addressing = self.addressing(group);
                addressing.participant(receipt.attr("from", group.jid()), &Address::new(reader, 0))
            }
            None => receipt.attr("from", reader.jid()),
        };
        if let Some(kind) = request.kind.as_str() {
            receipt = receipt.attr("type", kind);
        }
        if !more.is_empty() {
            let items = more.iter().map(|id| NodeBuilder::new("item").attr("id", id.as_str()).build());
            receipt = receipt.children([NodeBuilder::new("list").children(items.collect::<Vec<_>>()).build()]);
        }
        let receipt = receipt.build();
        for device in &devices {
            self.enqueue(device, first.clone(), Class::Receipt, &receipt);
        }
        Ok(ReceiptAnswer { hit: devices.len(), ids })
    }

    /// The group that exists under this JID.
    pub(crate) fn group_named(&self, name: &str) -> Result<GroupId, Problem> {
        let id: GroupId = name.parse().map_err(|why: String| Problem::bad_request(why))?;
        if !self.groups.contains_key(&id) {
            return Err(Problem::not_found(format!("there is no group {id}")));
        }
        Ok(id)
    }
}
