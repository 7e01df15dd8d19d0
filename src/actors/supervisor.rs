//! SupervisorActor: keeps the roster, starts and watches InstanceActors, and starts a crashed one again with exponential backoff.
//!
//! actix's own supervisor restarts at once, without limit and not at all after a panic; this one decides with
//! [`holdfast_core::supervision`]. Beyond the intensity a child is parked where everybody can see it.

mod children;
mod commands;
pub mod protocol;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::{Actor, ArbiterHandle, AsyncContext, Context, Recipient, SpawnHandle};
use holdfast_core::id::InstanceId;
use holdfast_core::supervision::RestartPolicy;

use self::roster::Roster;
use crate::actors::health::protocol::{Unwatch, Watch};
use crate::actors::instance::InstanceParts;

/// Commands that may wait for the supervisor.
const MAILBOX: usize = 1024;

/// What the supervisor needs from outside; the parts of its children are made once its own address is known.
pub struct SupervisorParts {
    /// What every child shares, but for the way back to the supervisor.
    pub instance: Box<dyn Fn(Recipient<protocol::ChildExited>) -> InstanceParts + Send>,
    /// The threads over which children are spread; empty runs them on the supervisor's own.
    pub arbiters: Vec<ArbiterHandle>,
    pub watch: Recipient<Watch>,
    pub unwatch: Recipient<Unwatch>,
    pub policy: RestartPolicy,
    /// How many children are started in a second at boot.
    pub starts_per_second: u32,
}

/// The supervisor.
pub struct SupervisorActor {
    parts: SupervisorParts,
    instance: Option<InstanceParts>,
    roster: Roster,
    /// Children that wait for their turn at boot.
    queue: VecDeque<InstanceId>,
    pacer: Option<SpawnHandle>,
    draining: bool,
}

impl SupervisorActor {
    /// Makes a supervisor with an empty roster.
    pub fn new(parts: SupervisorParts) -> Self {
        Self { parts, instance: None, roster: Roster::default(), queue: VecDeque::new(), pacer: None, draining: false }
    }

    /// Starts the next child in the queue, and leaves a gap before the one after it.
    fn start_next(&mut self, ctx: &mut Context<Self>) {
        self.pacer = None;
        while let Some(id) = self.queue.pop_front() {
            if self.start_if_waiting(&id, ctx) {
                let gap = Duration::from_secs(1) / self.parts.starts_per_second.max(1);
                self.pacer = Some(ctx.run_later(gap, Self::start_next));
                return;
            }
        }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.instance = Some((self.parts.instance)(ctx.address().recipient()));
    }
}
