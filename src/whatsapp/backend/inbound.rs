//! Messages that were decrypted but not yet handed over.
//!
//! A ratchet that is durable without its message turns the redelivery into a duplicate whose content is gone. So a commit of
//! ratchets waits for the rows that were submitted before it; a row never waits for ratchets.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use wacore::store::error::StoreError as LibraryError;
use wacore::store::traits::{PendingInboundKey, PendingInboundRow};
use wacore::types::message::{MessageInfo, MessageSource};
use whatsapp_rust::Jid;

use super::under_way::{Begun, UnderWay};
use super::value::joined;
use super::{Backend, Result, Unusable, delete, put, writes};
use crate::ports::session::{Accepted, Loss, LossReason, MessageKey, SessionBatch, Write};
use crate::whatsapp::seal::Seal;

pub(super) const PENDING: &str = "pending-inbound";
/// Rows that nobody came for, kept for an operator.
const DEAD: &str = "dead-inbound";

/// The ids by which the library tries, when a client is made, whether rows can be stored at all; what it stores is no message.
const PROBE: &str = "__wa_durability_probe_";

/// How long the library may take from decrypting a message to submitting its row, apart from other operations in between. It writes
/// all ratchets at once, those of messages included that other tasks have decrypted a moment ago.
pub(super) const ROWS_COME_WITHIN: Duration = Duration::from_millis(5);

/// How long such operations are waited for.
pub(super) const OPERATIONS_WITHIN: Duration = Duration::from_millis(250);

/// A client without an operation for so long has nothing in its hands that it has decrypted.
const QUIET: Duration = Duration::from_millis(50);
/// How long that is waited for.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// How long the first copy of a message may take whose second one came over the next connection: its task outlives its connection.
const FIRST_COPY_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// After this many redeliveries a message whose content is nowhere is given up: accepted without an event, and kept by its id. Those by which
/// the devices of the account talk among themselves are at once: the phone has no copy of them to hand over, and asks again for what it wants.
const ASKS: u32 = 3;

/// The order between rows and ratchets, and the rows that the hook has already deleted.
#[derive(Debug, Default)]
pub(super) struct PendingRows {
    submitted: Arc<UnderWay>,
    /// Losses that are being noted.
    losses: Arc<UnderWay>,
    settled: Mutex<HashSet<String>>,
    /// What the library tries is its id and its content.
    probe: Mutex<Option<(String, Vec<u8>)>>,
}

impl PendingRows {
    fn settled(&self) -> MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probe(&self) -> MutexGuard<'_, Option<(String, Vec<u8>)>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn submit<T>(&self, commit: impl Future<Output = T>) -> T {
        // The library may drop the commit midway; a row that is not waited for any more must not hold up the ratchets.
        let _under_way = self.submitted.begin();
        commit.await
    }

    /// Waits until every row is durable that was submitted before this call.
    pub(super) async fn submitted_are_durable(&self, seal: &Seal) -> Result<(), Unusable> {
        self.submitted.begun_is_over().await;
        seal.check().map_err(|_sealed| Unusable)
    }
}

fn key(chat: &str, sender: &str, id: &str) -> String {
    joined(&[chat, sender, id])
}

/// Reads what [`key`] wrote.
fn parts(key: &str) -> Option<MessageKey> {
    let mut parts = key.splitn(3, '|').map(str::to_owned);
    Some(MessageKey { chat: parts.next()?, sender: parts.next()?, id: parts.next()? })
}

impl Backend {
    /// Hands messages over: their ids, their events and the end of their rows become durable together.
    pub(in crate::whatsapp) async fn hand_over(&self, accepted: Vec<Accepted>) -> Result<(), Unusable> {
        let keys: Vec<String> = accepted.iter().map(|one| key(&one.key.chat, &one.key.sender, &one.key.id)).collect();
        self.accept(accepted).await?;
        self.rows.settled().extend(keys);
        Ok(())
    }

    /// Does the same for messages that the phone has handed over, whose rows the library will not delete: after the losses that are
    /// being noted, since it is by these that they are known.
    pub(in crate::whatsapp) async fn take_in(&self, recovered: Vec<Accepted>) -> Result<(), Unusable> {
        self.rows.losses.begun_is_over().await;
        self.accept(recovered).await
    }

    /// Says that a loss will be noted, until what is returned is dropped.
    pub(in crate::whatsapp) fn will_note(&self) -> Begun {
        self.rows.losses.begin()
    }

    async fn accept(&self, accepted: Vec<Accepted>) -> Result<(), Unusable> {
        let rows = accepted.iter().map(|one| key(&one.key.chat, &one.key.sender, &one.key.id));
        let gone = rows.map(|row| delete(PENDING, row)).collect();
        self.commit(SessionBatch { accepted, writes: gone, ..SessionBatch::default() }).await
    }

    /// Waits until the library has handed over what it has decrypted, as far as its operations show.
    pub(in crate::whatsapp) async fn settled(&self) {
        tokio::select! {
            _ = self.seal.sealed() => {}
            _in_time = timeout(SETTLES_WITHIN, self.operations.quiet_for(QUIET)) => {}
        }
    }

    /// Returns how far messages were received, if what that did to the ratchets may not be on disk.
    pub(in crate::whatsapp) fn unflushed(&self) -> Option<u64> {
        let received = self.received.load(Ordering::Acquire);
        (self.flushed.load(Ordering::Acquire) < received).then_some(received)
    }

    /// Notes that it is, as far as that.
    pub(in crate::whatsapp) fn flushed(&self, received: u64) {
        self.flushed.fetch_max(received, Ordering::AcqRel);
    }

    pub(super) async fn store_rows(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        if let [PendingInboundRow { id, message, .. }] = rows
            && id.starts_with(PROBE)
        {
            // Whether it can write shows the claim of the session, a moment before.
            *self.rows.probe() = Some(((*id).to_owned(), message.to_vec()));
            return Ok(());
        }
        // They are decrypted: their ratchets have moved on.
        self.received.fetch_add(1, Ordering::AcqRel);
        let now = self.now_secs().to_le_bytes();
        let batch = rows.iter().map(|row| {
            let value = [now.as_slice(), row.message].concat();
            put(PENDING, key(row.chat, row.sender, row.id), value)
        });
        let commit = self.commit(writes(batch.collect()));
        Ok(self.rows.submit(commit).await?)
    }

    /// Returns the content of a redelivered message that was decrypted before. The library acknowledges one for which this is `None`.
    pub(super) async fn pending_row(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        if id.starts_with(PROBE) {
            return Ok(self.rows.probe().as_ref().filter(|(probe, _)| probe == id).map(|(_, stored)| stored.clone()));
        }
        let mut asks = ASKS;
        if let Some(backlog) = self.backlog.get() {
            if backlog.is_from_own_device(id) {
                asks = 0;
            }
            // Whatever comes of it, it is on its way to the hook again, or not handed over.
            backlog.settled([id]);
        }
        let message = MessageKey { chat: chat.to_owned(), sender: sender.to_owned(), id: id.to_owned() };
        let until = self.clock.now().after(FIRST_COPY_WITHIN);
        loop {
            if let Some(value) = self.read(PENDING, &key(chat, sender, id)).await? {
                let message = value.get(8..).ok_or_else(|| self.corrupt("pending message"))?;
                // The library deletes and acknowledges one that it cannot decode.
                waproto::codec::message_decode(message).map_err(|_undecodable| self.corrupt("pending message"))?;
                return Ok(Some(message.to_vec()));
            }
            let accepted = || self.store.is_accepted(&self.instance, &message);
            if self.attempt("look for an accepted message", accepted).await? {
                return Ok(None);
            }
            if self.clock.now() >= until {
                return self.content_is_gone(message, asks).await;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// A message was decrypted, but neither its content nor its acceptance is durable: the phone, which still has it, is asked so many times.
    async fn content_is_gone(&self, message: MessageKey, asks: u32) -> Result<Option<Vec<u8>>> {
        let asked = self.attempt("look for a lost message", || self.store.times_lost(&self.instance, &message)).await?;
        let id = message.id.clone();
        let given_up = asked >= asks;
        let loss = Loss { key: message.clone(), why: LossReason::ContentGone, given_up };
        if given_up {
            warn!(instance.id = %self.instance, message.id = id, "Message {id} could not be recovered and is given up");
            let accepted = vec![Accepted { key: message, event: None, recovered: false }];
            self.commit(SessionBatch { accepted, losses: vec![loss], ..SessionBatch::default() }).await?;
            return Ok(None);
        }
        self.note_loss(loss).await?;
        warn!(instance.id = %self.instance, message.id = id, "The content of message {id} is gone; the phone is asked for it");
        self.ask_phone(&message);
        Err(LibraryError::Validation("the message was decrypted before, but not handed over".to_owned()))
    }

    /// Notes a message that came without its content, so that it can be told by its id as long as it is missing.
    pub(in crate::whatsapp) async fn note_loss(&self, loss: Loss) -> Result<(), Unusable> {
        self.commit(SessionBatch { losses: vec![loss], ..SessionBatch::default() }).await
    }

    fn ask_phone(&self, message: &MessageKey) {
        let Some(client) = self.client.get().and_then(std::sync::Weak::upgrade) else { return };
        let (Ok(chat), Ok(sender)) = (message.chat.parse::<Jid>(), message.sender.parse::<Jid>()) else { return };
        let is_group = message.chat.ends_with("@g.us");
        let source = MessageSource { chat, sender, is_group, ..MessageSource::default() };
        let info = Arc::new(MessageInfo {
            id: message.id.clone(),
            source,
            timestamp: self.clock.wall(),
            ..MessageInfo::default()
        });
        // Not within this call: it is made while the library holds locks that the request needs.
        tokio::spawn(async move {
            if let Err(error) = client.send_pdo_placeholder_resend_request(&info).await {
                info!(message.id = info.id, "The phone could not be asked for message {}: {error}", info.id);
            }
        });
    }

    pub(super) async fn delete_rows(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        let keys: Vec<_> = keys.iter().filter(|row| !row.id.starts_with(PROBE)).collect();
        if keys.is_empty() {
            *self.rows.probe() = None;
            return Ok(());
        }
        let left: Vec<Write> = {
            let mut settled = self.rows.settled();
            let keys = keys.iter().map(|row| key(row.chat, row.sender, row.id));
            // The hook's commit has deleted most of them: no second write for those.
            keys.filter(|key| !settled.remove(key)).map(|key| delete(PENDING, key)).collect()
        };
        Ok(self.commit(writes(left)).await?)
    }

    /// Moves rows aside that the library would delete because nobody came for them in seven days.
    pub(super) async fn bury_rows(&self, before: i64) -> Result<u32> {
        let (mut moved, mut losses) = (Vec::new(), Vec::new());
        for (key, value) in self.scan(PENDING, "").await? {
            let stamp: [u8; 8] = value
                .get(..8)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| self.corrupt("pending message"))?;
            if i64::from_le_bytes(stamp) < before {
                let message = parts(&key).ok_or_else(|| self.corrupt("key of a pending message"))?;
                losses.push(Loss { key: message, why: LossReason::NeverHandedOver, given_up: true });
                moved.push(put(DEAD, key.as_str(), value));
                moved.push(delete(PENDING, key));
            }
        }
        let count = losses.len();
        if count > 0 {
            warn!(instance.id = %self.instance, count, "{count} messages were never handed over and are set aside");
        }
        self.commit(SessionBatch { writes: moved, losses, ..SessionBatch::default() }).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
