//! Text in and out.

use std::time::Duration;

use anyhow::{Result, bail};
use holdfast::ports::link::{OutgoingText, Report, SendError};
use holdfast_core::event::EventName;
use holdfast_sim::{Action, MessageFailure, Rules};

use super::bench::{ANA, Bench, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_received_text_is_accepted_with_its_event_and_then_acknowledged() -> Result<()> {
    let (bench, _) = Bench::online().await?;
    let id = bench.receive(ANA, "hello").await?;
    bench.eventually("the event", |bench| !bench.store.events().is_empty()).await?;
    let events = bench.store.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["key"]["id"], id.as_str());
    assert_eq!(events[0]["message"]["conversation"], "hello");
    assert_eq!(events[0]["messageType"], "conversation");
    assert!(bench.store.accepted().contains(&id));
    bench.eventually("the acknowledgement", |bench| bench.counters().queued == 0).await?;
    bench.eventually("the end of the pending row", |bench| bench.store.rows("pending-inbound") == 0).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_offline_queue_arrive_in_order_and_once() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.close(link);
    bench.down(link).await?;
    for number in 0..30 {
        bench.receive(ANA, &format!("text {number}")).await?;
    }
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench.eventually("all events", |bench| bench.store.events().len() == 30).await?;
    let expected: Vec<String> = (0..30).map(|number| format!("text {number}")).collect();
    assert_eq!(bench.store.told(), expected);
    bench.eventually("all acknowledgements", |bench| bench.counters().queued == 0).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_text_is_answered_after_the_acknowledgement() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    let sent = bench.link.send_text(link, text(ANA, "good morning")).await?;
    assert_eq!(sent.body["key"]["remoteJid"], format!("{ANA}@s.whatsapp.net"));
    assert_eq!(sent.body["message"]["conversation"], "good morning");
    assert_eq!(sent.body["status"], "PENDING");
    assert_eq!(sent.body["source"], "web");
    bench
        .eventually("the decrypted text", |bench| {
            bench.sim.messages().iter().any(|message| message.text.as_deref() == Some("good morning"))
        })
        .await?;
    loop {
        if let Report::Event { event, .. } = bench.report().await?
            && event.name == EventName::SendMessage
        {
            assert_eq!(event.data, sent.body);
            break;
        }
    }
    for number in 0..5 {
        bench.link.send_text(link, text(ANA, &format!("more {number}"))).await?;
    }
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_said() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    let Err(SendError::Invalid(_)) = bench.link.send_text(link, text("nobody", "hi")).await else {
        bail!("that is no number")
    };
    bench.link.close(link);
    bench.down(link).await?;
    let Err(SendError::NotConnected) = bench.link.send_text(link, text(ANA, "hi")).await else {
        bail!("there is no link")
    };
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_over_redials_and_new_clients() -> Result<()> {
    let (mut bench, mut link) = Bench::online().await?;
    for round in 0..6 {
        bench.receive(ANA, &format!("in {round}")).await?;
        bench.link.send_text(link, text(ANA, &format!("out {round}"))).await?;
        bench.eventually("the event", |bench| bench.store.events().len() == round + 1).await?;
        bench.link.close(link);
        bench.down(link).await?;
        link = bench.dial(None, round % 2 == 0);
        bench.ready(link).await?;
    }
    let out = bench
        .sim
        .messages()
        .iter()
        .filter(|message| message.text.as_deref().is_some_and(|text| text.starts_with("out")))
        .count();
    assert_eq!(out, 6);
    assert_eq!(bench.counters().tally.undecryptable, 0);
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_text_is_said_with_its_code_and_the_next_one_goes() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    for code in [463, 403] {
        let failure = MessageFailure { code: Some(code), count: Some(1), jid: None };
        bench.sim.set_rules(Rules { message_failure: Some(failure), ..Rules::default() })?;
        let refused = bench.link.send_text(link, text(ANA, "refused")).await;
        assert!(matches!(refused, Err(SendError::Refused { code: said }) if said == code), "{refused:?}");
        let update = bench.event(EventName::MessagesUpdate).await?;
        assert_eq!(update.data["status"], "ERROR");
    }
    bench.link.send_text(link, text(ANA, "taken")).await?;
    let texts: Vec<_> = bench.sim.messages().into_iter().filter_map(|message| message.text).collect();
    assert_eq!(texts, ["taken"]);
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_goes_again_under_its_id_is_one_message_under_new_keys() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.send_text(link, text(ANA, "before")).await?;
    let failure = MessageFailure { code: None, count: Some(1), jid: None };
    bench.sim.set_rules(Rules { message_failure: Some(failure), ..Rules::default() })?;
    let id = "3EB0C767D097B7C7C030AB".to_owned();
    let message = OutgoingText { id: Some(id.clone()), ..text(ANA, "once") };
    let sending = tokio::spawn({
        let (link_driver, message) = (bench.link.clone(), message.clone());
        async move { link_driver.send_text(link, message).await }
    });
    bench.eventually("the text", |bench| bench.sim.messages().iter().any(|message| message.id == id)).await?;
    bench.fault(Action::Rst).await?;
    let unconfirmed = sending.await?;
    assert!(matches!(&unconfirmed, Err(SendError::Unconfirmed { id: said }) if *said == id), "{unconfirmed:?}");
    bench.down(link).await?;

    let link = bench.dial(None, true);
    bench.ready(link).await?;
    let sent = bench.link.send_text(link, message).await?;
    assert_eq!(sent.body["key"]["id"], id.as_str());
    bench
        .eventually("the second copy", |bench| {
            bench.sim.messages().iter().any(|message| message.id == id && message.copies == 2)
        })
        .await?;
    assert_eq!(bench.counters().tally.undecryptable, 0);
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_comes_too_late_is_told_as_an_event() -> Result<()> {
    let (mut bench, link) = Bench::patient_for(Duration::from_secs(3)).await?;
    bench.link.send_text(link, text(ANA, "in time")).await?;
    bench.fault(Action::Delay { ms: 4_000 }).await?;
    let Err(SendError::Unconfirmed { id }) = bench.link.send_text(link, text(ANA, "late")).await else {
        bail!("it was acknowledged")
    };
    while !bench.story.iter().any(|report| is_late_ack(report, &id)) {
        bench.report().await?;
    }
    bench.assert_harmless();
    Ok(())
}

fn is_late_ack(report: &Report, id: &str) -> bool {
    let Report::Event { event, .. } = report else { return false };
    event.name == EventName::MessagesUpdate
        && event.data["keyId"] == id
        && event.data["status"] == "SERVER_ACK"
        && event.data["remoteJid"] == format!("{ANA}@s.whatsapp.net")
}
