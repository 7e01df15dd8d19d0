//! One step: an event in, the next machine and the effects out.

use std::time::Duration;

use super::dial::close_within;
use super::effect::{Effect, Notice, Refusal};
use super::event::{Desired, Event, Method};
use super::state::{Machine, ParkReason, PublicState, State};
use crate::backoff::Backoff;
use crate::sending::allowance::Rate;
use crate::time::Timestamp;

/// The rules an instance lives by; one for the whole service.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The wait between dials.
    pub redial: Backoff,
    /// How long a connection must last before it resets the backoff.
    pub stable_after: Duration,
    /// Dial to login accepted.
    pub connect_timeout: Duration,
    /// Dial to online.
    pub login_timeout: Duration,
    /// How old the last proof of life may be before a ping is due.
    pub health_interval: Duration,
    /// How long a ping may take.
    pub ping_timeout: Duration,
    /// How many QR codes are shown before the attempt ends.
    pub qr_limit: u32,
    /// How long after a pairing a logout is doubted once.
    pub doubt_window: Duration,
    /// The schedule on which a taken-over connection is tried again.
    pub takeover: Backoff,
    /// How long a missing store or lease is left alone before it is tried again.
    pub wait_retry: Duration,
    /// How long a turn to dial is waited for before it is asked for again.
    pub turn_retry: Duration,
    /// How long an operator's logout may take.
    pub logout_timeout: Duration,
    /// How long the close of a socket may take before it is cut.
    pub close_timeout: Duration,
    /// How many messages may be sent; as many as come unless set.
    pub send_rate: Option<Rate>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            redial: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(300) },
            stable_after: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(20),
            login_timeout: Duration::from_secs(60),
            health_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            qr_limit: 30,
            doubt_window: Duration::from_secs(60),
            takeover: Backoff { base: Duration::from_secs(60), cap: Duration::from_secs(3_600) },
            wait_retry: Duration::from_secs(2),
            turn_retry: Duration::from_secs(60),
            logout_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            send_rate: None,
        }
    }
}

impl Policy {
    /// Returns how old the last proof of life may be while the state is still called open.
    pub fn proof_window(&self) -> Duration {
        self.health_interval + self.ping_timeout
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

impl Machine {
    /// Takes one event and returns the next machine with the effects to carry out, in order.
    ///
    /// A fact about another link than the present one changes nothing and has no effect.
    #[must_use]
    pub fn step(mut self, event: Event, env: Env<'_>) -> (Self, Vec<Effect>) {
        let stood = self.standing();
        let mut effects = Vec::new();
        match event.link() {
            Some(link) if self.link != Some(link) => return (self, effects),
            Some(_) => self.fact(event, env, &mut effects),
            None => self.command(event, env, &mut effects),
        }
        self.note_trouble(env);
        self.announce(&mut effects);
        if self.standing() != stood {
            effects.push(Effect::Stand(self.standing()));
        }
        // Whoever leaves waits for what it has told, and for nothing that comes after.
        effects.sort_by_key(|effect| matches!(effect, Effect::Exit { .. } | Effect::Fail { .. }));
        (self, effects)
    }

    fn command(&mut self, event: Event, env: Env<'_>, effects: &mut Vec<Effect>) {
        if let Event::TurnGranted { link } = event {
            return self.turn_granted(link, env, effects);
        }
        if let Event::TurnHeld { link, held } = event {
            return self.turn_held(link, held);
        }
        if matches!(self.state, State::Stopped { .. }) {
            return effects.push(Effect::Refuse(Refusal::Stopping));
        }
        if matches!(self.state, State::Draining { .. }) {
            return self.while_draining(&event, env, effects);
        }
        match event {
            Event::Booted { paired, desired } => self.boot(paired, desired, env),
            Event::Connect { method } => self.connect(method, env, effects),
            Event::Restart => self.restart(env, effects),
            Event::Rerouted => self.reroute(env, effects),
            Event::LogOut => self.log_out(env, effects),
            Event::Delete { within } => self.delete(within, env, effects),
            Event::Expire => self.expire(effects),
            Event::Shutdown { within } => self.shut_down(within, env, effects),
            Event::Elapsed => self.elapsed(env, effects),
            Event::PingDue => self.ping_due(env, effects),
            Event::TurnGranted { .. }
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
            | Event::Unlinked { .. }
            | Event::LinkDown { .. } => {}
        }
    }

    fn while_draining(&mut self, event: &Event, env: Env<'_>, effects: &mut Vec<Effect>) {
        if let Event::Shutdown { within } | Event::Delete { within } = event {
            self.hurry(*within, env);
        } else if *event == Event::Elapsed {
            self.drain_overdue(env, effects);
        } else if *event != Event::PingDue {
            effects.push(Effect::Refuse(Refusal::Stopping));
        }
    }

    fn boot(&mut self, paired: bool, desired: Desired, env: Env<'_>) {
        self.paired = paired;
        self.was_paired = paired;
        self.desired = desired;
        if (paired, desired) == (true, Desired::Connected) {
            // The last process may have ended just after a pairing.
            self.doubt_until = Some(env.now.after(env.policy.doubt_window));
        }
        // An operator's stop needs no other reason.
        if (paired, desired) != (true, Desired::Stopped) && self.recall(env) {
            return;
        }
        match (paired, desired) {
            (true, Desired::Connected) => self.dial(None, env),
            (true, Desired::Stopped) => self.state = State::Parked { why: ParkReason::Operator, retry: None },
            // Codes nobody looks at are no use: pairing starts when somebody asks.
            (false, _) => self.state = State::Unpaired,
        }
    }

    fn connect(&mut self, method: Method, env: Env<'_>, effects: &mut Vec<Effect>) {
        self.want(Desired::Connected, effects);
        match (&mut self.state, method) {
            (State::Pairing { link, method: shown, .. }, Method::Code(number))
                if *shown != Method::Code(number.clone()) =>
            {
                effects.push(Effect::RequestCode { link: *link, number: number.clone() });
                self.method = Method::Code(number);
                shown.clone_from(&self.method);
            }
            (
                State::Connecting { .. }
                | State::Pairing { .. }
                | State::Syncing { .. }
                | State::Online { .. }
                | State::LoggingOut { .. },
                _,
            ) => {}
            (_, method) => {
                self.forgive();
                self.method = method;
                self.dial(self.pairing_method(), env);
            }
        }
    }

    fn restart(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        self.want(Desired::Connected, effects);
        if matches!(self.state, State::LoggingOut { .. }) {
            return;
        }
        self.forgive();
        let method = self.pairing_method();
        self.close(env, effects);
        self.dial(method, env);
    }

    /// Leaves the old way at once and dials by the new one. What nobody wants connected stays as it is: the next dial takes the new way.
    fn reroute(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        match self.state {
            State::Connecting { .. }
            | State::Pairing { .. }
            | State::Syncing { .. }
            | State::Online { .. }
            | State::BackingOff { .. } => {
                // No failure, and whatever failed so far may have been the old way's fault.
                self.failures = 0;
                let method = self.pairing_method();
                self.close(env, effects);
                self.dial(method, env);
            }
            State::Unpaired
            | State::Asking { .. }
            | State::Waiting { .. }
            | State::Parked { .. }
            | State::LoggingOut { .. }
            | State::Draining { .. }
            | State::Stopped { .. } => {}
        }
    }

    fn log_out(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        match self.state.phase().public() {
            PublicState::Close => effects.push(Effect::Refuse(Refusal::NotConnected)),
            PublicState::Open | PublicState::Connecting => {
                if let Some(link) = self.state.logged_in() {
                    effects.push(Effect::LogOutLink { link });
                    self.state = State::LoggingOut { link, until: env.now.after(env.policy.logout_timeout) };
                } else {
                    // There is no login over which WhatsApp could be told: the device stays in the phone's list until removed there.
                    self.close(env, effects);
                    self.unpair(effects);
                }
            }
        }
    }

    fn delete(&mut self, within: Duration, env: Env<'_>, effects: &mut Vec<Effect>) {
        match (self.state.logged_in(), &self.state) {
            (Some(link), _) => effects.push(Effect::LogOutLink { link }),
            // WhatsApp is being told already; its answer is worth the wait.
            (None, State::LoggingOut { .. }) => {}
            (None, _) => self.close(env, effects),
        }
        if self.link.is_none() {
            self.stop(true, effects);
        } else {
            self.state = State::Draining { saved: Some(true), until: env.now.after(within) };
        }
    }

    /// Ends if nothing is under way and nobody ever paired it. What was asked before this step, or comes after it, decides.
    fn expire(&mut self, effects: &mut Vec<Effect>) {
        let idle = self.link.is_none() && matches!(self.state, State::Unpaired | State::Parked { .. });
        if idle && !self.was_paired {
            self.stop(true, effects);
        } else {
            effects.push(Effect::Refuse(Refusal::InUse));
        }
    }

    fn shut_down(&mut self, within: Duration, env: Env<'_>, effects: &mut Vec<Effect>) {
        let until = env.now.after(within);
        match (self.link, self.closing_until) {
            (None, _) => self.stop(true, effects),
            (Some(_), Some(_)) => self.state = State::Draining { saved: Some(true), until },
            (Some(link), None) => {
                effects.push(Effect::Save { link });
                self.state = State::Draining { saved: None, until };
            }
        }
    }

    fn hurry(&mut self, within: Duration, env: Env<'_>) {
        if let State::Draining { until, .. } = &mut self.state {
            *until = (*until).min(env.now.after(within));
        }
    }

    fn ping_due(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        if let State::Online { link, pinged: pinged @ None, .. } = &mut self.state {
            *pinged = Some(env.now.after(env.policy.ping_timeout));
            effects.push(Effect::Ping { link: *link, within: env.policy.ping_timeout });
        }
    }

    /// Emits one notice for a change of the public state, however many inner states it went through.
    fn announce(&mut self, effects: &mut Vec<Effect>) {
        let after = self.state.phase().public();
        if std::mem::replace(&mut self.told, after) == after {
            return;
        }
        effects.push(Effect::Publish(match after {
            PublicState::Open => Notice::Open,
            PublicState::Connecting => Notice::Connecting { why: self.state.why() },
            PublicState::Close => Notice::Closed { why: self.state.why() },
        }));
    }

    pub(super) fn want(&mut self, desired: Desired, effects: &mut Vec<Effect>) {
        if self.desired != desired {
            self.desired = desired;
            effects.push(Effect::SetDesired(desired));
        }
    }

    /// Starts afresh because an operator asked: earlier failures do not slow down what a person waits for.
    fn forgive(&mut self) {
        self.failures = 0;
        self.penalty = 0;
        self.takeovers = 0;
        self.qr_shown = 0;
        self.restarted = false;
        self.version_refreshed = false;
        self.trouble = None;
        self.urgent = true;
    }

    /// Returns how the next dial pairs, or that it logs in.
    pub(super) fn pairing_method(&self) -> Option<Method> {
        (!self.paired).then(|| self.method.clone())
    }

    pub(super) fn unpair(&mut self, effects: &mut Vec<Effect>) {
        if self.paired {
            self.paired = false;
            self.method = Method::Qr;
            self.rebuild = true;
            effects.push(Effect::ArchiveCredentials);
        }
        // Not before: a logout that is cut short would leave a login that nobody dials, and that cannot be logged out.
        self.want(Desired::Stopped, effects);
        self.trouble = None;
        self.state = State::Unpaired;
    }

    pub(super) fn stop(&mut self, clean: bool, effects: &mut Vec<Effect>) {
        self.state = State::Stopped { clean };
        effects.push(Effect::Exit { clean });
    }

    pub(super) fn close(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        if let (Some(link), None) = (self.link, self.closing_until) {
            self.closing_until = Some(close_within(env));
            effects.push(Effect::CloseLink { link });
        }
    }
}
