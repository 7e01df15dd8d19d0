//! The roster: every instance the supervisor answers for, and what its child is doing.

use std::collections::HashMap;
use std::sync::Arc;

use actix::Addr;
use actix::prelude::SpawnHandle;
use holdfast_core::connection::{Desired, Memory};
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::supervision::CrashRecord;
use holdfast_core::time::Timestamp;
use tokio::sync::oneshot;

use crate::actors::instance::{InstanceActor, InstanceParts, Leash, Scribe};

/// What a child is doing.
pub(super) enum Child {
    /// Its actor runs.
    Running {
        addr: Addr<InstanceActor>,
        since: Timestamp,
        /// How often it was asked whether it turns and has not answered.
        unanswered: u32,
    },
    /// It crashed and is started again when the timer fires.
    Restarting { timer: SpawnHandle },
    /// It crashed too often.
    Quarantined,
    /// It has not been started yet, or has ended on purpose.
    Ended,
}

/// One line of the roster.
pub(super) struct Line {
    pub name: String,
    pub generation: Generation,
    pub child: Child,
    pub crashes: CrashRecord,
    pub last_link: LinkId,
    pub paired: bool,
    pub desired: Desired,
    /// Writes the rows and events of every incarnation, and of the time between them; made when it is first needed.
    pub scribe: Option<Scribe>,
    /// How the last process left it.
    pub memory: Option<Memory>,
    /// Reaches the present incarnation even if it is stuck.
    pub leash: Leash,
    /// How often it was moved to another thread, because it did not turn on the one before.
    pub moves: usize,
    /// Those who wait for the child to end.
    pub farewells: Vec<oneshot::Sender<Farewell>>,
    /// How many deletions of it are under way: nobody starts or connects it meanwhile.
    pub departures: u32,
}

/// How a child has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Farewell {
    /// Whether what it held was saved and closed as it should.
    pub clean: bool,
    /// Whether the phone may still list its device.
    pub listed: bool,
}

impl Line {
    /// Returns what writes the rows and events of this instance.
    pub(super) fn scribe(&mut self, id: &InstanceId, parts: &InstanceParts) -> Scribe {
        let start = || Scribe::start(id.clone(), Arc::clone(&parts.store), &parts.runtime);
        self.scribe.get_or_insert_with(start).clone()
    }
}

/// All lines.
#[derive(Default)]
pub(super) struct Roster {
    lines: HashMap<InstanceId, Line>,
}

impl Roster {
    pub(super) fn insert(&mut self, id: InstanceId, line: Line) {
        self.lines.insert(id, line);
    }

    pub(super) fn get_mut(&mut self, id: &InstanceId) -> Option<&mut Line> {
        self.lines.get_mut(id)
    }

    pub(super) fn remove(&mut self, id: &InstanceId) -> Option<Line> {
        self.lines.remove(id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&InstanceId, &mut Line)> {
        self.lines.iter_mut()
    }
}
