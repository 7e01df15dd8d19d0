//! Sending a text: who is meant, is there such an account, send, wait for WhatsApp's word.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::{InstanceId, LinkId};
use holdfast_core::time::Timestamp;
use tokio::time::{sleep, timeout};
use whatsapp_rust::send::SendError as LibraryError;
use whatsapp_rust::{Client, ClientError, IqError, Jid, SendOptions};

use super::driver::{Driver, Live};
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::link::{OutgoingText, Report, SendError, SentMessage};
use crate::whatsapp::message::{self, Recipient, Sent};

/// How long the question may take whether an account exists.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(20);

/// "Composing" fades on the other side, so it is said again.
const COMPOSING_LASTS: Duration = Duration::from_secs(20);

impl Driver {
    /// Sends on a task of its own: whoever asked may stop waiting, but a message is not left half sent.
    pub(super) async fn send_text(
        &self,
        link: LinkId,
        live: Live,
        text: OutgoingText,
    ) -> Result<SentMessage, SendError> {
        let reports = self.reports().clone();
        let instance = self.spec().instance.clone();
        let clock = self.shared().clock;
        let ack_within = self.shared().settings.ack_within;
        let id = text.id.clone().unwrap_or_else(|| live.client.generate_message_id());
        let own = id.clone();
        let sending = self.spawn_over(&live.clone(), "sending", async move {
            let sent = Box::pin(send(&live, &text, own, &instance, clock, ack_within)).await?;
            reach!("send.acked");
            let event = EngineEvent { name: EventName::SendMessage, data: sent.body.clone() };
            reports.tell(Report::Event { link, event });
            reach!("send.told");
            Ok(sent)
        });
        match sending.await {
            Ok(Some(sent)) => sent,
            // Nobody knows how far it came before it panicked.
            Ok(None) | Err(_) => Err(SendError::Unconfirmed { id }),
        }
    }
}

async fn send(
    live: &Live,
    text: &OutgoingText,
    id: String,
    instance: &InstanceId,
    clock: Clock,
    ack_within: Duration,
) -> Result<SentMessage, SendError> {
    reach!("send.asked");
    let client = &live.client;
    let to = unless_over(live, resolve(live, text, clock)).await.ok_or(SendError::NotConnected)??;
    unless_over(live, compose_for(client, &to, text.delay)).await.ok_or(SendError::NotConnected)?;

    reach!("send.resolved");
    let chat = to.to_string();
    let own = client.pn().map(|jid| jid.to_non_ad_string());
    let message = message::compose(text, &chat, own.as_deref());
    // What was received has moved the ratchet on, and the library saves that a moment later. A message under a ratchet that a crash
    // forgets uses no key twice, but those after it cannot be opened until they were asked for again.
    if let Some(received) = live.backend.unflushed() {
        let saved = unless_over(live, client.flush_pending_signal_state()).await.ok_or(SendError::NotConnected)?;
        if saved.is_err() {
            return Err(SendError::NotConnected);
        }
        live.backend.flushed(received);
    }
    let answered = live.listener.answers.to(&id, &chat);
    let options = SendOptions::default().with_message_id(id.as_str());
    match unless_over(live, client.send_message_with_options(to, message.clone(), options)).await {
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            live.listener.answers.forget(&id);
            return Err(failed(error, id));
        }
        None => return Err(SendError::Unconfirmed { id }),
    }
    reach!("send.given");
    match timeout(ack_within, answered).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(code))) => return Err(SendError::Refused { code: code.parse().unwrap_or(0) }),
        // The link is over: no answer comes on another one.
        Ok(Err(_)) => return Err(SendError::Unconfirmed { id }),
        Err(_) => {
            live.listener.answers.is_late(&id);
            return Err(SendError::Unconfirmed { id });
        }
    }
    let at = clock.wall().timestamp();
    let sent = Sent { chat: &chat, id: &id, message: &message, at, instance: instance.as_str() };
    Ok(SentMessage { body: message::sent_body(&sent) })
}

/// Does `work` unless the link ends first: the library waits up to a minute for a connection that does not come back by itself.
async fn unless_over<T>(live: &Live, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = live.attempt.closing() => None,
    }
}

/// Finds the account that is meant, and makes sure that it exists.
async fn resolve(live: &Live, text: &OutgoingText, clock: Clock) -> Result<Jid, SendError> {
    let number = text.number.clone();
    let recipient =
        message::recipient(&number).ok_or_else(|| SendError::Invalid(format!("{number:?} is no number and no JID")))?;
    let jid: Jid = recipient
        .jid()
        .parse()
        .map_err(|_unparsable| SendError::Invalid(format!("{number:?} is no number and no JID")))?;
    if matches!(recipient, Recipient::Other(_)) {
        return Ok(jid);
    }
    let now = clock.now();
    if let Some(known) = live.accounts.get(recipient.jid(), now) {
        return Ok(known);
    }
    let asked = timeout(LOOK_UP_WITHIN, live.client.contacts().is_on_whatsapp(std::slice::from_ref(&jid))).await;
    let found = match asked {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(SendError::Failed(error.to_string())),
        Err(_) => return Err(SendError::Failed("WhatsApp did not say whether the number exists".to_owned())),
    };
    let account = found.into_iter().find(|account| account.is_registered);
    let Some(account) = account else { return Err(SendError::NotOnWhatsApp { jid: jid.to_string(), number }) };
    // The account may be known by a number that is written otherwise than the one that was asked for.
    let known = [Some(account.jid), account.pn_jid].into_iter().flatten().find(|known| known.is_pn() == jid.is_pn());
    let known = known.unwrap_or(jid);
    live.accounts.put(recipient.jid(), known.clone(), now);
    Ok(known)
}

/// Accounts that were found to exist: to ask before each message would cost a round trip and WhatsApp's patience.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    found: Mutex<HashMap<String, (Jid, Timestamp)>>,
}

impl Accounts {
    const FRESH_FOR: Duration = Duration::from_secs(24 * 60 * 60);
    const MOST: usize = 4_096;

    fn get(&self, asked: &str, now: Timestamp) -> Option<Jid> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(asked).filter(|(_, at)| now.since(*at) < Self::FRESH_FOR).map(|(jid, _)| jid.clone())
    }

    fn put(&self, asked: &str, known: Jid, now: Timestamp) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= Self::MOST {
            found.clear();
        }
        found.insert(asked.to_owned(), (known, now));
    }
}

async fn compose_for(client: &Client, to: &Jid, delay: Duration) {
    let mut left = delay;
    while !left.is_zero() {
        let slice = left.min(COMPOSING_LASTS);
        // Only a courtesy: the message goes whether or not it was shown.
        let _ = client.chatstate().send_composing(to).await;
        sleep(slice).await;
        left -= slice;
    }
    if !delay.is_zero() {
        let _ = client.chatstate().send_paused(to).await;
    }
}

fn failed(error: LibraryError, id: String) -> SendError {
    // The message goes last, so whatever else failed has failed before it. Of a frame that the socket did not take whole nobody knows
    // how much has left.
    if matches!(error, LibraryError::Client(ClientError::EncryptSend(_) | ClientError::Socket(_))) {
        return SendError::Unconfirmed { id };
    }
    let offline = matches!(
        error,
        LibraryError::NotLoggedIn
            | LibraryError::Client(ClientError::NotConnected)
            | LibraryError::Iq(IqError::NotConnected)
    );
    if offline {
        return SendError::NotConnected;
    }
    if let LibraryError::InvalidRequest(why) = error {
        return SendError::Invalid(why);
    }
    SendError::Failed(error.to_string())
}
