//! What one look at the fleet asks a node to do. Every node decides for itself; together they come to rest.

use super::{Share, Survey};

/// The most that is handed over at once: each costs its instance a moment without a connection.
const AT_ONCE: u32 = 10;
/// A surplus is left where it is up to the share divided by this.
const TOLERANCE: u32 = 10;

/// What a node knows besides what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has been in touch with the database for so long that whoever lives has been heard of, too.
    pub settled: bool,
    /// Whether the same nodes have lived for a while.
    pub steady: bool,
}

/// What a node does next. What it neither adopts nor hands over stays where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// How many instances it claims.
    pub adopt: u32,
    /// Whether those of dead nodes are among them.
    pub abandoned: bool,
    /// How many of its own it gives up for another node.
    pub hand_over: u32,
}

/// Decides what the node that looked does about what it saw.
///
/// A share is what each node has if all have the same, rounded up. A node claims up to its share; what has waited too long it claims
/// beyond it, because somebody who should have come has not. It hands over only in a fleet that is at rest, and never more than fits
/// into the shares of the others: together with the rounding that means that what is handed over is claimed by those it was meant for.
#[must_use]
pub fn plan(survey: &Survey, standing: Standing) -> Plan {
    let Some(own) = survey.nodes.iter().find(|node| node.own).filter(|own| !own.draining) else {
        return Plan::default();
    };
    let share = share(survey);
    let missing = share.saturating_sub(own.instances);
    let within = missing.min(survey.free.saturating_add(if standing.settled { survey.abandoned } else { 0 }));
    let overdue = survey.overdue.min(survey.free);
    let at_rest = standing.steady && survey.free == 0 && survey.abandoned == 0;
    Plan {
        adopt: within.max(overdue),
        abandoned: standing.settled && within >= overdue,
        hand_over: if at_rest { surplus(survey, own, share) } else { 0 },
    }
}

fn share(survey: &Survey) -> u32 {
    let held = survey.nodes.iter().fold(0_u32, |sum, node| sum.saturating_add(node.instances));
    let takers = survey.nodes.iter().filter(|node| !node.draining).fold(0_u32, |sum, _| sum.saturating_add(1));
    held.saturating_add(survey.free).saturating_add(survey.abandoned).div_ceil(takers.max(1))
}

fn surplus(survey: &Survey, own: &Share, share: u32) -> u32 {
    let surplus = own.instances.saturating_sub(share);
    if surplus <= share / TOLERANCE {
        return 0;
    }
    let others = survey.nodes.iter().filter(|node| !node.own && !node.draining);
    let room = others.fold(0_u32, |sum, node| sum.saturating_add(share.saturating_sub(node.instances)));
    surplus.min(room).min(AT_ONCE)
}
