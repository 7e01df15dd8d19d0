//! Who wants to know that an instance has changed in the database: told after the commit, by whoever has written it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use holdfast_core::id::InstanceId;

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// What a copy of the instance holds.
    Content,
    /// Its login, or the instance itself, is gone.
    End,
}

/// Is told of changes.
pub trait Observer: Send + Sync {
    /// This has changed. Must not wait.
    fn changed(&self, id: &InstanceId, change: Change);
}

/// Those who are told.
#[derive(Default)]
pub struct Changes {
    observers: RwLock<Vec<Arc<dyn Observer>>>,
}

impl Changes {
    /// Tells this one too, from now on.
    pub fn tell(&self, observer: Arc<dyn Observer>) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Tells everybody.
    pub fn note(&self, changed: &[(InstanceId, Change)]) {
        let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner);
        for observer in observers.iter() {
            for (id, change) in changed {
                observer.changed(id, *change);
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}
