//! Dialling and waiting to dial: never two sockets, never before the last one is gone.

use std::time::Duration;

use super::down_reason::DownReason;
use super::effect::Effect;
use super::event::Method;
use super::state::{Machine, ParkReason, State};
use super::step::Env;
use crate::fleet::Standing;
use crate::id::LinkId;
use crate::time::Timestamp;

/// Steps of backoff that a rate limit adds.
const RATE_LIMIT_STEPS: u32 = 5;
/// The most that rate limits add; more would only take longer to be forgotten.
const MOST_PENALTY: u32 = 10;

pub(super) fn close_within(env: Env<'_>) -> Timestamp {
    env.now.after(env.policy.close_timeout)
}

impl Machine {
    /// Asks for a turn to dial, now or as soon as the closing socket is gone.
    pub(super) fn dial(&mut self, method: Option<Method>, env: Env<'_>) {
        self.dial_with(method, false, env);
    }

    pub(super) fn dial_with(&mut self, method: Option<Method>, refresh_version: bool, env: Env<'_>) {
        if self.link.is_some() {
            self.state = State::BackingOff { why: DownReason::Requested, until: env.now };
            return;
        }
        let (link, since) = if let State::Asking { link, since, .. } = self.state {
            (link, since)
        } else {
            self.last_link = self.last_link.next();
            (self.last_link, env.now)
        };
        let until = env.now.after(env.policy.turn_retry);
        self.state = State::Asking { link, method, urgent: self.urgent, refresh_version, held: false, since, until };
    }

    /// The turn has come: dials, unless something else has happened since it was asked for.
    pub(super) fn turn_granted(&mut self, turn: LinkId, env: Env<'_>, effects: &mut Vec<Effect>) {
        let State::Asking { link, method, refresh_version, since, .. } = &self.state else { return };
        if *link != turn {
            return;
        }
        let (link, method, refresh_version, waited) = (*link, method.clone(), *refresh_version, env.now.since(*since));
        if let Some(doubt) = self.doubt_until.as_mut().filter(|doubt| **doubt > *since) {
            // What is doubted is an answer to this dial, however long its turn took to come.
            *doubt = doubt.after(waited);
        }
        self.dialled_at = env.now;
        self.link = Some(link);
        self.urgent = false;
        let rebuild = std::mem::take(&mut self.rebuild);
        effects.push(Effect::OpenLink { link, method: method.clone(), rebuild, refresh_version });
        self.state = State::Connecting { link, method, until: env.now.after(env.policy.connect_timeout) };
    }

    /// An outage of the host holds everybody back, or does not any more.
    pub(super) fn turn_held(&mut self, turn: LinkId, now_held: bool) {
        if let State::Asking { link, held, .. } = &mut self.state
            && *link == turn
        {
            *held = now_held;
        }
    }

    /// Returns how the instance stands towards the dials of the fleet.
    pub fn standing(&self) -> Standing {
        match &self.state {
            State::Unpaired
            | State::Parked { .. }
            | State::LoggingOut { .. }
            | State::Draining { .. }
            | State::Stopped { .. } => Standing::Out,
            State::Waiting { .. } => Standing::Down { network: false },
            State::BackingOff { why, .. } => Standing::Down { network: why.is_outage_sign() },
            State::Asking { link, urgent, .. } => Standing::Asks { link: *link, urgent: *urgent },
            State::Connecting { link, .. } | State::Syncing { link, .. } => Standing::Dials { link: *link },
            State::Pairing { link, .. } | State::Online { link, .. } => Standing::Up { link: *link },
        }
    }

    /// Waits for the next dial as the backoff says.
    pub(super) fn back_off(&mut self, why: DownReason, env: Env<'_>) {
        self.failures = self.failures.saturating_add(1);
        if why == DownReason::RateLimited {
            self.penalty = self.penalty.saturating_add(RATE_LIMIT_STEPS).min(MOST_PENALTY);
        }
        let wait = env.policy.redial.delay(self.failures.saturating_add(self.penalty), env.jitter);
        self.state = State::BackingOff { why, until: env.now.after(wait) };
    }

    /// Leaves the field to whoever took the connection over, and looks again on a slow growing schedule.
    pub(super) fn yield_to_other(&mut self, env: Env<'_>) {
        self.takeovers = self.takeovers.saturating_add(1);
        // Half of the ceiling at least: two engines that take over from each other must not meet in a duel.
        let ceiling = env.policy.takeover.ceiling(self.takeovers);
        let wait: Duration = ceiling / 2 + (ceiling / 2).mul_f64(env.jitter.clamp(0.0, 1.0));
        self.state = State::Parked { why: ParkReason::Replaced, retry: Some(env.now.after(wait)) };
    }

    /// The deadline of the present state has come.
    pub(super) fn elapsed(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        if self.closing_until.is_some_and(|stuck| env.now >= stuck) {
            self.abandon(effects);
        }
        if self.deadline().is_none_or(|due| env.now < due) {
            return;
        }
        match self.state.clone() {
            State::Connecting { method: None, .. } | State::Syncing { .. } => {
                self.give_up_on_link(DownReason::LoginTimeout, env, effects);
            }
            State::Connecting { method: Some(_), .. } => self.give_up_on_link(DownReason::Handshake, env, effects),
            State::Pairing { .. } => self.give_up_on_link(DownReason::QrExhausted, env, effects),
            State::Online { .. } => self.give_up_on_link(DownReason::Silent, env, effects),
            State::BackingOff { .. } | State::Waiting { .. } | State::Parked { .. } => {
                let method = self.pairing_method();
                self.dial(method, env);
            }
            // A question may be lost, and so may an answer.
            State::Asking { .. } => {
                if let State::Asking { until, .. } = &mut self.state {
                    *until = env.now.after(env.policy.turn_retry);
                }
                effects.push(Effect::Stand(self.standing()));
            }
            State::LoggingOut { .. } => {
                self.close(env, effects);
                self.unpair(effects);
            }
            State::Unpaired | State::Draining { .. } | State::Stopped { .. } => {}
        }
    }

    pub(super) fn give_up_on_link(&mut self, why: DownReason, env: Env<'_>, effects: &mut Vec<Effect>) {
        self.count_stability(env);
        self.close(env, effects);
        self.back_off(why, env);
    }

    /// A connection that lasted resets the backoff; one that did not, however often it came up, does not. What a rate limit has added
    /// is not reset with it: each such stretch of a connection takes one step off.
    pub(super) fn count_stability(&mut self, env: Env<'_>) {
        if let State::Online { since, .. } = self.state
            && env.now.since(since) >= env.policy.stable_after
        {
            self.failures = 0;
            self.takeovers = 0;
            self.restarted = false;
            let stretches = env.now.since(since).as_millis() / env.policy.stable_after.as_millis().max(1);
            self.penalty = self.penalty.saturating_sub(u32::try_from(stretches).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn abandon(&mut self, effects: &mut Vec<Effect>) {
        if let Some(link) = self.link.take() {
            effects.push(Effect::AbandonLink { link });
            self.rebuild = true;
        }
        self.closing_until = None;
    }
}
