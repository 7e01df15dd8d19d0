//! The baseline: whatsapp-rust by itself, its store in memory, its events taken by a callback.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_sim::{Options, Simulator};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wacore::types::events::Event;
use whatsapp_rust::{Jid, SendOptions};

use crate::Run;
use crate::engine::{write, write_at_once, write_paced};
use crate::figures::{Figures, Latencies, per_second};
use crate::harness::bare::BareClient;
use crate::meter::{Meter, now};

/// Pairings under way at a moment.
const SIDE_BY_SIDE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures the bare clients.
pub(crate) async fn measure(run: &Run) -> anyhow::Result<Figures> {
    let sim = Simulator::start(Options::default()).await?;
    let meter = Arc::new(Meter::default());
    let clients: Vec<Client> = stream::iter(0..run.instances)
        .map(|number| Client::paired(&sim, &meter, number))
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    for (number, client) in clients.iter().enumerate() {
        write(&sim, &meter, number, &format!("warm {number}")).await?;
        client.send("warm").await?;
    }
    meter.all(run.instances).await?;
    meter.take();

    write_paced(run, &sim, &meter).await?;
    meter.all(run.arguments.messages).await?;
    let inbound = Latencies::of(meter.take());

    let began = now();
    write_at_once(run, &sim, &meter).await?;
    meter.all(run.arguments.messages).await?;
    let inbound_per_second = per_second(run.arguments.messages, began.elapsed());
    meter.take();

    let began = now();
    let took: Vec<Duration> = stream::iter(run.turns().enumerate())
        .map(|(message, number)| {
            let client = clients.get(number);
            async move {
                let began = now();
                client.context("no such client")?.send(&format!("out {message}")).await?;
                anyhow::Ok(began.elapsed())
            }
        })
        .buffer_unordered(run.arguments.senders)
        .try_collect()
        .await?;
    let outbound_per_second = per_second(run.arguments.messages, began.elapsed());
    Ok(Figures {
        inbound,
        inbound_per_second,
        outbound: Latencies::of(took),
        outbound_per_second,
        keyed_per_second: None,
        process: None,
    })
}

/// Who waits for which acknowledgement.
type Acks = Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>;

/// A connected client, and the task that takes its events.
struct Client {
    bare: BareClient,
    contact: Jid,
    acks: Acks,
    listening: JoinHandle<()>,
}

impl Client {
    async fn paired(sim: &Simulator, meter: &Arc<Meter>, number: usize) -> anyhow::Result<Self> {
        let bare = Box::pin(BareClient::pair(sim, &Run::phone(number))).await?;
        let acks = Acks::default();
        let listening = tokio::spawn({
            let (mut events, meter, acks) = (bare.events(), Arc::clone(meter), Arc::clone(&acks));
            async move {
                while let Some(event) = events.next().await {
                    listen(&event, &meter, &acks);
                }
            }
        });
        Ok(Self { bare, contact: Jid::pn(Run::contact(number)), acks, listening })
    }

    /// Sends a text and waits for the acknowledgement, as the engine does.
    async fn send(&self, text: &str) -> anyhow::Result<()> {
        let id = self.bare.client().generate_message_id();
        let (ack, acked) = oneshot::channel();
        self.acks.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), ack);
        let message = waproto::whatsapp::Message { conversation: Some(text.to_owned()), ..Default::default() };
        let options = SendOptions::default().with_message_id(id);
        let sending = self.bare.client().send_message_with_options(self.contact.clone(), message, options);
        Box::pin(sending).await?;
        timeout(PATIENCE, acked).await.context("no acknowledgement")??;
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "two events of many")]
fn listen(event: &Event, meter: &Meter, acks: &Acks) {
    match event {
        Event::Messages(batch) => {
            for received in batch {
                if let Some(text) = &received.message.conversation {
                    meter.arrives(text);
                }
            }
        }
        Event::ServerAck(ack) => {
            if let Some(waiting) = acks.lock().unwrap_or_else(PoisonError::into_inner).remove(&ack.id) {
                // Whoever waited may have given up.
                let _ = waiting.send(());
            }
        }
        _ => {}
    }
}
