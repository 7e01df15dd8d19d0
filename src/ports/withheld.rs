//! Instances that this process must not dial, though it may own them: what becomes of their logins is still being found out.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use holdfast_core::id::InstanceId;

/// Written by whoever restores, read by whoever starts.
#[derive(Debug, Default)]
pub struct Withheld(RwLock<BTreeSet<InstanceId>>);

impl Withheld {
    /// Withholds an instance, or does not any more.
    pub fn set(&self, id: &InstanceId, withheld: bool) {
        let mut ids = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if withheld {
            ids.insert(id.clone());
        } else {
            ids.remove(id);
        }
    }

    /// Tells whether an instance is withheld.
    pub fn has(&self, id: &InstanceId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Lists them.
    pub fn all(&self) -> BTreeSet<InstanceId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
