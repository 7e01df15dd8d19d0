//! The board on which every instance's status hangs, for everybody to read and nobody to wait for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use holdfast_core::event::Owner;
use holdfast_core::fleet::View;
use holdfast_core::id::InstanceId;
use holdfast_core::status::InstanceStatus;
use tokio::sync::watch;

/// The code that is to be scanned or typed at present.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PairingView {
    /// The text of the QR code.
    pub qr: Option<String>,
    /// The code to be typed on the phone.
    pub code: Option<String>,
    /// The number of that phone.
    pub number: Option<String>,
    /// How many QR codes were shown since the operator asked.
    pub count: u32,
}

impl fmt::Debug for PairingView {
    /// Whoever reads a code can link a device of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.qr.is_some() || self.code.is_some();
        f.debug_struct("PairingView").field("shown", &shown).field("count", &self.count).finish_non_exhaustive()
    }
}

/// What is known of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its token; compared in constant time, never logged.
    pub token: Token,
    /// What connects it to WhatsApp, as its row says.
    pub integration: String,
    /// Its status.
    pub status: InstanceStatus,
    /// What is to be scanned or typed; empty unless pairing.
    pub pairing: PairingView,
    /// Whose account it is.
    pub owner: Owner,
}

/// An API key that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How the dials of the fleet go, and how the supervisor's children do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetStatus {
    /// Who dials, and who waits for it.
    pub dials: View,
    /// Instances whose actor runs.
    pub running: usize,
    /// Instances that wait to be started again after a crash.
    pub restarting: usize,
    /// Instances that crashed too often.
    pub quarantined: usize,
    /// Restarts after crashes since the service started.
    pub restarts: u64,
}

/// The board.
#[derive(Debug, Default)]
pub struct Board {
    hung: RwLock<Hung>,
    fleet: RwLock<FleetStatus>,
}

#[derive(Debug, Default)]
struct Hung {
    entries: HashMap<InstanceId, watch::Sender<Entry>>,
    names: HashMap<String, InstanceId>,
}

impl Board {
    /// Hangs up an instance, or replaces what hangs there.
    pub fn hang(&self, id: &InstanceId, entry: Entry) {
        let mut hung = self.hung.write().unwrap_or_else(PoisonError::into_inner);
        hung.names.insert(entry.name.clone(), id.clone());
        match hung.entries.get(id) {
            Some(sender) => {
                sender.send_replace(entry);
            }
            None => {
                hung.entries.insert(id.clone(), watch::Sender::new(entry));
            }
        }
    }

    /// Changes what hangs there, and wakes who waits if `change` says that something changed.
    pub fn update(&self, id: &InstanceId, change: impl FnOnce(&mut Entry) -> bool) {
        let hung = self.hung.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = hung.entries.get(id) {
            sender.send_if_modified(change);
        }
    }

    /// Takes an instance down; who waits for it learns that it is gone.
    pub fn take_down(&self, id: &InstanceId) {
        let mut hung = self.hung.write().unwrap_or_else(PoisonError::into_inner);
        hung.entries.remove(id);
        hung.names.retain(|_, named| named != id);
    }

    /// Hangs up how the fleet does.
    pub fn hang_fleet(&self, status: FleetStatus) {
        *self.fleet.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Reads how the fleet does.
    pub fn fleet(&self) -> FleetStatus {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds an instance by its name.
    pub fn by_name(&self, name: &str) -> Option<(InstanceId, watch::Receiver<Entry>)> {
        let hung = self.hung.read().unwrap_or_else(PoisonError::into_inner);
        let id = hung.names.get(name)?;
        Some((id.clone(), hung.entries.get(id)?.subscribe()))
    }

    /// Reads one entry.
    pub fn get(&self, id: &InstanceId) -> Option<Entry> {
        let hung = self.hung.read().unwrap_or_else(PoisonError::into_inner);
        hung.entries.get(id).map(|sender| sender.borrow().clone())
    }

    /// Subscribes to one entry.
    pub fn watch(&self, id: &InstanceId) -> Option<watch::Receiver<Entry>> {
        let hung = self.hung.read().unwrap_or_else(PoisonError::into_inner);
        hung.entries.get(id).map(watch::Sender::subscribe)
    }

    /// Reads all entries, in no particular order.
    pub fn all(&self) -> Vec<(InstanceId, Entry)> {
        let hung = self.hung.read().unwrap_or_else(PoisonError::into_inner);
        hung.entries.iter().map(|(id, sender)| (id.clone(), sender.borrow().clone())).collect()
    }
}
