//! Groups, receipts and presence.

use anyhow::{Context as _, Result};
use holdfast_sim::groups::{Addressing, GroupId};
use holdfast_sim::presence::State;
use holdfast_sim::reading::Reading;
use holdfast_sim::{Action, GroupRequest, MessageRequest, PresenceRequest, ReceiptRequest};
use wacore::proto_helpers::MessageExt as _;
use wacore::types::events::Event;
use wacore::types::presence::ReceiptType;
use whatsapp_rust::{GroupCreateOptions, GroupParticipantOptions, Jid};

use super::{CONTACT, PHONE, Stage};

const OTHER: &str = "5511888880009";

impl Stage {
    async fn write_in(&self, group: &GroupId, text: &str) -> Result<()> {
        let request = MessageRequest {
            from: CONTACT.to_owned(),
            text: text.to_owned(),
            group: Some(group.to_string()),
            ..MessageRequest::default()
        };
        self.sim.message(request).await?;
        Ok(())
    }

    async fn talks_in(&self, group: &GroupId) -> Result<()> {
        self.write_in(group, "hello everybody").await?;
        let received = self.next_message().await?;
        assert_eq!(received.message.text_content(), Some("hello everybody"));
        assert_eq!(received.info.source.chat, group.jid());
        self.says_in(group, "hello both of you").await
    }

    async fn says_in(&self, group: &GroupId, text: &str) -> Result<()> {
        let before = self.sim.last_event();
        let sent = Box::pin(self.bare.client().send_text(group.jid(), text)).await?;
        self.arrived(before, &sent.message_id).await?;
        let read: Vec<_> = self.sim.messages().into_iter().filter(|message| message.id == sent.message_id).collect();
        let mut readers: Vec<String> = read.iter().map(|message| message.to.phone.to_string()).collect();
        readers.sort();
        assert_eq!(readers, [CONTACT, OTHER], "{read:?}");
        assert!(read.iter().all(|message| message.text.as_deref() == Some(text) && message.copies == 1), "{read:?}");
        assert!(read.iter().all(|message| message.group.as_ref() == Some(group)), "{read:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_talks_in_groups_and_makes_them() -> Result<()> {
    let stage = Stage::linked().await?;
    for addressing_mode in [Addressing::Lid, Addressing::Pn] {
        let participants = [CONTACT, OTHER, PHONE].map(ToOwned::to_owned).to_vec();
        let group = stage.sim.group(&GroupRequest { participants, addressing_mode, ..GroupRequest::default() })?.jid;
        stage.talks_in(&group).await?;
        stage.talks_in(&group).await?;
    }

    let people = [CONTACT, OTHER].map(|number| GroupParticipantOptions::from_phone(Jid::pn(number))).to_vec();
    let options = GroupCreateOptions::new("ours").with_participants(people);
    let made = Box::pin(stage.bare.client().groups().create_group(options)).await?.metadata;
    assert_eq!((made.subject.as_str(), made.participants.len()), ("ours", 3));
    let group = GroupId::of(&made.id).context("no group")?;
    stage.says_in(&group, "welcome").await?;
    stage.talks_in(&group).await?;

    // What is written while it is away comes later, and its own key goes on.
    stage.fault(Action::Rst).await?;
    stage.bare.ended().await?;
    for text in ["one", "two"] {
        stage.write_in(&group, text).await?;
    }
    stage.bare.dial();
    assert_eq!(stage.drained(2).await?, ["one", "two"]);
    stage.talks_in(&group).await?;
    stage.is_blameless(2)
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::wildcard_enum_match_arm, reason = "one event of many at a time")]
async fn the_bare_client_sees_people_read_and_come_and_go() -> Result<()> {
    let stage = Stage::linked().await?;
    let before = stage.sim.last_event();
    let sent = Box::pin(stage.bare.client().send_text(Jid::pn(CONTACT), "read me")).await?;
    stage.arrived(before, &sent.message_id).await?;
    let (from, to) = (CONTACT.to_owned(), PHONE.to_owned());
    let ids = Some(vec![sent.message_id.clone()]);
    stage.sim.receipt(&ReceiptRequest { from, to, ids, group: None, kind: Reading::Read })?;
    let read = stage.bare.next("a receipt", |event| match event {
        Event::Receipt(receipt) if receipt.r#type == ReceiptType::Read => Some(receipt.message_ids.clone()),
        _ => None,
    });
    assert_eq!(read.await?, [sent.message_id]);

    stage.bare.client().presence().subscribe(Jid::pn(CONTACT)).await?;
    for (state, unavailable) in [(State::Available, false), (State::Unavailable, true)] {
        stage.sim.presence(&PresenceRequest { from: CONTACT.to_owned(), to: None, group: None, state })?;
        let seen = stage.bare.next("a presence", |event| match event {
            Event::Presence(seen) if seen.unavailable == unavailable => Some(seen.from.clone()),
            _ => None,
        });
        assert_eq!(seen.await?.user, CONTACT);
    }
    stage.is_blameless(1)
}
