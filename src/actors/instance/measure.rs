//! What a step means in figures.

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{DownReason, Effect, Event};
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;

use super::InstanceActor;
use crate::ports::meter::Measure;

/// Names what a dial in this step is made for, if the event says it; otherwise it is what kept the instance from being connected.
pub(super) fn cause(event: &Event) -> Option<&'static str> {
    match event {
        Event::LinkDown { why: DownReason::Requested, .. } => None,
        Event::LinkDown { why, .. } => Some(why.code()),
        Event::Booted { .. } => Some("start"),
        Event::Connect { .. }
        | Event::Restart
        | Event::Rerouted
        | Event::LogOut
        | Event::Delete { .. }
        | Event::Expire
        | Event::Shutdown { .. } => Some("operator"),
        Event::Elapsed
        | Event::PingDue
        | Event::TurnGranted { .. }
        | Event::TurnHeld { .. }
        | Event::QrShown { .. }
        | Event::CodeShown { .. }
        | Event::Paired { .. }
        | Event::Authenticated { .. }
        | Event::Ready { .. }
        | Event::Proof { .. }
        | Event::Pong { .. }
        | Event::PingFailed { .. }
        | Event::Saved { .. }
        | Event::Unlinked { .. } => None,
    }
}

impl InstanceActor {
    pub(super) fn measure(
        &mut self,
        before: &InstanceStatus,
        effects: &[Effect],
        cause: Option<&'static str>,
        now: Timestamp,
    ) {
        let meter = &self.parts.meter;
        let trouble = self.machine.trouble().map(|trouble| trouble.why.code());
        if cause.is_some() {
            // The dial comes when its turn does.
            self.dial_cause = cause;
        }
        if effects.iter().any(|effect| matches!(effect, Effect::OpenLink { .. })) {
            meter.note(Measure::Dialled { why: self.dial_cause.take().or(trouble).unwrap_or("operator") });
        }
        match (before.phase.public(), self.machine.state.phase().public()) {
            (PublicState::Open, PublicState::Open) => {}
            (PublicState::Open, after) => {
                let why = trouble.or(cause).unwrap_or("operator");
                if let (Some(proof), false) = (before.proof, why == "operator") {
                    meter.note(Measure::Detected { why, after: now.since(proof) });
                }
                // Of what was stopped on purpose nobody expects to come back by itself.
                self.lost = (after == PublicState::Connecting && why != "operator").then_some(now);
            }
            (_, PublicState::Open) => {
                if let Some(lost) = self.lost.take() {
                    meter.note(Measure::Recovered { after: now.since(lost) });
                }
            }
            (_, PublicState::Close) => self.lost = None,
            (_, PublicState::Connecting) => {}
        }
    }
}
