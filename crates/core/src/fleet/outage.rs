//! An outage of the host: recognised by the share of failures, ended by the first dial that comes through.

use super::member::Member;
use super::turns::Fleet;
use super::{Effect, Env, Standing};
use crate::id::{InstanceId, LinkId};
use crate::time::Timestamp;

/// An outage that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) since: Timestamp,
    /// Who dials for all.
    pub(super) canary: Option<(InstanceId, LinkId)>,
    /// Canaries that failed.
    tries: u32,
    /// When the next one may dial.
    pub(super) next_at: Timestamp,
}

impl Outage {
    /// The canary's dial failed as everything does: the next one waits longer, and is another instance, for this one waits by itself.
    pub(super) fn canary_failed(&mut self, env: Env<'_>) {
        self.canary = None;
        self.tries = self.tries.saturating_add(1);
        self.next_at = env.now.after(env.policy.canary.delay(self.tries.saturating_add(1), env.jitter));
    }

    /// The canary has left for a reason that says nothing about the network: another takes its place at once.
    pub(super) fn canary_left(&mut self, env: Env<'_>) {
        self.canary = None;
        self.next_at = env.now;
    }
}

impl Fleet {
    /// Judges the network by what an instance says.
    pub(super) fn judge(&mut self, id: &InstanceId, standing: Standing, env: Env<'_>, effects: &mut Vec<Effect>) {
        if self.outage.is_none() {
            if standing == (Standing::Down { network: true }) {
                self.look_for_outage(env, effects);
            }
            return;
        }
        if let Standing::Up { .. } = standing {
            return self.end_outage(env, effects);
        }
        let Some(outage) = &mut self.outage else { return };
        match (&outage.canary, standing) {
            (Some((canary, link)), Standing::Dials { link: dialled } | Standing::Asks { link: dialled, .. })
                if canary == id && *link == dialled => {}
            (Some((canary, _)), Standing::Down { network: true }) if canary == id => outage.canary_failed(env),
            (Some((canary, _)), _) if canary == id => outage.canary_left(env),
            (Some(_) | None, _) => {}
        }
    }

    fn look_for_outage(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        let failing = self.count(|member| member.is_failing(env.now, env.policy.outage_window));
        let wanting = self.count(Member::is_seen);
        if failing < env.policy.outage_min.max(1) || (failing as f64) < env.policy.outage_share * wanting as f64 {
            return;
        }
        let next_at = env.now.after(env.policy.canary.delay(1, env.jitter));
        self.outage = Some(Outage { since: env.now, canary: None, tries: 0, next_at });
        effects.push(Effect::OutageBegan { failing, wanting });
        for (id, member) in &mut self.members {
            if let (Some(place), Standing::Asks { link, .. }) = (member.place, member.standing)
                && place.automatic
            {
                member.held = true;
                effects.push(Effect::Hold { id: id.clone(), link, held: true });
            }
        }
    }

    fn end_outage(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        let Some(outage) = self.outage.take() else { return };
        let held = self.count(|member| member.held);
        effects.push(Effect::OutageEnded { lasted: env.now.since(outage.since), held });
        for (id, member) in &mut self.members {
            // Failures of that outage are no sign of another.
            member.failed = None;
            if std::mem::take(&mut member.held)
                && let Standing::Asks { link, .. } = member.standing
            {
                effects.push(Effect::Hold { id: id.clone(), link, held: false });
            }
        }
    }
}
