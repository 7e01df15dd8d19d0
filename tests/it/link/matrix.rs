//! Every fault of the store against every kind of traffic.
//!
//! A fault strikes while messages flow in both directions, live or out of the offline queue, directly or in a group. Whatever it does
//! to the link: nothing is refused, no key is used twice, and once the store is healthy again each message is told exactly once.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use holdfast_core::connection::{DownReason, Event};
use holdfast_core::id::LinkId;
use holdfast_sim::{GroupRequest, MessageRequest};

use super::bench::{ANA, Bench, text};
use crate::harness::faulty_store::{Failing, Faults, Op, Scope};

const BEA: &str = "4915100000002";

/// What the store does, with a name for those who read a failure.
fn faults() -> Vec<(String, Faults)> {
    use Failing::{AnswerLost, Corrupt, FencedOff, Hang, Unavailable};
    let mut all = Vec::new();
    let mut add = |scope: Scope, nth: u32, failing: Failing| {
        all.push((format!("{scope:?} from {nth} {failing:?}"), Faults::none().from(scope, nth, failing)));
    };
    for failing in [Unavailable, AnswerLost, Hang, Corrupt, FencedOff] {
        for nth in [1, 3] {
            add(Scope::Op(Op::Commit), nth, failing);
        }
    }
    for failing in [Unavailable, Corrupt, Hang] {
        for nth in [1, 2] {
            add(Scope::Reads, nth, failing);
        }
    }
    for category in ["pending-inbound", "session", "sender-key"] {
        add(Scope::WritesOf(category), 1, Unavailable);
    }
    for category in ["session", "identity", "sender-key"] {
        add(Scope::ReadsOf(category), 1, Corrupt);
    }
    add(Scope::Handover, 1, Unavailable);
    add(Scope::Handover, 2, AnswerLost);
    add(Scope::Everything, 5, Unavailable);
    all
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Chat {
    Direct,
    Group,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Live,
    Drain,
}

/// One link under one kind of traffic, for many faults one after the other.
struct Round {
    bench: Bench,
    chat: Chat,
    when: When,
    group: String,
    /// The messages written so far.
    written: Vec<String>,
    /// What was sent and acknowledged so far.
    sent: Vec<String>,
}

impl Round {
    async fn start(chat: Chat, when: When) -> Result<(Self, LinkId)> {
        let (bench, link) = Bench::impatient().await?;
        let own = bench.jid.split([':', '@']).next().unwrap_or_default().to_owned();
        let participants = [ANA, BEA, own.as_str()].map(str::to_owned).to_vec();
        let request = GroupRequest { participants, ..GroupRequest::default() };
        let group = bench.sim.group(&request)?.jid.to_string();
        let mut round = Self { bench, chat, when, group, written: Vec::new(), sent: Vec::new() };
        // Sessions and sender keys exist, so that what follows is traffic like any other.
        round.write("first").await?;
        round.settled("the first messages").await?;
        Ok((round, link))
    }

    /// Two people write three messages each.
    async fn write(&mut self, what: &str) -> Result<()> {
        for number in 0..3 {
            for from in [ANA, BEA] {
                let text = format!("{what} {number} of {from}");
                let group = (self.chat == Chat::Group).then(|| self.group.clone());
                let to = if group.is_some() { String::new() } else { self.bench.jid.clone() };
                let request = MessageRequest { from: from.to_owned(), to, text: text.clone(), id: None, group };
                self.bench.sim.message(request).await?;
                self.written.push(text);
            }
        }
        Ok(())
    }

    /// Waits until everything that was written is told and confirmed; then nothing was told twice.
    async fn settled(&self, what: &str) -> Result<()> {
        let written: BTreeSet<&str> = self.written.iter().map(String::as_str).collect();
        self.bench
            .eventually(&format!("{what}: every message"), |bench| {
                let told = bench.store.told();
                written.iter().all(|text| told.iter().any(|told| told == text))
            })
            .await?;
        self.bench.eventually(&format!("{what}: every acknowledgement"), |bench| bench.counters().queued == 0).await?;
        let told = self.bench.store.told();
        ensure!(told.len() == self.written.len(), "{what}: told more than was written: {told:?}");
        Ok(())
    }

    /// Lets a fault strike the link, heals the store, and returns the link that serves afterwards.
    async fn strike(&mut self, name: &str, faults: Faults, link: LinkId) -> Result<LinkId> {
        let mut link = link;
        match self.when {
            When::Live => {
                self.bench.store.break_with(faults);
                self.write(name).await?;
                let answer = format!("answer to {name}");
                if self.bench.link.send_text(link, text(self.recipient(), &answer)).await.is_ok() {
                    self.sent.push(answer);
                }
            }
            When::Drain => {
                self.bench.link.close(link);
                self.bench.down(link).await?;
                self.write(name).await?;
                self.bench.store.break_with(faults);
                link = self.bench.dial(None, true);
            }
        }
        let down = self.bench.down_or_settled(&self.written, link).await.with_context(|| name.to_owned())?;
        let nacked = self.bench.counters().tally.nacked;
        ensure!(nacked == 0, "{name}: {nacked} messages were refused");
        self.bench.store.heal();
        if let Some(why) = &down {
            let store = [DownReason::StoreUnavailable, DownReason::CredentialsCorrupt, DownReason::LeaseLost];
            ensure!(store.contains(why), "{name}: {why:?}");
        } else {
            self.bench.link.close(link);
            self.bench.down(link).await?;
        }
        let link = self.bench.dial(None, false);
        self.bench.ready(link).await.with_context(|| name.to_owned())?;
        self.settled(name).await?;
        let after = format!("after {name}");
        self.bench.link.send_text(link, text(self.recipient(), &after)).await?;
        self.sent.push(after);
        self.bench.assert_harmless();
        Ok(link)
    }

    fn recipient(&self) -> &str {
        if self.chat == Chat::Group { &self.group } else { ANA }
    }
}

async fn every_fault(chat: Chat, when: When) -> Result<()> {
    let (mut round, mut link) = Round::start(chat, when).await?;
    let mut struck = 0;
    for (name, faults) in faults() {
        link = round.strike(&name, faults, link).await?;
        struck += usize::from(round.bench.store.faulty.struck() > 0);
    }
    // Some strike only some traffic: a direct message has no sender key, and what is in memory is not read.
    ensure!(struck * 3 >= faults().len() * 2, "only {struck} faults were met");
    let sent = round.sent;
    round
        .bench
        .eventually("every answer that was acknowledged", |bench| {
            let read = bench.sim.messages();
            sent.iter().all(|sent| read.iter().any(|read| read.text.as_ref() == Some(sent)))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_store_costs_a_live_message() -> Result<()> {
    every_fault(Chat::Direct, When::Live).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_store_costs_a_message_of_the_offline_queue() -> Result<()> {
    every_fault(Chat::Direct, When::Drain).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_store_costs_a_live_message_of_a_group() -> Result<()> {
    every_fault(Chat::Group, When::Live).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_store_costs_a_message_of_a_group_in_the_offline_queue() -> Result<()> {
    every_fault(Chat::Group, When::Drain).await
}

/// What is on disk is not what was written: a new client must neither take it for absent nor use it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_value_stops_the_link_until_it_is_put_back() -> Result<()> {
    // The format's first byte, the key's id behind it, and the end, which is the tag.
    let damages = [
        ("another format", "X'02' || substr(value, 2)"),
        ("another key", "substr(value, 1, 1) || X'0102030405060708' || substr(value, 10)"),
        ("a changed byte", "substr(value, 1, length(value) - 1) || X'00'"),
        ("nothing", "X''"),
    ];
    for chat in [Chat::Direct, Chat::Group] {
        let (mut round, mut link) = Round::start(chat, When::Drain).await?;
        let category = if chat == Chat::Group { "sender-key" } else { "session" };
        for (name, value) in damages {
            round.bench.link.close(link);
            round.bench.down(link).await?;
            round.bench.store.rewrite(category, value)?;
            round.write(name).await?;
            link = round.bench.dial(None, true);
            ensure!(round.bench.down(link).await? == DownReason::CredentialsCorrupt, "{name}");
            ensure!(round.bench.counters().tally.nacked == 0, "{name}: a message was refused");
            round.bench.store.put_back()?;
            link = round.bench.dial(None, true);
            round.bench.ready(link).await?;
            round.settled(name).await?;
            round.bench.assert_harmless();
        }
    }
    Ok(())
}

/// A row that is simply not there cannot be told from one that never was: its sender is asked to begin a new session.
#[tokio::test(flavor = "multi_thread")]
async fn s46_a_missing_session_costs_a_question_and_no_message() -> Result<()> {
    for (chat, categories) in
        [(Chat::Direct, &["session"][..]), (Chat::Group, &["sender-key"]), (Chat::Group, &["session", "sender-key"])]
    {
        let (mut round, link) = Round::start(chat, When::Drain).await?;
        round.bench.link.close(link);
        round.bench.down(link).await?;
        for category in categories {
            ensure!(round.bench.store.lose(category)? > 0, "there was no {category}");
        }
        round.write("afterwards").await?;
        let link = round.bench.dial(None, true);
        round.bench.ready(link).await?;
        round.settled(&format!("without {categories:?}")).await?;
        ensure!(round.bench.counters().tally.retry_receipts > 0, "nobody was asked");
        let lost = round.bench.store.unrecovered().await?;
        ensure!(lost.is_empty(), "what has come is not missing: {lost:?}");
        round.bench.link.send_text(link, text(round.recipient(), "and back")).await?;
        round.bench.assert_harmless();
    }
    Ok(())
}

impl Bench {
    /// Waits until the link is down, and returns why; or until everything was told and confirmed, which a fault may leave alone.
    async fn down_or_settled(&mut self, written: &[String], link: LinkId) -> Result<Option<DownReason>> {
        let mut looking = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            tokio::select! {
                event = self.until(|event| matches!(event, Event::LinkDown { .. })) => {
                    let Event::LinkDown { link: ended, why } = event? else { continue };
                    ensure!(ended == link, "another link has ended");
                    self.eventually("the end of the socket at the server", |bench| bench.sim.sessions().is_empty()).await?;
                    return Ok(Some(why));
                }
                _ = looking.tick() => {
                    let told = self.store.told();
                    if self.counters().queued == 0 && written.iter().all(|text| told.contains(text)) {
                        return Ok(None);
                    }
                }
            }
        }
    }
}
