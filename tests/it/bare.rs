//! The bare whatsapp-rust against the simulator: what it says has to agree with what the simulator does.

mod endings;
mod groups;
mod media;
mod refusals;
mod silence;
mod talking;

use anyhow::{Context as _, Result};
use holdfast_sim::{Action, EventKind, EventQuery, FaultRequest, MessageRequest, Options, SentMessage, Simulator};
use wacore::proto_helpers::MessageExt as _;
use wacore::types::events::{Event, InboundMessage};
use whatsapp_rust::Jid;

use super::harness::bare::BareClient;

const PHONE: &str = "5511999990002";
const CONTACT: &str = "5511888880002";

/// A simulator and a client that is linked and connected.
struct Stage {
    sim: Simulator,
    bare: BareClient,
    /// How often it had to log in to get here: sometimes twice, see [`BareClient::pair`].
    first: u64,
}

impl Stage {
    async fn linked() -> Result<Self> {
        let sim = Simulator::start(Options::default()).await?;
        let bare = BareClient::pair(&sim, PHONE).await?;
        Self::over(sim, bare)
    }

    fn over(sim: Simulator, bare: BareClient) -> Result<Self> {
        let first = sim.counters(Some(PHONE))?.tally.logins;
        Ok(Self { sim, bare, first })
    }

    async fn fault(&self, action: Action) -> Result<()> {
        let hit = self.sim.fault(FaultRequest { target: PHONE.to_owned(), action }).await?.hit;
        assert_eq!(hit, 1);
        Ok(())
    }

    async fn dial(&self) -> Result<()> {
        self.bare.dial();
        self.bare.connected().await
    }

    /// Dials again and talks in both directions.
    async fn comes_back(&self) -> Result<()> {
        self.dial().await?;
        self.talks().await
    }

    /// Exchanges a text in each direction.
    async fn talks(&self) -> Result<()> {
        self.receives("hello").await?;
        self.sends("hello back").await
    }

    async fn write(&self, text: &str) -> Result<()> {
        let request = MessageRequest {
            from: CONTACT.to_owned(),
            to: PHONE.to_owned(),
            text: text.to_owned(),
            ..MessageRequest::default()
        };
        self.sim.message(request).await?;
        Ok(())
    }

    async fn receives(&self, text: &str) -> Result<()> {
        self.write(text).await?;
        let received = self.next_message().await?;
        assert_eq!(received.message.text_content(), Some(text));
        assert_eq!(received.info.source.chat.user, CONTACT);
        Ok(())
    }

    async fn next_message(&self) -> Result<InboundMessage> {
        // The phone's own words, such as the key of the app state, are messages too.
        let worded = |received: &&InboundMessage| received.message.text_content().is_some();
        self.bare.next("a message", |event| messages(event).and_then(|batch| batch.iter().find(worded).cloned())).await
    }

    /// Waits until the client is connected and has got so many messages that were waiting, in whatever order it tells of these.
    async fn drained(&self, count: usize) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        let mut connected = false;
        while texts.len() < count || !connected {
            let (came, is_connected) = self
                .bare
                .next("messages and a connection", |event| {
                    let is_connected = matches!(event, Event::Connected(_));
                    let came = messages(event).map(<[_]>::to_vec);
                    (is_connected || came.is_some()).then(|| (came.unwrap_or_default(), is_connected))
                })
                .await?;
            connected |= is_connected;
            texts.extend(came.iter().filter_map(|received| received.message.text_content().map(ToOwned::to_owned)));
        }
        Ok(texts)
    }

    async fn sends(&self, text: &str) -> Result<()> {
        let before = self.sim.last_event();
        let contact: Jid = Jid::pn(CONTACT);
        let sent = Box::pin(self.bare.client().send_text(contact, text)).await?;
        let arrived = self.arrived(before, &sent.message_id).await?;
        assert_eq!(arrived.text.as_deref(), Some(text));
        Ok(())
    }

    /// What the recipient read of this message.
    async fn arrived(&self, before: u64, id: &str) -> Result<SentMessage> {
        let kind = Some(EventKind::MessageIn);
        self.sim.wait(&EventQuery { kind, since: Some(before), ..EventQuery::default() }).await?;
        let mut messages = self.sim.messages().into_iter();
        messages.find(|message| message.id == id).context("the recipient cannot read it")
    }

    /// Nothing that the simulator counts speaks against this client, which has logged in so many times, the first time included.
    fn is_blameless(&self, logins: u64) -> Result<()> {
        let counts = self.sim.counters(Some(PHONE))?;
        let tally = &counts.tally;
        assert_eq!(tally.logins, self.first + logins - 1, "{counts:?}");
        assert_eq!((tally.counters_reused, tally.undecryptable, tally.nacked), (0, 0, 0), "{counts:?}");
        assert_eq!((tally.static_mismatches, tally.stale_frames, tally.overlapped), (0, 0, false), "{counts:?}");
        Ok(())
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "one event of many")]
fn messages(event: &Event) -> Option<&[InboundMessage]> {
    match event {
        Event::Messages(batch) => Some(&batch.messages),
        _ => None,
    }
}
