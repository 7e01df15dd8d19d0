//! What can be asked about groups.

use super::Operator;
use crate::api::Problem;
use crate::api::groups::{GroupAnswer, GroupRequest, GroupView};

impl Operator {
    /// People make a group.
    ///
    /// # Errors
    /// When a name is wrong, or the group exists.
    pub fn group(&self, request: &GroupRequest) -> Result<GroupAnswer, Problem> {
        self.hub.with(|world| world.create_group(request)).map(|jid| GroupAnswer { jid })
    }

    /// The groups there are.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        self.hub.with(|world| world.groups())
    }
}
