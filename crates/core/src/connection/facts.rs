//! What the link reports. Every fact here is about the present link; others were dropped before.

use std::time::Duration;

use super::DownReason;
use super::effect::{Effect, Notice};
use super::event::{Desired, Event, Method};
use super::state::{Machine, State};
use super::step::Env;
use super::trouble::Trouble;
use crate::time::Timestamp;

impl Machine {
    pub(super) fn fact(&mut self, event: Event, env: Env<'_>, effects: &mut Vec<Effect>) {
        // Of a socket that is being closed only its end counts, and whether what it knew was saved.
        if self.closing_until.is_some()
            && !matches!(
                event,
                Event::LinkDown { .. } | Event::Saved { .. } | Event::Paired { .. } | Event::Unlinked { .. }
            )
        {
            return;
        }
        match event {
            Event::QrShown { text, valid, .. } => {
                if self.qr_shown >= env.policy.qr_limit {
                    return self.qr_limit(env, effects);
                }
                if self.show(valid, env) {
                    self.qr_shown += 1;
                    effects.push(Effect::Publish(Notice::Qr { text, count: self.qr_shown }));
                }
            }
            Event::CodeShown { number, code, valid, .. } => {
                // Meanwhile another number may have been asked for, with which this code leads nowhere.
                if self.method == Method::Code(number.clone()) && self.show(valid, env) {
                    effects.push(Effect::Publish(Notice::Code { number, code }));
                }
            }
            Event::Paired { link } if self.paired_on == Some(link) => {}
            Event::Paired { link } => {
                self.paired_on = Some(link);
                self.restarted = false;
                self.learn_pairing(env);
                if matches!(self.state, State::Pairing { .. } | State::Connecting { .. }) {
                    self.state =
                        State::Connecting { link, method: None, until: env.now.after(env.policy.connect_timeout) };
                }
            }
            Event::Authenticated { link } => {
                if matches!(self.state, State::Connecting { .. } | State::Pairing { .. }) {
                    self.version_refreshed = false;
                    if !self.paired {
                        // The store holds credentials that nobody has told of, because the pairing was cut short.
                        self.learn_pairing(env);
                    }
                    self.state =
                        State::Syncing { link, ready: false, until: self.dialled_at.after(env.policy.login_timeout) };
                }
            }
            Event::Ready { link } => {
                if let State::Syncing { ready: ready @ false, until, .. } = &mut self.state {
                    // A login alone proves nothing: open is said once a request was answered.
                    *ready = true;
                    *until = (*until).min(env.now.after(env.policy.ping_timeout));
                    effects.push(Effect::Ping { link, within: env.policy.ping_timeout });
                }
            }
            Event::Proof { at, .. } => self.proven(at, env),
            Event::Pong { at, .. } => self.pong(at, env),
            Event::PingFailed { .. } => {
                if matches!(self.state, State::Online { .. } | State::Syncing { ready: true, .. }) {
                    self.give_up_on_link(DownReason::Silent, env, effects);
                }
            }
            Event::Saved { ok, .. } => {
                if let State::Draining { saved: saved @ None, .. } = &mut self.state {
                    *saved = Some(ok);
                    self.close(env, effects);
                }
            }
            Event::Unlinked { .. } => self.unlinked = true,
            Event::LinkDown { why, .. } => {
                self.link = None;
                // Asked to remove the device, WhatsApp may end the stream as removed before it answers.
                let asked_to = matches!(self.state, State::LoggingOut { .. } | State::Draining { .. });
                self.unlinked |= asked_to && matches!(why, DownReason::LoggedOut { .. });
                let asked = self.closing_until.take().is_some();
                self.ended(why, asked, env, effects);
            }
            Event::Booted { .. }
            | Event::Connect { .. }
            | Event::Restart
            | Event::Rerouted
            | Event::LogOut
            | Event::Delete { .. }
            | Event::Expire
            | Event::Shutdown { .. }
            | Event::Elapsed
            | Event::TurnGranted { .. }
            | Event::TurnHeld { .. }
            | Event::PingDue => {}
        }
    }

    /// Enters or prolongs the state in which a code is shown, and tells whether there is a person to show it to.
    fn show(&mut self, valid: Duration, env: Env<'_>) -> bool {
        let until = env.now.after(valid + env.policy.connect_timeout);
        if let State::Pairing { until: shown, .. } = &mut self.state {
            // A QR code that is replaced soon does not shorten the life of a pairing code.
            *shown = (*shown).max(until);
        } else if let State::Connecting { link, method, .. } = &self.state {
            self.state = State::Pairing { link: *link, method: method.clone().unwrap_or(Method::Qr), until };
        } else {
            return false;
        }
        true
    }

    /// The store holds credentials, and a logout that comes soon is doubted.
    fn learn_pairing(&mut self, env: Env<'_>) {
        self.paired = true;
        self.was_paired = true;
        self.unlinked = false;
        self.method = Method::Qr;
        self.qr_shown = 0;
        self.doubt_until = Some(env.now.after(env.policy.doubt_window));
    }

    /// A sign of life counts from when it was seen: an older one takes nothing back, and none reaches beyond the present.
    fn proven(&mut self, at: Timestamp, env: Env<'_>) {
        if let State::Online { proof, fresh_until, .. } = &mut self.state {
            *proof = (*proof).max(at.min(env.now));
            *fresh_until = proof.after(env.policy.proof_window());
        }
    }

    fn pong(&mut self, at: Timestamp, env: Env<'_>) {
        self.proven(at, env);
        if let State::Online { pinged, .. } = &mut self.state {
            // What was seen before the ping in flight was sent answers an earlier one.
            if pinged.is_some_and(|until| at.after(env.policy.ping_timeout) >= until) {
                *pinged = None;
            }
        } else if let State::Syncing { link, ready: true, .. } = self.state {
            let proof = at.min(env.now);
            let fresh_until = proof.after(env.policy.proof_window());
            // An answer that waited too long to be taken shows no living connection; the deadline of the login decides.
            if env.now < fresh_until {
                self.state = State::Online { link, since: env.now, proof, pinged: None, fresh_until };
            }
        }
    }

    /// Nobody scanned in time: no further code is made until somebody asks.
    pub(super) fn qr_limit(&mut self, env: Env<'_>, effects: &mut Vec<Effect>) {
        self.close(env, effects);
        self.state = State::Unpaired;
        self.trouble = Some(Trouble { why: DownReason::QrExhausted, since: env.now });
        self.qr_shown = 0;
        self.rebuild = true;
        self.want(Desired::Stopped, effects);
        effects.push(Effect::Publish(Notice::QrLimit));
    }
}
