//! Proof of life on demand: one ping for everybody who asks at the same time, and no more than one in a second.

#[cfg(test)]
mod tests;

use std::time::Duration;

use actix::prelude::{Context, Handler, ResponseFuture};
use holdfast_core::connection::{DownReason, Event, Phase};
use holdfast_core::id::LinkId;
use holdfast_core::time::Timestamp;
use tokio::sync::oneshot;

use super::InstanceActor;
use super::protocol::{Verified, Verify};
use crate::ports::meter::Measure;

/// How long a result answers later questions too.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Who may wait for one ping.
const MOST_WAITING: usize = 256;
/// What is said of a connection that is not there or does not answer.
const DEAD: Verified = Verified { alive: false, rtt: None };

/// The ping under way, the last result, and who waits.
#[derive(Default)]
pub(super) struct Probe {
    sent: Option<(LinkId, Timestamp)>,
    last: Option<(Timestamp, Verified)>,
    waiting: Vec<oneshot::Sender<Verified>>,
}

impl Probe {
    pub(super) fn sent(&mut self, link: LinkId, now: Timestamp) {
        self.sent = Some((link, now));
    }

    /// Returns the result that an event is, if it is about the ping under way.
    pub(super) fn result(&self, event: &Event, now: Timestamp) -> Option<Verified> {
        let (link, at) = self.sent?;
        if let Event::Pong { link: answered, at: seen } = event
            && *answered == link
        {
            return Some(Verified { alive: true, rtt: Some((*seen).min(now).since(at)) });
        }
        (*event == Event::PingFailed { link }).then_some(DEAD)
    }

    fn settle(&mut self, verified: Verified, now: Timestamp) {
        self.sent = None;
        self.last = Some((now, verified));
        for asker in self.waiting.drain(..) {
            // Who has gone away meanwhile needs no answer.
            let _ = asker.send(verified);
        }
    }

    /// The connection is gone: who waits for it learns that, and its last result says nothing any more.
    fn forget(&mut self, now: Timestamp) {
        self.settle(DEAD, now);
        self.last = None;
    }
}

impl InstanceActor {
    /// Passes a result on, once everybody else can see what has become of it.
    pub(super) fn settle_probe(&mut self, result: Option<Verified>, now: Timestamp) {
        if let Some(verified) = result {
            self.parts.meter.note(verified.rtt.map_or(Measure::PingFailed, |after| Measure::Ponged { after }));
            self.probe.settle(verified, now);
        }
        if !matches!(self.machine.state.phase(), Phase::Online | Phase::Syncing) {
            // The machine keeps the deadline of a ping by itself, and may be the first to see it pass.
            let silent = self.machine.trouble().is_some_and(|trouble| trouble.why == DownReason::Silent);
            if silent && self.probe.sent.is_some() {
                self.parts.meter.note(Measure::PingFailed);
            }
            self.probe.forget(now);
        }
    }
}

impl Handler<Verify> for InstanceActor {
    type Result = ResponseFuture<Option<Verified>>;

    fn handle(&mut self, _: Verify, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.parts.clock.now();
        let answer = |verified| -> Self::Result { Box::pin(std::future::ready(verified)) };
        if self.machine.state.phase() != Phase::Online {
            return answer(Some(DEAD));
        }
        if let (None, Some((at, verified))) = (self.probe.sent, self.probe.last)
            && now.since(at) < SHARED_FOR
        {
            return answer(Some(verified));
        }
        self.probe.waiting.retain(|asker| !asker.is_closed());
        if self.probe.waiting.len() >= MOST_WAITING {
            return answer(None);
        }
        let (asker, result) = oneshot::channel();
        self.probe.waiting.push(asker);
        if self.probe.sent.is_none() {
            self.feed(Event::PingDue, ctx);
        }
        Box::pin(async move { Some(result.await.unwrap_or(DEAD)) })
    }
}
