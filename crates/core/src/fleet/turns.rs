//! The queue, the turns, and the step.

use std::collections::BTreeMap;

use super::limits::Pace;
use super::member::{Member, Place, Turn};
use super::outage::Outage;
use super::{Effect, Env, Event, Standing, View};
use crate::id::InstanceId;
use crate::time::Timestamp;

/// The dials of the whole service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    pub(super) members: BTreeMap<InstanceId, Member>,
    pub(super) outage: Option<Outage>,
    queue: BTreeMap<Place, InstanceId>,
    pace: Pace,
    last_place: u64,
    in_flight: usize,
    due: Option<Timestamp>,
}

impl Fleet {
    /// Makes the gate of a service without instances.
    pub fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            outage: None,
            queue: BTreeMap::new(),
            pace: Pace::new(),
            last_place: 0,
            in_flight: 0,
            due: None,
        }
    }

    /// Takes one event and returns what to do about it, in order.
    #[must_use]
    pub fn step(&mut self, event: Event, env: Env<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.expire(env);
        match event {
            Event::Stands { id, standing } => self.stands(&id, standing, env, &mut effects),
            Event::Gone { id } => {
                self.stands(&id, Standing::Out, env, &mut effects);
                self.members.remove(&id);
            }
            Event::Elapsed => {}
        }
        self.give_turns(env, &mut effects);
        self.due = self.next_due(env);
        effects
    }

    /// Returns the moment at which the shell must feed [`Event::Elapsed`].
    pub fn deadline(&self) -> Option<Timestamp> {
        self.due
    }

    /// Returns what people are told.
    pub fn view(&self) -> View {
        let outage = self.outage.as_ref();
        View {
            outage_since: outage.map(|outage| outage.since),
            canary: outage.and_then(|outage| outage.canary.as_ref().map(|(id, _)| id.clone())),
            next_canary_at: outage.filter(|outage| outage.canary.is_none()).map(|outage| outage.next_at),
            in_flight: self.in_flight,
            waiting: self.queue.len(),
            held: self.count(|member| member.held),
            wanting: self.count(|member| member.standing != Standing::Out),
            up: self.count(|member| matches!(member.standing, Standing::Up { .. })),
        }
    }

    pub(super) fn count(&self, which: impl Fn(&Member) -> bool) -> usize {
        self.members.values().filter(|member| which(member)).count()
    }

    fn stands(&mut self, id: &InstanceId, standing: Standing, env: Env<'_>, effects: &mut Vec<Effect>) {
        let member = self.members.entry(id.clone()).or_insert_with(Member::new);
        if let (Some(turn), Standing::Asks { link, .. }) = (member.turn, standing)
            && turn.link == link
        {
            // The turn was lost on its way, or has crossed with the question.
            return effects.push(Effect::Grant { id: id.clone(), link });
        }
        if member.turn.is_some_and(|turn| standing != (Standing::Dials { link: turn.link })) {
            member.turn = None;
            self.in_flight -= 1;
        }
        member.notice_failure(standing, env.now, env.policy.outage_window);
        member.standing = standing;
        self.judge(id, standing, env, effects);
        self.queue_up(id, standing, effects);
    }

    /// Gives an instance its place in the queue, or takes it out.
    fn queue_up(&mut self, id: &InstanceId, standing: Standing, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let wanted = if let Standing::Asks { link, urgent } = standing { Some((link, !urgent)) } else { None };
        let keeps =
            wanted.is_some() && member.place.map(|place| place.automatic) == wanted.map(|(_, automatic)| automatic);
        if !keeps {
            if let Some(place) = member.place.take() {
                self.queue.remove(&place);
            }
            member.held = false;
        }
        let Some((link, automatic)) = wanted else { return };
        if !keeps {
            self.last_place += 1;
            let place = Place { automatic, number: self.last_place };
            member.place = Some(place);
            self.queue.insert(place, id.clone());
        }
        if automatic && self.outage.is_some() {
            // Told again to who says again that it asks: it may be a new actor, which does not know.
            member.held = true;
            effects.push(Effect::Hold { id: id.clone(), link, held: true });
        }
    }

    /// Ends turns of which nobody has said how they went.
    fn expire(&mut self, env: Env<'_>) {
        for (id, member) in &mut self.members {
            if member.turn.is_some_and(|turn| env.now >= turn.until) {
                member.turn = None;
                self.in_flight -= 1;
                if let Some(outage) = &mut self.outage
                    && outage.canary.as_ref().is_some_and(|(canary, _)| canary == id)
                {
                    outage.canary_failed(env);
                }
            }
        }
    }

    fn give_turns(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        while let Some((place, from)) = self.next(env) {
            if env.now < from || !self.pace.take(env.now, env.policy.per_second) {
                break;
            }
            let Some(id) = self.queue.remove(&place) else { break };
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.place = None;
            member.held = false;
            let Standing::Asks { link, .. } = member.standing else { continue };
            member.turn = Some(Turn { link, until: env.now.after(env.policy.turn_lasts) });
            self.in_flight += 1;
            if let Some(outage) = self.outage.as_mut().filter(|_| place.automatic) {
                outage.canary = Some((id.clone(), link));
            }
            effects.push(Effect::Grant { id, link });
        }
    }

    /// Returns who is next and from when on, as far as the slots and an outage say; the pace comes on top.
    fn next(&self, env: Env<'_>) -> Option<(Place, Timestamp)> {
        if self.in_flight >= env.policy.concurrency.max(1) {
            return None;
        }
        let first = *self.queue.keys().next()?;
        if !first.automatic {
            return Some((first, env.now));
        }
        match &self.outage {
            Some(outage) if outage.canary.is_some() => None,
            Some(outage) => Some((first, outage.next_at)),
            None => (self.in_flight < env.policy.automatic()).then_some((first, env.now)),
        }
    }

    fn next_due(&self, env: Env<'_>) -> Option<Timestamp> {
        let turn = self.next(env).map(|(_, from)| from.max(self.pace.ready_at(env.now, env.policy.per_second)));
        let expiry = self.members.values().filter_map(|member| member.turn).map(|turn| turn.until).min();
        turn.into_iter().chain(expiry).min()
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}
