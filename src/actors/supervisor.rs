//! SupervisorActor: keeps the roster, starts and watches InstanceActors, and starts a crashed one again with exponential backoff.
//!
//! actix's own supervisor restarts at once, without limit and not at all after a panic; this one decides with
//! [`holdfast_core::supervision`]. Beyond the intensity a child is parked where everybody can see it.

mod children;
mod commands;
mod departure;
mod draining;
mod gate;
pub mod protocol;
mod reading;
mod roster;
mod stuck;
mod tenancy;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::{Actor, ArbiterHandle, AsyncContext, Context, Recipient, SpawnHandle};
use holdfast_core::fleet::{self, Fleet};
use holdfast_core::id::InstanceId;
use holdfast_core::supervision::RestartPolicy;
use holdfast_core::time::Timestamp;

use self::protocol::Upward;
use self::roster::{Former, Roster};
use crate::actors::health::protocol::{Unwatch, Watch};
use crate::actors::instance::InstanceParts;
use crate::actors::keystone::Keystone;
use crate::ports::withheld::Withheld;

/// Commands that may wait for the supervisor.
const MAILBOX: usize = 1024;

/// What the supervisor needs from outside; the parts of its children are made once its own address is known.
pub struct SupervisorParts {
    /// What every child shares, but for the way back to the supervisor.
    pub instance: Box<dyn Fn(Upward) -> InstanceParts + Send>,
    /// The threads over which children are spread; empty runs them on the supervisor's own.
    pub arbiters: Vec<ArbiterHandle>,
    pub watch: Recipient<Watch>,
    pub unwatch: Recipient<Unwatch>,
    pub policy: RestartPolicy,
    /// Who may dial when.
    pub fleet: fleet::Policy,
    /// Those that are not put on the roster, though this node may own them.
    pub withheld: Arc<Withheld>,
}

/// The supervisor.
pub struct SupervisorActor {
    parts: SupervisorParts,
    instance: Option<InstanceParts>,
    roster: Roster,
    /// Who may dial now.
    fleet: Fleet,
    turns: Option<SpawnHandle>,
    /// How far those were that went to other nodes, should they come back.
    former: HashMap<InstanceId, Former>,
    /// What has left the roster, and which looks at the leases are too old to bring it back.
    left: HashMap<InstanceId, Timestamp>,
    /// Restarts after crashes.
    restarts: u64,
    draining: bool,
    keystone: Option<Keystone>,
}

impl SupervisorActor {
    /// Makes a supervisor with an empty roster.
    pub fn new(parts: SupervisorParts) -> Self {
        Self {
            parts,
            instance: None,
            roster: Roster::default(),
            fleet: Fleet::new(),
            turns: None,
            former: HashMap::new(),
            left: HashMap::new(),
            restarts: 0,
            draining: false,
            keystone: None,
        }
    }

    /// Lets it say when it is gone.
    #[must_use]
    pub fn holding(self, keystone: Keystone) -> Self {
        Self { keystone: Some(keystone), ..self }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let (exited, stands, here) = (ctx.address().recipient(), ctx.address().recipient(), ctx.address().recipient());
        self.instance = Some((self.parts.instance)(Upward { exited, stands, here }));
        Self::look_again(ctx);
    }
}
