//! The gate that every dial passes: the counterpart of `src/actors/supervisor/gate.rs`, over the real [`holdfast_core::fleet`].

use holdfast_core::connection::Event as Fact;
use holdfast_core::fleet::{Effect, Env, Event, Standing};
use holdfast_core::id::InstanceId;

use super::World;
use super::cell::Child;
use super::fate::{Due, Inbox, Stamp};

impl World<'_> {
    /// An actor says how it stands; the word takes a moment.
    pub(crate) fn says(&mut self, i: usize, stamp: Stamp, standing: Standing) {
        let at = self.now + self.cells[i].random.between(1, 10);
        self.later(at, Due::Stands { i, stamp, standing });
    }

    /// Its word has arrived at the supervisor.
    pub(crate) fn stands(&mut self, i: usize, stamp: Stamp, standing: Standing) {
        let present = self.cells[i]
            .line
            .as_ref()
            .is_some_and(|line| line.generation == stamp.generation && matches!(line.child, Child::Running { .. }));
        if stamp.epoch == self.service.epoch && present {
            self.gate(Event::Stands { id: name(i), standing });
        }
    }

    /// The supervisor says how a child stands that has no actor.
    pub(crate) fn stands_without_actor(&mut self, i: usize, standing: Standing) {
        self.gate(Event::Stands { id: name(i), standing });
    }

    pub(crate) fn leaves_the_fleet(&mut self, i: usize) {
        self.gate(Event::Gone { id: name(i) });
    }

    pub(crate) fn turns_due(&mut self, epoch: u64, token: u64) {
        if epoch == self.service.epoch && token == self.service.turns {
            self.gate(Event::Elapsed);
        }
    }

    fn gate(&mut self, event: Event) {
        let env = Env { now: self.time(), jitter: self.random.unit(), policy: &self.rules.fleet };
        let effects = self.service.fleet.step(event, env);
        for effect in effects {
            match effect {
                Effect::Grant { id, link } => self.tell(&id, Fact::TurnGranted { link }),
                Effect::Hold { id, link, held } => self.tell(&id, Fact::TurnHeld { link, held }),
                Effect::OutageBegan { failing, wanting } => {
                    self.story(|| format!("the host counts as cut off: {failing} of {wanting} failed"));
                }
                Effect::OutageEnded { held, .. } => {
                    self.story(|| format!("the outage of the host is over; {held} waited"));
                }
            }
        }
        self.service.turns += 1;
        if let Some(due) = self.service.fleet.deadline() {
            let (epoch, token) = (self.service.epoch, self.service.turns);
            self.later(due.as_millis().max(self.now), Due::Turns { epoch, token });
        }
    }

    fn tell(&mut self, id: &InstanceId, fact: Fact) {
        let Some(i) = number(id).filter(|_| !self.service.draining) else { return };
        let Some(line) = self.cells[i].line.as_ref().filter(|line| matches!(line.child, Child::Running { .. })) else {
            return;
        };
        let stamp = Stamp { epoch: self.service.epoch, generation: line.generation };
        let at = self.now + self.cells[i].random.between(1, 10);
        self.later(at, Due::Deliver { i, stamp, what: Inbox::Fact(fact) });
    }
}

/// Returns the id of an instance.
pub(crate) fn name(i: usize) -> InstanceId {
    InstanceId::new(i.to_string())
}

/// Returns which instance an id is of.
pub(crate) fn number(id: &InstanceId) -> Option<usize> {
    id.as_str().parse().ok()
}
