//! Waiting for something to scan or type, on the board: woken by each change, never by a timer.

use std::time::Duration;

use holdfast_core::connection::Method;
use holdfast_core::connection::state::PublicState;
use holdfast_core::id::InstanceId;
use tokio::sync::watch;
use tokio::time::timeout;

use super::api::{Api, ask};
use super::error::ApiError;
use crate::actors::supervisor::protocol::{CommandError, ConnectInstance};
use crate::ports::board::{Entry, PairingView};

/// What came of the wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is open.
    Open,
    /// There is something to scan or type, or, if the view is empty, there was not in time.
    Pairing(PairingView),
}

/// What is waited for.
pub(super) struct Wanted<'a> {
    pub(super) id: &'a InstanceId,
    /// How the number is to be linked.
    pub(super) method: Method,
    /// What was shown before, and is not to be handed out again.
    pub(super) stale: PairingView,
}

/// Makes the method from a number as the client wrote it.
pub(super) fn method(number: Option<&str>) -> Method {
    let digits: String =
        number.unwrap_or_default().chars().take_while(|c| *c != '@').filter(char::is_ascii_digit).collect();
    if digits.is_empty() { Method::Qr } else { Method::Code(digits) }
}

/// Asks the supervisor to connect the instance; repeating it opens no second socket.
pub(super) async fn connect(api: &Api, id: &InstanceId, method: &Method) -> Result<(), CommandError> {
    ask(&api.connect, ConnectInstance { id: id.clone(), method: method.clone() }, api.settings.limits.command_within)
        .await
}

/// Waits until there is a code, the instance is open, or there is no more hope for either.
pub(super) async fn wait(
    api: &Api,
    entry: &mut watch::Receiver<Entry>,
    wanted: Wanted<'_>,
    within: Duration,
) -> Result<Shown, CommandError> {
    match timeout(within, watch_for(api, entry, wanted)).await {
        Ok(shown) => shown,
        // Nothing to show is an answer too: the count tells how many were.
        Err(_) => Ok(Shown::Pairing(empty(&entry.borrow()))),
    }
}

async fn watch_for(api: &Api, entry: &mut watch::Receiver<Entry>, wanted: Wanted<'_>) -> Result<Shown, CommandError> {
    let Wanted { id, method, stale } = wanted;
    let mut was_connecting = false;
    let mut asked_for_code = false;
    loop {
        let now = entry.borrow_and_update().clone();
        match now.status.state_at(api.clock.now()) {
            PublicState::Open => return Ok(Shown::Open),
            PublicState::Close if was_connecting => return Ok(Shown::Pairing(empty(&now))),
            PublicState::Close => {}
            PublicState::Connecting => was_connecting = true,
        }
        let fresh_code = now.pairing.code.is_some() && now.pairing.code != stale.code;
        let fresh_qr = now.pairing.qr.is_some() && now.pairing.qr != stale.qr;
        match &method {
            Method::Code(number) if fresh_code && now.pairing.number.as_ref() == Some(number) => {
                return Ok(Shown::Pairing(now.pairing));
            }
            Method::Code(_) if fresh_qr && !asked_for_code => {
                // The dial that was under way shows QR codes: from here on WhatsApp can be asked for a code too.
                asked_for_code = true;
                connect(api, id, &method).await?;
                continue;
            }
            Method::Qr if fresh_qr || fresh_code => return Ok(Shown::Pairing(now.pairing)),
            Method::Code(_) | Method::Qr => {}
        }
        if entry.changed().await.is_err() {
            return Err(CommandError::Unknown);
        }
    }
}

fn empty(entry: &Entry) -> PairingView {
    PairingView { count: entry.pairing.count, ..PairingView::default() }
}

/// Refuses a number that begins with no digit; a plus sign, spaces and the like are tolerated.
pub(super) fn check_number(number: &str) -> Result<(), ApiError> {
    match method(Some(number)) {
        Method::Code(_) => Ok(()),
        Method::Qr => Err(ApiError::invalid(vec![r#"number does not match pattern "^\\d+[\\.@\\w-]+""#.to_owned()])),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::connection::Method;

    use super::{check_number, method};

    #[test]
    fn a_number_is_its_digits() {
        for written in ["5511999990001", "+55 11 99999-0001", "5511999990001@s.whatsapp.net"] {
            assert_eq!(method(Some(written)), Method::Code("5511999990001".into()));
        }
        assert_eq!(method(None), Method::Qr);
        assert_eq!(method(Some("")), Method::Qr);
        assert!(check_number("abc").is_err());
    }
}
