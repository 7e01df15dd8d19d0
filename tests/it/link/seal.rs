//! The Seal, story by story: what ends a link, what becomes of its message, and how it comes back.

use std::time::Duration;

use anyhow::{Result, bail};
use holdfast::ports::link::SendError;
use holdfast_core::connection::DownReason;
use serde_json::json;

use super::bench::{ANA, Bench, text};
use crate::harness::faulty_store::{Failing, Faults, Op, Scope};

/// A message of the offline queue is decrypted and kept, but cannot be handed over; returns with its ratchet on disk and the link down.
async fn decrypted_but_not_handed_over() -> Result<(Bench, String)> {
    let (mut bench, mut link) = Bench::impatient().await?;
    // The library decides by a race whether a message still belongs to the queue. One that came live has no ratchet on disk yet.
    for _ in 0..20 {
        bench.link.close(link);
        bench.down(link).await?;
        let id = bench.receive(ANA, "hello").await?;
        bench.store.break_with(Faults::none().from(Scope::Handover, 1, Failing::Unavailable));
        link = bench.dial(None, true);
        assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
        assert_eq!(bench.counters().tally.nacked, 0);
        assert_eq!(bench.store.rows("pending-inbound"), 1);
        bench.store.heal();
        if bench.store.ratchet_stored() {
            return Ok((bench, id));
        }
        link = bench.dial(None, true);
        bench.ready(link).await?;
        bench.eventually("the acknowledgement", |bench| bench.counters().queued == 0).await?;
    }
    bail!("no message was decrypted from the queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_decrypted_before_is_handed_over_from_its_row() -> Result<()> {
    let (mut bench, id) = decrypted_but_not_handed_over().await?;
    let before = bench.store.events().len();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the event", |bench| bench.store.events().len() == before + 1).await?;
    let event = &bench.store.events()[before];
    assert_eq!((&event["key"]["id"], &event["message"]["conversation"]), (&json!(id), &json!("hello")));
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_content_is_gone_is_fetched_from_the_phone() -> Result<()> {
    let (mut bench, id) = decrypted_but_not_handed_over().await?;
    let before = bench.store.events().len();
    assert_eq!(bench.store.lose("pending-inbound")?, 1);
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the event", |bench| bench.store.events().len() == before + 1).await?;
    let event = &bench.store.events()[before];
    assert_eq!((&event["key"]["id"], &event["message"]["conversation"]), (&json!(id), &json!("hello")));
    assert_eq!(bench.counters().tally.resends_asked, 1);
    assert!(bench.store.unrecovered().await?.is_empty(), "it is here after all");

    // WhatsApp still has it, and hears at its next delivery that it is no longer needed.
    bench.link.close(link);
    bench.down(link).await?;
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;
    assert_eq!(bench.store.events().len(), before + 1, "and is not told twice");
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_content_is_nowhere_is_told_by_its_id_and_given_up_at_last() -> Result<()> {
    let (mut bench, id) = decrypted_but_not_handed_over().await?;
    let mut rules = bench.sim.rules();
    rules.resend = false;
    bench.sim.set_rules(rules)?;
    assert_eq!(bench.store.lose("pending-inbound")?, 1);
    for asked in 1..=3 {
        let link = bench.dial(None, true);
        bench.ready(link).await?;
        bench.eventually("the question", |bench| bench.counters().tally.resends_asked == asked).await?;
        assert!(bench.counters().queued > 0);
        assert!(!bench.store.accepted().contains(&id), "after {asked} questions it is still WhatsApp's");
        let told = bench.store.unrecovered().await?;
        let told: Vec<_> = told.iter().map(|lost| (lost.key.id.as_str(), lost.times, lost.given_up_ms)).collect();
        assert_eq!(told, [(id.as_str(), u32::try_from(asked)?, None)]);
        bench.link.close(link);
        bench.down(link).await?;
    }
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the end of it", |bench| bench.counters().queued == 0).await?;
    assert!(bench.store.accepted().contains(&id));
    let told = bench.store.unrecovered().await?;
    assert_eq!((told.len(), told[0].key.id.as_str(), told[0].why.as_str()), (1, id.as_str(), "content-gone"));
    assert!(told[0].given_up_ms.is_some());
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_nothing_is_dialled_while_the_store_does_not_answer() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    for failing in [Failing::Unavailable, Failing::Hang] {
        bench.store.break_with(Faults::none().outage(failing));
        bench.receive(ANA, "while it is broken").await?;
    }
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    let connects = bench.counters().tally.connects;
    let link = bench.dial(None, true);
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    assert_eq!((bench.counters().tally.connects, bench.counters().queued), (connects, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_under_a_key_that_could_not_be_reserved() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    bench.link.send_text(link, text(ANA, "before")).await?;
    bench.store.break_with(Faults::none().outage(Failing::Unavailable));
    let mut refused = None;
    // A reservation covers some messages; the one that needs a new one must not leave.
    for number in 0..200 {
        if let Err(error) = bench.link.send_text(link, text(ANA, &format!("during {number}"))).await {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(refused, Some(SendError::Failed(_) | SendError::Unconfirmed { .. } | SendError::NotConnected)),
        "{refused:?}"
    );
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    bench.store.heal();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.link.send_text(link, text(ANA, "after")).await?;
    bench
        .eventually("the text", |bench| bench.sim.messages().iter().any(|sent| sent.text.as_deref() == Some("after")))
        .await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_taken_over_is_written_no_more() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    bench.store.steal().await?;
    bench.receive(ANA, "hello").await?;
    assert_eq!(bench.down(link).await?, DownReason::LeaseLost);
    assert_eq!(bench.counters().tally.nacked, 0);
    assert!(bench.counters().queued > 0 && bench.store.events().is_empty());
    // Ours again: what the client held in memory is not the newest any more, so a new one reads the store.
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench.eventually("the event", |bench| bench.store.events().len() == 1).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_leaves_after_the_lease_has_ended() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    bench.link.close(link);
    bench.down(link).await?;
    bench.tenure_for(Duration::from_secs(2));
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    // As after a SIGSTOP: nobody has renewed it, and nobody was told.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let id = bench.receive(ANA, "too late").await?;
    assert_eq!(bench.down(link).await?, DownReason::LeaseLost);
    let counters = bench.counters();
    assert_eq!((counters.queued, counters.tally.nacked, counters.tally.stale_frames), (1, 0, 0), "nothing was said");

    bench.tenure_for(Duration::from_secs(600));
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;
    let told: Vec<_> = bench.store.events().iter().map(|event| event["key"]["id"].clone()).collect();
    assert_eq!(told, [json!(id)]);
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_no_second_message() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    for number in 1..=8 {
        bench.store.break_with(Faults::none().nth(Op::Commit, number, Failing::AnswerLost));
        bench.receive(ANA, &format!("text {number}")).await?;
        bench.link.send_text(link, text(ANA, &format!("answer {number}"))).await?;
    }
    bench.eventually("all events", |bench| bench.store.told().len() == 8).await?;
    bench.eventually("all acknowledgements", |bench| bench.counters().queued == 0).await?;
    bench.link.close(link);
    assert_eq!(bench.down(link).await?, DownReason::Requested, "it passed within the grace");
    assert_eq!(bench.store.told().len(), 8);
    bench.assert_harmless();
    Ok(())
}
