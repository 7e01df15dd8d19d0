//! How instances come back at the start: each place is asked what it holds, the core decides, copies are written into the database where it
//! lacks a login that another place has, and everybody can read how far it is.
//!
//! | file | noun |
//! |---|---|
//! | `survey` | what the places say, and what is decided from it |
//! | `adoption` | what is done about it; no instance dials before that is done for it |
//! | `watch` | how long each takes to be open, and what is told of those that are not |
//! | `view` | a line of the report, as it is told |

mod adoption;
mod survey;
pub mod view;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_core::restoration::Memory;
use tokio::runtime::Handle;

pub use self::adoption::{Adopter, Settling};
pub use self::survey::{Places, Survey, survey};
pub use self::watch::{Watched, watch};
use crate::ports::clock::Clock;
use crate::ports::neighbours::Neighbours;
use crate::ports::restoration::Restoration;
use crate::ports::withheld::Withheld;

/// What all steps work with.
#[derive(Clone)]
pub struct Tools {
    pub clock: Clock,
    /// Where sockets and SQL run.
    pub runtime: Handle,
    /// What is told.
    pub report: Arc<Restoration>,
    /// The engines of other databases, as far as they were heard.
    pub neighbours: Arc<Neighbours>,
    /// What earlier rounds have shown.
    pub memory: Arc<Mutex<Memory>>,
    /// Those that must not dial yet.
    pub withheld: Arc<Withheld>,
}

impl Tools {
    /// Reads and writes what is remembered.
    fn remembering<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
