//! The Seal: a store that errs, hangs or was taken over costs time, never a message or a key.

use anyhow::{Context, Result, bail};
use holdfast::ports::link::SendError;
use holdfast_core::connection::DownReason;
use serde_json::json;

use super::bench::{ANA, Bench, text};
use super::memory_store::Fault;

/// A message comes while the store is broken: nothing leaves, the message stays at WhatsApp, and comes once the store is back.
async fn loses_nothing(fault: Fault) -> Result<()> {
    let (mut bench, mut link) = Bench::online().await?;
    // A session with the contact exists, so that the message is one like any other.
    bench.receive(ANA, "first").await?;
    bench.eventually("the first event", |bench| bench.store.events().len() == 1).await?;
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;

    if fault == Fault::Reads {
        // Only a new client has to read the session.
        bench.link.close(link);
        bench.down(link).await?;
        link = bench.dial(None, true);
        bench.ready(link).await?;
    }
    bench.store.break_with(fault);
    let id = bench.receive(ANA, "second").await?;
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable, "{fault:?}");
    let counters = bench.counters();
    assert_eq!(counters.tally.nacked, 0, "{fault:?}");
    let (queued, handed_over) = (counters.queued, bench.store.events().len());
    // If only the ratchet cannot be stored, the message may already be handed over.
    let safe = (queued, handed_over) == (1, 1) || (fault == Fault::WritesOf("session") && handed_over == 2);
    assert!(safe, "{fault:?}: {queued} at WhatsApp, {handed_over} handed over");

    // While it is broken nothing is dialled.
    let connects = counters.tally.connects;
    let link = bench.dial(None, true);
    let broken_for_dials = !matches!(fault, Fault::Writes | Fault::WritesOf(_) | Fault::Corrupt(_));
    if broken_for_dials {
        assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
        assert_eq!(bench.counters().tally.connects, connects);
    } else {
        bench.link.close(link);
        bench.down(link).await?;
    }

    bench.store.heal();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the second event", |bench| bench.store.events().len() == 2).await?;
    assert_eq!(bench.store.events()[1].data["key"]["id"], id.as_str());
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;
    bench.link.send_text(link, text(ANA, "still here")).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_failing_reads_and_writes() -> Result<()> {
    loses_nothing(Fault::Everything).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_failing_reads() -> Result<()> {
    loses_nothing(Fault::Reads).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_failing_writes() -> Result<()> {
    loses_nothing(Fault::Writes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_a_failing_pending_row() -> Result<()> {
    loses_nothing(Fault::WritesOf("pending-inbound")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_a_failing_session() -> Result<()> {
    loses_nothing(Fault::WritesOf("session")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_a_hanging_store() -> Result<()> {
    loses_nothing(Fault::Hang).await
}

/// A message of the offline queue is decrypted and kept, but cannot be handed over; returns with its ratchet on disk and the link down.
async fn decrypted_but_not_handed_over() -> Result<(Bench, String)> {
    let (mut bench, mut link) = Bench::online().await?;
    // The library decides by a race whether a message still belongs to the queue. One that came live has no ratchet on disk yet.
    for _ in 0..20 {
        bench.link.close(link);
        bench.down(link).await?;
        let id = bench.receive(ANA, "hello").await?;
        bench.store.break_with(Fault::Handover);
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
    let event = bench.store.events().pop().context("an event")?;
    assert_eq!((&event.data["key"]["id"], &event.data["message"]["conversation"]), (&json!(id), &json!("hello")));
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_content_is_gone_is_asked_for_and_given_up_only_by_its_id() -> Result<()> {
    let (mut bench, id) = decrypted_but_not_handed_over().await?;
    assert_eq!(bench.store.lose_rows("pending-inbound"), 1);
    for asked in 0..3 {
        let link = bench.dial(None, true);
        bench.ready(link).await?;
        bench
            .eventually("the question to the phone", |bench| {
                bench.store.value("asked-inbound") == Some(vec![asked + 1])
            })
            .await?;
        assert!(bench.counters().queued > 0);
        assert!(
            !bench.store.accepted().iter().any(|key| key.id == id),
            "after {asked} questions it is still WhatsApp's"
        );
        bench.link.close(link);
        bench.down(link).await?;
    }
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the end of it", |bench| bench.counters().queued == 0).await?;
    assert!(bench.store.accepted().iter().any(|key| key.id == id));
    assert_eq!((bench.store.rows("dead-inbound"), bench.store.rows("asked-inbound")), (1, 0));
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_under_a_key_that_could_not_be_reserved() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.send_text(link, text(ANA, "before")).await?;
    bench.store.break_with(Fault::Everything);
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
    let (mut bench, link) = Bench::online().await?;
    bench.store.steal();
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
async fn an_unreadable_session_is_no_missing_one() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.receive(ANA, "first").await?;
    bench.eventually("the first event", |bench| bench.store.events().len() == 1).await?;
    bench.eventually("its acknowledgement", |bench| bench.counters().queued == 0).await?;
    bench.link.close(link);
    bench.down(link).await?;
    // A new client has the session in its store only.
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.store.break_with(Fault::Corrupt("session"));
    bench.receive(ANA, "second").await?;
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    assert_eq!(bench.counters().tally.nacked, 0);
    assert!(bench.counters().queued > 0);
    bench.store.heal();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the second event", |bench| bench.store.events().len() == 2).await?;
    bench.assert_harmless();
    Ok(())
}
