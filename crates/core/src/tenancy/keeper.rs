//! When a node renews its leases and looks at the fleet, and what follows if it cannot.
//!
//! ```text
//!   renewal --ok--> hold until (asked + ttl - a tenth) --> next renewal after renew_every
//!      |  failed: again soon                  | passed without another: LAPSE
//!      v                                      v
//!   again soon                     everything is sealed, and the answer to that waited for; only then is it renewed, and held, again
//! ```
//!
//! Nothing is held again while a link may still be open that was opened under the lease that ended: the instance may be another's.

use std::time::Duration;

use super::plan::{Plan, Standing, plan};
use super::{Survey, deadline};
use crate::backoff::Backoff;
use crate::time::Timestamp;

/// How often a node looks at the fleet.
const SWEEP: Duration = Duration::from_secs(2);
/// How often while another node stops: what it lets go of is dark until somebody takes it.
const SWEEP_WHILE_STOPPING: Duration = Duration::from_millis(500);

/// The rules of leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a lease holds without a renewal.
    pub ttl: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
}

impl Policy {
    /// Returns the time in which every node that lives is heard of.
    fn settling(&self) -> Duration {
        self.renew_every * 2
    }

    /// Returns how long a renewal, or a look, may take before it counts as failed.
    pub fn patience(&self) -> Duration {
        self.renew_every / 2
    }

    /// Returns the waits between renewals that fail: several fit into the time that is left after the first.
    fn retry(&self) -> Backoff {
        Backoff { base: self.renew_every / 16, cap: self.renew_every / 4 }
    }
}

/// What a step may know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// A fresh random number from 0 to 1.
    pub jitter: f64,
    /// The rules.
    pub policy: &'a Policy,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The roster holds what this node owns: the fleet may be looked at.
    Manned,
    /// The leases were renewed; it was asked for at `asked_at`. The first of them begins everything.
    Renewed { asked_at: Timestamp },
    /// They could not be.
    RenewFailed,
    /// Another process has this node's name.
    Usurped,
    /// Nothing leaves any link that was open when [`Effect::Lapse`] was asked for.
    Sealed,
    /// This is how the fleet is.
    Surveyed(Survey),
    /// What a look at the fleet has led to is done, or could not be.
    SweepOver,
    /// The service is stopping: nothing more is taken.
    Retired,
    /// It has left the fleet.
    Left,
    /// The deadline has come.
    Elapsed,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Renew the leases; answered by `Renewed`, `RenewFailed` or `Usurped`.
    Renew,
    /// The leases hold until then.
    Hold { until: Timestamp },
    /// They do not hold any more: seal every link; answered by `Sealed`.
    Lapse,
    /// They hold again.
    Resume,
    /// Stop the service.
    Stop,
    /// Look at the fleet; answered by `Surveyed` or `SweepOver`.
    Survey,
    /// Claim instances; answered by `SweepOver`.
    Adopt { most: u32, abandoned: bool },
    /// Give up instances for another node; answered by `SweepOver`.
    HandOver { most: u32 },
}

/// Since when there was no gap in what is heard of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// There never was one: whoever looks dead to a node that is new is dead.
    Always,
    Since(Timestamp),
    Lost,
}

/// How far the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing is held yet.
    Joining,
    /// It holds leases; the roster is being filled.
    Holding,
    /// It takes part in everything.
    Sharing,
    /// It renews, and takes nothing more.
    Retired,
    /// It does nothing any more.
    Over,
}

/// What becomes of the leases of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    stage: Stage,
    /// Until when this process may act; `None` before the first renewal and after a lapse.
    holds_until: Option<Timestamp>,
    lapsed: bool,
    /// A lapse was told, and it is not known yet that every link is sealed.
    sealing: bool,
    renewing: bool,
    renew_at: Timestamp,
    failures: u32,
    renewed_at: Timestamp,
    touch: Touch,
    sweeping: bool,
    sweep_at: Timestamp,
    /// Whether another node was stopping, and had instances, at the last look.
    stopping: bool,
    /// The nodes that take instances, and since when they are these.
    takers: Vec<String>,
    takers_since: Timestamp,
}

impl Keeper {
    /// Makes the keeper of a node that has joined the fleet and holds nothing yet.
    pub fn new() -> Self {
        let start = Timestamp::default();
        Self {
            stage: Stage::Joining,
            holds_until: None,
            lapsed: false,
            sealing: false,
            renewing: false,
            renew_at: start,
            failures: 0,
            renewed_at: start,
            touch: Touch::Always,
            sweeping: false,
            sweep_at: start,
            stopping: false,
            takers: Vec::new(),
            takers_since: start,
        }
    }

    /// Tells whether the leases hold, as far as the last step knew.
    pub fn holds(&self) -> bool {
        self.holds_until.is_some() && !self.sealing
    }

    /// Returns the moment at which the shell must feed [`Event::Elapsed`].
    pub fn deadline(&self) -> Option<Timestamp> {
        if matches!(self.stage, Stage::Joining | Stage::Over) {
            return None;
        }
        let renewal = (!self.renewing && !self.sealing).then_some(self.renew_at);
        let sweep = self.may_sweep().then_some(self.sweep_at);
        [self.holds_until, renewal, sweep].into_iter().flatten().min()
    }

    /// Takes one event and returns what to do about it, in order.
    #[must_use]
    pub fn step(&mut self, event: Event, env: Env<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.stage == Stage::Over {
            return effects;
        }
        // Whatever comes after a time of standing still: first of all it is seen that the lease has ended.
        if self.holds_until.is_some_and(|until| env.now >= until) {
            self.lapse(&mut effects);
        }
        match event {
            Event::Manned if self.stage == Stage::Holding => {
                self.stage = Stage::Sharing;
                self.takers_since = env.now;
                self.sweep_later(env);
            }
            Event::Renewed { asked_at } => self.renewed(asked_at, env, &mut effects),
            Event::RenewFailed => self.renewal_failed(env),
            Event::Usurped => {
                self.stage = Stage::Over;
                if !self.sealing {
                    self.lapse(&mut effects);
                }
                effects.push(Effect::Stop);
                return effects;
            }
            Event::Sealed => {
                self.sealing = false;
                self.renew_at = env.now;
            }
            Event::Surveyed(survey) => self.surveyed(&survey, env, &mut effects),
            Event::SweepOver => self.sweep_later(env),
            Event::Retired => self.stage = Stage::Retired,
            Event::Left => self.stage = Stage::Over,
            Event::Manned | Event::Elapsed => {}
        }
        self.do_what_is_due(env, &mut effects);
        effects
    }

    fn lapse(&mut self, effects: &mut Vec<Effect>) {
        self.holds_until = None;
        self.lapsed = true;
        self.sealing = true;
        self.touch = Touch::Lost;
        effects.push(Effect::Lapse);
    }

    fn renewed(&mut self, asked_at: Timestamp, env: Env<'_>, effects: &mut Vec<Effect>) {
        self.renewing = false;
        self.failures = 0;
        if self.stage == Stage::Joining {
            self.stage = Stage::Holding;
        } else if asked_at.since(self.renewed_at) > env.policy.settling() {
            self.touch = Touch::Lost;
        }
        if self.touch == Touch::Lost {
            self.touch = Touch::Since(env.now);
        }
        self.renewed_at = asked_at;
        let until = deadline(asked_at, env.policy.ttl);
        if self.sealing || env.now >= until {
            // It was asked for before the process stood still, or before everything is sealed.
            self.renew_at = env.now;
            return;
        }
        self.renew_at = asked_at.after(env.policy.renew_every).max(env.now);
        self.holds_until = Some(until);
        effects.push(Effect::Hold { until });
        if std::mem::take(&mut self.lapsed) {
            effects.push(Effect::Resume);
        }
    }

    fn renewal_failed(&mut self, env: Env<'_>) {
        self.renewing = false;
        self.failures = self.failures.saturating_add(1);
        self.touch = Touch::Lost;
        // Half of the wait at least, so that a database that refuses at once is not asked without a pause.
        let ceiling = env.policy.retry().ceiling(self.failures);
        self.renew_at = env.now.after(ceiling / 2 + (ceiling / 2).mul_f64(env.jitter.clamp(0.0, 1.0)));
    }

    fn surveyed(&mut self, survey: &Survey, env: Env<'_>, effects: &mut Vec<Effect>) {
        if self.stage != Stage::Sharing || self.holds_until.is_none() {
            return self.sweep_later(env);
        }
        if !survey.nodes.iter().any(|node| node.own) {
            // To the database this node is dead, so its clock has leapt or stood still: those of the others may look dead for as little.
            self.touch = Touch::Lost;
        }
        self.stopping = survey.nodes.iter().any(|node| !node.own && node.draining && node.instances > 0);
        let takers: Vec<String> =
            survey.nodes.iter().filter(|node| !node.draining).map(|node| node.node.clone()).collect();
        if takers != self.takers || survey.overdue > 0 {
            self.takers = takers;
            self.takers_since = env.now;
        }
        let lasted = |since: Timestamp| env.now.since(since) >= env.policy.settling();
        let standing = Standing {
            settled: match self.touch {
                Touch::Always => true,
                Touch::Since(since) => lasted(since),
                Touch::Lost => false,
            },
            steady: lasted(self.takers_since),
        };
        match plan(survey, standing) {
            Plan { adopt, abandoned, .. } if adopt > 0 => effects.push(Effect::Adopt { most: adopt, abandoned }),
            Plan { hand_over, .. } if hand_over > 0 => effects.push(Effect::HandOver { most: hand_over }),
            Plan { .. } => self.sweep_later(env),
        }
    }

    fn may_sweep(&self) -> bool {
        self.stage == Stage::Sharing && !self.sweeping && self.holds_until.is_some()
    }

    /// Puts the next look off; the nodes of a fleet that were started together do not look together.
    fn sweep_later(&mut self, env: Env<'_>) {
        self.sweeping = false;
        let every = if self.stopping { SWEEP_WHILE_STOPPING } else { SWEEP };
        self.sweep_at = env.now.after(every.mul_f64(0.75 + env.jitter.clamp(0.0, 1.0) / 2.0));
    }

    fn do_what_is_due(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        if self.stage == Stage::Joining || self.stage == Stage::Over {
            return;
        }
        if !self.renewing && !self.sealing && env.now >= self.renew_at {
            self.renewing = true;
            effects.push(Effect::Renew);
        }
        if self.may_sweep() && env.now >= self.sweep_at {
            self.sweeping = true;
            effects.push(Effect::Survey);
        }
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new()
    }
}
