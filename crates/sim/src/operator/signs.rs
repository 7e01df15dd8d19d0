//! What can be asked about signs of life.

use super::Operator;
use crate::api::Problem;
use crate::api::signs::{
    CallAnswer, CallRequest, DirtyRequest, HitAnswer, PingRequest, PresenceRequest, ReceiptAnswer, ReceiptRequest,
};

impl Operator {
    /// A person says that they got, read or played what a device sent.
    ///
    /// # Errors
    /// When a name is wrong, or there is no such message.
    pub fn receipt(&self, request: &ReceiptRequest) -> Result<ReceiptAnswer, Problem> {
        self.hub.with(|world| world.receipt(request))
    }

    /// A person comes, goes, or types.
    ///
    /// # Errors
    /// When a name is wrong, or nobody is named to whom they type.
    pub fn presence(&self, request: &PresenceRequest) -> Result<HitAnswer, Problem> {
        self.hub.with(|world| world.be_present(request)).map(|hit| HitAnswer { hit })
    }

    /// A person calls an account, or gives up.
    ///
    /// # Errors
    /// When a name is wrong, the account has no linked device, or the id is none.
    pub fn call(&self, request: &CallRequest) -> Result<CallAnswer, Problem> {
        self.hub.with(|world| world.call(request))
    }

    /// Devices have to look at something again.
    ///
    /// # Errors
    /// When the target is no name or has no linked device, or the kind is none.
    pub fn dirty(&self, request: &DirtyRequest) -> Result<HitAnswer, Problem> {
        self.hub.with(|world| world.make_dirty(request)).map(|hit| HitAnswer { hit })
    }

    /// The server asks devices whether they are there.
    ///
    /// # Errors
    /// When the target is no name, or has no linked device.
    pub fn ping(&self, request: &PingRequest) -> Result<HitAnswer, Problem> {
        self.hub.with(|world| world.ping_devices(&request.target)).map(|hit| HitAnswer { hit })
    }
}
