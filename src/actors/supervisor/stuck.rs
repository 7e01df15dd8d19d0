//! Children that do not turn any more: they are asked from time to time, and replaced if they do not answer.

use std::time::Duration;

use actix::prelude::{AsyncContext, Context, Handler};
use holdfast_core::id::InstanceId;
use holdfast_core::supervision::ExitReason;
use tracing::error;

use super::SupervisorActor;
use super::protocol::StillHere;
use super::roster::{Child, Farewell};
use crate::actors::instance::protocol::AreYouThere;
use crate::ports::link::SealReason;

/// How often a child is asked whether it turns.
const LOOK: Duration = Duration::from_secs(15);
/// Questions without an answer after which it is replaced.
const UNANSWERED: u32 = 3;

impl SupervisorActor {
    /// Looks at the children after a while. Each look is armed by the one before, so that a process that was stopped for an hour gives its
    /// children the time of one look to answer.
    pub(super) fn look_again(ctx: &mut Context<Self>) {
        ctx.run_later(LOOK, |supervisor, ctx| {
            supervisor.look(ctx);
            Self::look_again(ctx);
        });
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let mut stuck = Vec::new();
        for (id, line) in self.roster.iter_mut() {
            let Child::Running { addr, unanswered, .. } = &mut line.child else { continue };
            if *unanswered >= UNANSWERED {
                stuck.push(id.clone());
                continue;
            }
            *unanswered += 1;
            // A mailbox that is full is no answer either.
            let _full = addr.try_send(AreYouThere);
        }
        for id in stuck {
            self.replace(&id, ctx);
        }
    }

    /// Gives up on an actor that cannot even be stopped. Its link is sealed first, so that nothing of it meets its successor.
    fn replace(&mut self, id: &InstanceId, ctx: &mut Context<Self>) {
        let listed = self.paired(id);
        let Some(line) = self.roster.get_mut(id) else { return };
        let generation = line.generation;
        line.leash.cut(SealReason::ActorGone);
        line.moves = line.moves.wrapping_add(1);
        error!(instance.id = %id, generation = generation.0, "Instance {id} has not turned for {} s; it is replaced", LOOK.as_secs() * u64::from(UNANSWERED));
        let last = Farewell { clean: false, listed };
        self.ended(id, ExitReason::Failed, last, ctx);
    }
}

impl Handler<StillHere> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, answer: StillHere, _: &mut Self::Context) {
        if let Some(line) = self.roster.get_mut(&answer.id)
            && line.generation == answer.generation
            && let Child::Running { unanswered, .. } = &mut line.child
        {
            *unanswered = 0;
        }
    }
}
