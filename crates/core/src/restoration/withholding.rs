//! Which instances must not dial, though whoever starts them may own them.

use super::{Action, Decision, Verdict};

impl Decision {
    /// Tells whether the instance must not dial before the decision is carried out. `withheld` says whether that was so until now: a database
    /// that says nothing has not taken it back.
    pub fn withholds(&self, withheld: bool) -> bool {
        if self.verdict == Verdict::DatabaseSilent {
            return withheld;
        }
        self.action.writes() || self.withholds_for_good()
    }

    /// Tells the same once all was done that can be: what goes on elsewhere, or was proved to be set back and cannot be mended yet, is not dialled.
    pub fn withholds_for_good(&self) -> bool {
        let doubtful = matches!(self.verdict, Verdict::UsedElsewhere | Verdict::DatabaseSetBack);
        doubtful && matches!(self.action, Action::Wait | Action::Leave)
    }
}
