//! The roster: every instance the supervisor answers for, and what its child is doing.

use std::collections::HashMap;
use std::sync::Arc;

use actix::Addr;
use actix::prelude::SpawnHandle;
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, DownReason, Memory, Verdict};
use holdfast_core::event::remembered_end;
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::supervision::CrashRecord;
use holdfast_core::time::Timestamp;
use tokio::sync::oneshot;

use super::protocol::CommandError;
use crate::actors::instance::{InstanceActor, InstanceParts, Leash, Scribe};
use crate::ports::clock::Clock;
use crate::ports::store::InstanceRecord;

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
    /// Its row is being read, from which it is started; until then, and if that cannot be read, it is `otherwise`.
    Reading { reading: SpawnHandle, otherwise: Otherwise },
    /// It crashed too often.
    Quarantined,
    /// It has not been started yet, or has ended on purpose.
    Ended,
}

/// What a child is whose row is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It crashed and is started again.
    Restarts,
    /// It crashed too often, and an operator wants it back.
    Quarantined,
    /// It does not run, and an operator wants it to.
    Ended,
}

/// What its row says about an instance that is about to be started.
#[derive(Debug)]
pub(super) struct Known {
    pub paired: bool,
    /// How it was parked.
    pub memory: Option<Memory>,
}

impl Known {
    /// Takes from a row what an actor begins with.
    pub(super) fn of(record: &InstanceRecord, clock: Clock) -> Self {
        Self { paired: record.paired, memory: memory(record, clock) }
    }
}

/// How often, and since when, a row could not be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread {
    pub failures: u32,
    pub since: Timestamp,
}

/// One line of the roster.
pub(super) struct Line {
    pub name: String,
    pub generation: Generation,
    pub child: Child,
    pub crashes: CrashRecord,
    pub last_link: LinkId,
    /// What the operator wants, as the last actor knew it; it may not be stored yet.
    pub desired: Desired,
    /// What its row says; taken by the next actor, so that it is read again for the one after it.
    pub known: Option<Known>,
    pub unread: Option<Unread>,
    /// Those who wait for the child to be started.
    pub callers: Vec<oneshot::Sender<Result<Addr<InstanceActor>, CommandError>>>,
    /// The state that its row claimed when it was put on the roster.
    pub claimed: PublicState,
    /// Writes the rows and events of every incarnation, and of the time between them; made when it is first needed.
    pub scribe: Option<Scribe>,
    /// Reaches the present incarnation even if it is stuck.
    pub leash: Leash,
    /// How often it was moved to another thread, because it did not turn on the one before.
    pub moves: usize,
    /// Those who wait for the child to end.
    pub farewells: Vec<oneshot::Sender<Farewell>>,
    /// How many deletions of it are under way: nobody starts or connects it meanwhile.
    pub departures: u32,
    /// Whether it could not be closed for another node; it is not tried again.
    pub clings: bool,
    /// When it was put on the roster: an older answer does not know that it is ours.
    pub since: Timestamp,
}

/// How far an instance was that has gone to another node: should it come back, nothing that is left of it is taken for its successor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Former {
    pub generation: Generation,
    pub last_link: LinkId,
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
        let start = || Scribe::start(id.clone(), self.claimed, Arc::clone(&parts.store), &parts.runtime);
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

    pub(super) fn has(&self, id: &InstanceId) -> bool {
        self.lines.contains_key(id)
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

/// Reads from a row how the instance was parked; nothing if it was online since.
fn memory(record: &InstanceRecord, clock: Clock) -> Option<Memory> {
    let at = record.disconnection_at?;
    if record.last_online_at.is_some_and(|online| online > at) {
        return None;
    }
    let why = remembered_end(record.disconnection_object.as_deref()?)?;
    let retry = match (&why, why.verdict()) {
        (DownReason::TemporaryBan { .. }, Verdict::WaitOut(ban)) => {
            let gone = (clock.wall() - at).to_std().unwrap_or_default();
            Some(clock.now().after(ban.saturating_sub(gone)))
        }
        _ => None,
    };
    Some(Memory { why, retry })
}
