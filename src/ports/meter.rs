//! What is measured, whatever becomes of it.

use std::time::Duration;

use holdfast_core::connection::Phase;
use holdfast_core::connection::state::PublicState;

use super::copying::CopyFigures;

/// One thing that is counted or timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A dial begins, because of this: the stable code of an ending, or `start` or `operator`.
    Dialled { why: &'static str },
    /// An open connection was found to have ended, so long after its last proof of life.
    Detected { why: &'static str, after: Duration },
    /// An instance is open again, so long after it ceased to be.
    Recovered { after: Duration },
    /// A ping was answered.
    Ponged { after: Duration },
    /// A ping was not answered in its time.
    PingFailed,
    /// A crashed actor is started again.
    Restarted,
    /// An actor crashed too often.
    Quarantined,
    /// A claim of being open had no proof behind it and was corrected.
    Mismatch,
    /// A request said that it came from another node, and could not show it.
    CredentialRefused,
}

/// What is read of the whole service at one moment.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The version that Evolution's clients are told.
    pub version: String,
    /// The name of this installation.
    pub client_name: String,
    /// The address of this service, as it is set.
    pub server_url: String,
    /// Every instance of this node; the figures of one that is gone are gone.
    pub instances: Vec<Portrait>,
    /// Those of other nodes, and those that nobody owns.
    pub elsewhere: Vec<Sketch>,
    /// Whether those are all of them, each as its owner tells of it.
    pub complete: bool,
    /// How the sink is doing, if the dispatcher has said so.
    pub sink: Option<SinkFigures>,
    /// How it goes with the copies of each layer.
    pub copies: Vec<CopyFigures>,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct Portrait {
    pub name: String,
    pub integration: String,
    pub state: PublicState,
    pub phase: Phase,
    /// Why it is not open.
    pub code: Option<&'static str>,
}

/// An instance that this node does not own.
#[derive(Debug, Clone)]
pub struct Sketch {
    pub name: String,
    pub integration: String,
    pub state: PublicState,
}

/// Deliveries since the process began.
#[derive(Debug, Clone, Copy, Default)]
pub struct SinkFigures {
    pub under_way: usize,
    pub delivered: u64,
    pub failed: u64,
    pub given_up: u64,
}

/// Takes measures, and writes down all of them.
pub trait Meter: Send + Sync {
    /// Takes one; never waits.
    fn note(&self, measure: Measure);

    /// Writes all figures in the format of [`Meter::content_type`].
    fn write(&self, picture: &Picture) -> String;

    /// Names the format.
    fn content_type(&self) -> &'static str;
}
