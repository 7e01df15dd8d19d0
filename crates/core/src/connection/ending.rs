//! A link has ended: what now.

use std::time::Duration;

use super::down_reason::{DownReason, Verdict};
use super::effect::{Effect, Notice};
use super::state::{Machine, ParkReason, State, WaitReason};
use super::step::Env;

/// How often it is looked whether a damaged login was mended.
const LOOKS_AGAIN: Duration = Duration::from_secs(600);

impl Machine {
    /// Handles the end of the present link; `asked` says that we had begun to close it.
    pub(super) fn ended(&mut self, why: DownReason, asked: bool, env: Env<'_>, effects: &mut Vec<Effect>) {
        match self.state.clone() {
            // It may have ended by itself before it answered whether it was saved.
            State::Draining { saved, .. } => return self.stop(saved.unwrap_or(why.left_it_saved()), effects),
            State::LoggingOut { .. } => return self.unpair(effects),
            State::Stopped { .. } => return,
            // The state was decided when the close began; all that was missing is the end of the old socket.
            State::BackingOff { until, .. } if asked => {
                if env.now >= until {
                    let method = self.pairing_method();
                    self.dial(method, env);
                }
                return;
            }
            State::Unpaired
            | State::Waiting { .. }
            | State::Asking { .. }
            | State::Parked { .. }
            | State::BackingOff { .. } => return,
            State::Connecting { .. } | State::Pairing { .. } | State::Syncing { .. } | State::Online { .. } => {}
        }
        self.count_stability(env);
        match why.verdict() {
            // Asked for again and again, it is a failure like any other.
            Verdict::RedialNow if self.restarted => self.back_off(why, env),
            Verdict::RedialNow => {
                self.restarted = true;
                self.doubt_until = Some(env.now.after(env.policy.doubt_window));
                // Somebody may have the phone in hand.
                self.urgent = true;
                self.dial(None, env);
            }
            Verdict::Backoff | Verdict::LongBackoff if self.paired => self.back_off(why, env),
            Verdict::Backoff | Verdict::LongBackoff => self.pairing_lost(why, env, effects),
            Verdict::LogOut => self.logged_out(why, env, effects),
            Verdict::Yield => self.yield_to_other(env),
            Verdict::WaitOut(wait) => {
                let retry = env.now.after(wait);
                self.state = State::Parked { why: ParkReason::Banned(why), retry: Some(retry) };
            }
            Verdict::Upgrade if !self.version_refreshed => {
                self.version_refreshed = true;
                self.rebuild = true;
                let method = self.pairing_method();
                self.dial_with(method, true, env);
            }
            Verdict::Upgrade => self.state = State::Parked { why: ParkReason::Outdated, retry: None },
            Verdict::Park => self.state = State::Parked { why: ParkReason::Refused(why), retry: None },
            Verdict::AwaitRepair => {
                // Whoever mends it need not know that this machine waits.
                self.rebuild = true;
                let retry = env.now.after(LOOKS_AGAIN);
                self.state = State::Parked { why: ParkReason::Damaged, retry: Some(retry) };
            }
            Verdict::AwaitStore => self.wait_for(WaitReason::Store, env),
            Verdict::AwaitLease => self.wait_for(WaitReason::Lease, env),
            Verdict::Crash => {
                self.state = State::Stopped { clean: false };
                effects.push(Effect::Fail { why });
            }
        }
    }

    fn pairing_lost(&mut self, why: DownReason, env: Env<'_>, effects: &mut Vec<Effect>) {
        // The client ends itself for good once its codes are used up, so the next attempt needs a new one.
        self.rebuild = true;
        if let (State::Pairing { .. }, DownReason::QrExhausted) = (&self.state, &why) {
            if self.qr_shown >= env.policy.qr_limit {
                // Another connection would be made for a code that is not shown.
                return self.qr_limit(env, effects);
            }
            // Somebody asked for codes and may be looking at them.
            self.urgent = true;
            return self.dial(self.pairing_method(), env);
        }
        self.back_off(why, env);
    }

    fn logged_out(&mut self, why: DownReason, env: Env<'_>, effects: &mut Vec<Effect>) {
        if !self.paired {
            self.rebuild = true;
            self.state = State::Parked { why: ParkReason::Refused(why), retry: None };
            return;
        }
        if self.doubt_until.take().is_some_and(|until| env.now < until) {
            return self.dial(None, env);
        }
        effects.push(Effect::ArchiveCredentials);
        effects.push(Effect::Publish(Notice::LoggedOut { why: why.clone() }));
        self.paired = false;
        self.rebuild = true;
        self.state = State::Parked { why: ParkReason::LoggedOut(why), retry: None };
    }

    fn wait_for(&mut self, what: WaitReason, env: Env<'_>) {
        self.rebuild = true;
        // Half fixed, half random: quick enough to notice the return, and spread enough to be no herd.
        let wait = env.policy.wait_retry / 2 + env.policy.wait_retry.mul_f64(env.jitter.clamp(0.0, 1.0));
        self.state = State::Waiting { what, until: env.now.after(wait) };
    }

    /// The time for draining is over: cut what is left and say that it was not clean.
    pub(super) fn drain_overdue(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        if self.deadline().is_some_and(|due| env.now >= due) {
            self.abandon(effects);
            self.stop(false, effects);
        }
    }
}
