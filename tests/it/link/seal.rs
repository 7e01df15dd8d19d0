//! The Seal: a store that errs, hangs or was taken over costs time, never a message or a key.

use anyhow::Result;
use holdfast::ports::link::SendError;
use holdfast_core::connection::DownReason;

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
    if fault == Fault::WritesOf("session") {
        assert_eq!(bench.store.events().len(), 2, "the message was handed over before its ratchet failed");
    } else {
        assert_eq!((counters.queued, bench.store.events().len()), (1, 1), "{fault:?}: WhatsApp still has the message");
    }

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
    assert!(matches!(refused, Some(SendError::Failed(_) | SendError::Unconfirmed { .. } | SendError::NotConnected)), "{refused:?}");
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    bench.store.heal();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.link.send_text(link, text(ANA, "after")).await?;
    bench.eventually("the text", |bench| bench.sim.messages().iter().any(|sent| sent.text.as_deref() == Some("after"))).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_taken_over_is_written_no_more() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.store.steal();
    bench.receive(ANA, "hello").await?;
    assert_eq!(bench.down(link).await?, DownReason::LeaseLost);
    let counters = bench.counters();
    assert_eq!((counters.tally.nacked, counters.queued), (0, 1));
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
    bench.link.close(link);
    bench.down(link).await?;
    // A new client has the session in its store only.
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.store.break_with(Fault::Corrupt("session"));
    bench.receive(ANA, "second").await?;
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    assert_eq!((bench.counters().tally.nacked, bench.counters().queued), (0, 1));
    bench.store.heal();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the second event", |bench| bench.store.events().len() == 2).await?;
    bench.assert_harmless();
    Ok(())
}
