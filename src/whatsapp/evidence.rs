//! What was seen of one dial, from which the reason of its end is read.
//!
//! The origin comes first: what came through the Noise channel is WhatsApp's word, what the socket did is the network's. Each slot
//! keeps the first that was put into it, because what follows an ending is only its echo.

use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_core::connection::DownReason;
use tokio::sync::watch;

use super::seal;
use crate::ports::link::SealReason;

/// The last words of the server, kept because it says some things only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) why: DownReason,
    pub(super) stanza: String,
}

#[derive(Debug, Default)]
struct Facts {
    dial: Option<DownReason>,
    noise: bool,
    verdict: Option<Verdict>,
    exhausted: bool,
    requested: bool,
    ended: Option<Ended>,
}

/// How the socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By the other side or the network, with the code of its close frame if there was one.
    Lost { code: Option<u16> },
    /// By the library, which found it dead.
    GivenUp,
}

/// One dial: its evidence, whether it is being closed, and how many sockets it has open.
#[derive(Debug)]
pub(super) struct Attempt {
    facts: Mutex<Facts>,
    closing: watch::Sender<bool>,
    sockets: watch::Sender<Opened>,
}

/// The sockets that a dial has opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Opened {
    ever: usize,
    gone: usize,
}

impl Opened {
    fn none_left(self) -> bool {
        self.ever == self.gone
    }
}

impl Attempt {
    pub(super) fn new() -> Self {
        Self {
            facts: Mutex::default(),
            closing: watch::Sender::new(false),
            sockets: watch::Sender::new(Opened::default()),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dial_failed(&self, why: DownReason) {
        self.facts().dial.get_or_insert(why);
    }

    pub(super) fn noise_finished(&self) {
        self.facts().noise = true;
    }

    /// Says in a word how far the dial has come.
    pub(super) fn stage(&self) -> &'static str {
        if self.facts().noise { "session" } else { "handshake" }
    }

    /// Notes WhatsApp's word; returns whether it is the first.
    pub(super) fn judged(&self, why: DownReason, stanza: String) -> bool {
        let mut facts = self.facts();
        let first = facts.verdict.is_none();
        if first {
            facts.verdict = Some(Verdict { why, stanza });
        }
        first
    }

    pub(super) fn codes_used_up(&self) {
        self.facts().exhausted = true;
    }

    pub(super) fn socket_ended(&self, how: Ended) {
        self.facts().ended.get_or_insert(how);
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.facts().verdict.clone()
    }

    /// Asks for the end of this dial, in whatever stage it is. `requested` says that it is we who want it.
    pub(super) fn close(&self, requested: bool) {
        if requested {
            self.facts().requested = true;
        }
        self.closing.send_replace(true);
    }

    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Waits until somebody asks for the end.
    pub(super) async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        // The sender is a field of `self`, so waiting cannot fail.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    pub(super) fn socket_opened(&self) {
        self.sockets.send_modify(|sockets| sockets.ever += 1);
    }

    pub(super) fn socket_gone(&self) {
        self.sockets.send_modify(|sockets| sockets.gone = (sockets.gone + 1).min(sockets.ever));
    }

    /// Waits until no socket of this dial is left.
    pub(super) async fn all_gone(&self) {
        let mut sockets = self.sockets.subscribe();
        let _ = sockets.wait_for(|sockets| sockets.none_left()).await;
    }

    /// Waits until nothing more can come of this dial: its end was asked for, or the socket that it had is gone.
    pub(super) async fn over(&self) {
        let mut sockets = self.sockets.subscribe();
        tokio::select! {
            () = self.closing() => {}
            _ = sockets.wait_for(|sockets| sockets.ever > 0 && sockets.none_left()) => {}
        }
    }

    /// Reads the reason of the end from what was seen.
    pub(super) fn reason(&self, sealed: Option<SealReason>) -> DownReason {
        let facts = self.facts();
        if let Some(why) = sealed {
            return seal::down_reason(why);
        }
        if let Some(verdict) = &facts.verdict {
            return verdict.why.clone();
        }
        if facts.exhausted {
            return DownReason::QrExhausted;
        }
        if facts.requested {
            return DownReason::Requested;
        }
        if let Some(why) = &facts.dial {
            return why.clone();
        }
        if !facts.noise {
            return DownReason::Handshake;
        }
        match facts.ended {
            Some(Ended::Lost { code }) => DownReason::SocketLost { code },
            Some(Ended::GivenUp) => DownReason::Silent,
            None => DownReason::SocketLost { code: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_origin_comes_first() {
        let attempt = Attempt::new();
        assert_eq!(attempt.reason(None), DownReason::Handshake);
        attempt.noise_finished();
        attempt.socket_ended(Ended::Lost { code: Some(1011) });
        attempt.socket_ended(Ended::GivenUp);
        assert_eq!(attempt.reason(None), DownReason::SocketLost { code: Some(1011) });
        attempt.close(true);
        assert_eq!(attempt.reason(None), DownReason::Requested);
        assert!(attempt.judged(DownReason::Replaced, "<stream:error/>".to_owned()));
        assert!(!attempt.judged(DownReason::LoggedOut { code: 401 }, "<failure/>".to_owned()));
        assert_eq!(attempt.reason(None), DownReason::Replaced);
        assert_eq!(attempt.reason(Some(SealReason::FencedOff)), DownReason::LeaseLost);
    }

    #[tokio::test]
    async fn a_dial_is_over_when_its_socket_is_gone_or_its_end_was_asked_for() {
        let is_over = |attempt: &Attempt| attempt.over().now_or_never().is_some();
        let attempt = Attempt::new();
        assert!(attempt.all_gone().now_or_never().is_some());
        assert!(!is_over(&attempt), "it has had no socket yet");
        attempt.socket_opened();
        assert!(!is_over(&attempt));
        attempt.socket_gone();
        assert!(is_over(&attempt));
        let called_off = Attempt::new();
        called_off.close(true);
        assert!(is_over(&called_off));
    }

    #[test]
    fn a_status_of_the_upgrade_never_logs_out() {
        let attempt = Attempt::new();
        attempt.dial_failed(DownReason::UpgradeRefused { status: 401 });
        assert_eq!(attempt.reason(None), DownReason::UpgradeRefused { status: 401 });
    }

    #[test]
    fn a_socket_that_the_library_gave_up_was_silent() {
        let attempt = Attempt::new();
        attempt.noise_finished();
        attempt.socket_ended(Ended::GivenUp);
        assert_eq!(attempt.reason(None), DownReason::Silent);
    }
}
