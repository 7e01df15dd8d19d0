//! What this device owes others: messages that they could not open, and asked for again.
//!
//! The library acknowledges such a request at once and answers it a moment later. A process that ended in between would leave somebody with
//! a message that never opens. So a request is on disk before the next frame leaves. What is still owed at the next login is sent once
//! more, under the same id: who has it drops it, and who cannot open it asks again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{debug, warn};
use whatsapp_rust::{Client, Jid, OwnedNodeRef, SendOptions};

use super::backend::{Backend, Debt};
use super::runtime::netted;

/// After this many logins it is left to whoever asked to ask again.
const TIMES: u8 = 3;

/// Requests that are remembered at the same time; beyond that somebody is up to no good.
const MOST: usize = 1_000;

/// The debts of one client.
pub(super) struct Debts {
    backend: Arc<Backend>,
    handle: Handle,
    owed: Mutex<HashSet<Debt>>,
    /// Requests that are not on disk yet.
    under_way: watch::Sender<usize>,
}

impl Debts {
    pub(super) fn new(backend: Arc<Backend>, handle: Handle) -> Self {
        Self { backend, handle, owed: Mutex::default(), under_way: watch::Sender::new(0) }
    }

    /// Does something beside, with a net under it.
    fn spawn(&self, doing: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let backend = Arc::clone(&self.backend);
        self.handle.spawn(async move { netted(backend.seal(), doing, task).await });
    }

    fn owed(&self) -> MutexGuard<'_, HashSet<Debt>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection begins: what the last one has left owing is nobody's work any more, until it is paid.
    pub(super) fn begin(&self) {
        self.owed().clear();
    }

    /// Takes note of a receipt that asks for a message, before it is acknowledged.
    pub(super) fn asked(self: &Arc<Self>, receipt: &OwnedNodeRef) {
        let Some(debt) = read(receipt) else { return };
        {
            let mut owed = self.owed();
            if owed.len() >= MOST || !owed.insert(debt.clone()) {
                return;
            }
        }
        self.under_way.send_modify(|count| *count += 1);
        let noting = Noting(Arc::clone(self));
        self.spawn("noting what was asked for", async move {
            let debts = &noting.0;
            // A failure has set the seal.
            let known = debts.backend.sent(&debt).await.is_ok_and(|content| content.is_some());
            if !known || debts.backend.owe(&debt, 0).await.is_err() {
                debts.owed().remove(&debt);
            }
        });
    }

    /// Waits until every request is on disk that was taken note of.
    pub(super) async fn are_durable(&self) {
        let mut under_way = self.under_way.subscribe();
        // The sender is a field of `self`, so waiting cannot fail.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }

    /// The server has a message with this id once more.
    pub(super) fn paid(self: &Arc<Self>, id: &str) {
        let paid: Vec<Debt> = self.owed().extract_if(|debt| debt.id == id).collect();
        if paid.is_empty() {
            return;
        }
        let debts = Arc::clone(self);
        self.spawn("noting what was sent again", async move {
            for debt in paid {
                // A failure has set the seal; then it is sent once more than needed.
                let _ = debts.backend.forgive(&debt).await;
            }
        });
    }

    /// Sends again what earlier connections have left owing.
    pub(super) fn pay(self: &Arc<Self>, client: Arc<Client>) {
        let debts = Arc::clone(self);
        self.spawn("sending again", async move {
            let Ok(owed) = debts.backend.owed().await else { return };
            for (debt, times) in owed {
                if !debts.owed().insert(debt.clone()) {
                    // It was asked for on this connection, and the library is at it.
                    continue;
                }
                if debts.send_again(&client, &debt, times).await.is_none() {
                    debts.owed().remove(&debt);
                    let _ = debts.backend.forgive(&debt).await;
                }
            }
        });
    }

    /// Sends a message once more. `None` if that cannot succeed any more.
    async fn send_again(&self, client: &Arc<Client>, debt: &Debt, times: u8) -> Option<()> {
        let Debt { chat, id } = debt;
        if times >= TIMES {
            warn!(message.id = id, "Message {id} was asked for again and could not be sent again");
            return None;
        }
        let content = match self.backend.sent(debt).await {
            Ok(content) => content?,
            // Not read is not absent.
            Err(_sealed) => return Some(()),
        };
        let message = waproto::codec::message_decode(&content).ok()?;
        let chat: Jid = chat.parse().ok()?;
        self.backend.owe(debt, times + 1).await.ok()?;
        let options = SendOptions::default().with_message_id(id.as_str());
        if let Err(error) = client.send_message_with_options(chat, message, options).await {
            debug!(message.id = id, "Message {id} was asked for again, and is sent after the next login: {error}");
        }
        Some(())
    }
}

/// A request on its way to the disk; however that ends, frames wait for it no longer.
struct Noting(Arc<Debts>);

impl Drop for Noting {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// Reads which message a receipt asks for, and whose chat it belongs to.
fn read(receipt: &OwnedNodeRef) -> Option<Debt> {
    let retry = receipt.get_optional_child("retry")?;
    let id = retry.get_attr("id")?.as_str().into_owned();
    let chat = receipt.get_attr("recipient").or_else(|| receipt.get_attr("from"))?;
    let chat: Jid = chat.as_str().parse().ok()?;
    let group = chat.to_string().ends_with("@g.us");
    (chat.is_pn() || chat.is_lid() || group).then(|| Debt { chat: chat.to_non_ad_string(), id })
}
