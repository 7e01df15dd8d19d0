//! Actors on which everything rests: one whose handler panicked is dropped by actix without a word, and the others would go on as if it were
//! there, with nobody who pings, restarts, delivers or renews.

use tokio::sync::mpsc::UnboundedSender;

use crate::failpoint;

/// Held by such an actor: says that it is gone.
#[derive(Debug)]
pub struct Keystone {
    name: &'static str,
    fault: &'static str,
    fell: UnboundedSender<&'static str>,
}

impl Keystone {
    /// Makes the one of the actor with this name. `fault` is the fail point at which a test lets it panic.
    pub fn new(name: &'static str, fault: &'static str, fell: &UnboundedSender<&'static str>) -> Self {
        Self { name, fault, fell: fell.clone() }
    }

    /// Comes by the fail point.
    pub fn passes(&self) {
        failpoint::fails(self.fault);
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        // Nobody may be there any more: the process ends.
        let _told = self.fell.send(self.name);
    }
}
