//! The bare whatsapp-rust against the simulator: what it says has to agree with what the simulator does.

mod endings;
mod groups;
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
}

impl Stage {
    async fn linked() -> Result<Self> {
        let sim = Simulator::start(Options::default()).await?;
        let bare = BareClient::pair(&sim, PHONE).await?;
        Ok(Self { sim, bare })
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
        self.bare.next("a message", |event| messages(event).and_then(|batch| batch.first().cloned())).await
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

    /// Nothing that the simulator counts speaks against this client.
    fn is_blameless(&self, logins: u64) -> Result<()> {
        let counts = self.sim.counters(Some(PHONE))?;
        let tally = &counts.tally;
        assert_eq!(tally.logins, logins, "{counts:?}");
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
