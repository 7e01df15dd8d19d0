//! The shell of [`holdfast_core::fleet`]: children say how they stand, and are told when they may dial.

use actix::prelude::{AsyncContext, Context, Handler};
use holdfast_core::connection::Event as Fact;
use holdfast_core::fleet::{Effect, Env, Event, Standing};
use holdfast_core::id::InstanceId;
use tracing::{info, warn};

use super::SupervisorActor;
use super::protocol::Stands;
use super::roster::{Child, Otherwise};
use crate::actors::instance::protocol::Command;
use crate::ports::board::FleetStatus;
use crate::ports::chance;

impl Handler<Stands> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, stands: Stands, ctx: &mut Self::Context) {
        let Some(line) = self.roster.get_mut(&stands.id) else { return };
        if line.generation != stands.generation || !matches!(line.child, Child::Running { .. }) {
            return;
        }
        line.last_link = stands.last_link;
        line.desired = stands.desired;
        self.stands(stands.id, stands.standing, ctx);
    }
}

impl SupervisorActor {
    /// Tells the gate how a child stands.
    pub(super) fn stands(&mut self, id: InstanceId, standing: Standing, ctx: &mut Context<Self>) {
        self.gate(Event::Stands { id, standing }, ctx);
    }

    /// Takes one step of the gate: tells those whose turn it is, and arms the timer for the next.
    pub(super) fn gate(&mut self, event: Event, ctx: &mut Context<Self>) {
        let Some(instance) = &self.instance else { return };
        let now = instance.clock.now();
        let env = Env { now, jitter: chance::unit(), policy: &self.parts.fleet };
        for effect in self.fleet.step(event, env) {
            match effect {
                Effect::Grant { id, link } => self.tell(&id, Fact::TurnGranted { link }),
                Effect::Hold { id, link, held } => self.tell(&id, Fact::TurnHeld { link, held }),
                Effect::OutageBegan { failing, wanting } => {
                    warn!(
                        failing,
                        wanting,
                        "This host seems to be cut off: {failing} of {wanting} instances failed at once; one at a time keeps trying, and the others wait for it"
                    );
                }
                Effect::OutageEnded { lasted, held } => {
                    info!(
                        held,
                        seconds = lasted.as_secs(),
                        "The outage of this host is over after {} s; {held} instances that waited dial in their turn",
                        lasted.as_secs()
                    );
                }
            }
        }
        if let Some(timer) = self.turns.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = self.fleet.deadline() {
            self.turns = Some(ctx.run_later(now.until(due), |supervisor, ctx| supervisor.gate(Event::Elapsed, ctx)));
        }
        self.show();
    }

    #[expect(clippy::disallowed_methods, reason = "two answers to one question; the child asks again if one is lost")]
    fn tell(&mut self, id: &InstanceId, fact: Fact) {
        if self.draining {
            return;
        }
        if let Some(line) = self.roster.get_mut(id)
            && let Child::Running { addr, .. } = &line.child
        {
            addr.do_send(Command(fact));
        }
    }

    /// Hangs up how the fleet does.
    pub(super) fn show(&mut self) {
        let mut status = FleetStatus { dials: self.fleet.view(), restarts: self.restarts, ..FleetStatus::default() };
        for (_, line) in self.roster.iter_mut() {
            match line.child {
                Child::Running { .. } => status.running += 1,
                Child::Restarting { .. } | Child::Reading { otherwise: Otherwise::Restarts, .. } => {
                    status.restarting += 1;
                }
                Child::Quarantined | Child::Reading { otherwise: Otherwise::Quarantined, .. } => {
                    status.quarantined += 1;
                }
                Child::Ended | Child::Reading { otherwise: Otherwise::Ended, .. } => {}
            }
        }
        if let Some(instance) = &self.instance {
            instance.board.hang_fleet(status);
        }
    }
}
