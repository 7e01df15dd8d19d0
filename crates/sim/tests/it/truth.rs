//! Clients that misbehave, and the counters that must show it.

use std::time::Duration;

use futures_util::StreamExt as _;
use holdfast_sim::api::CountersView;
use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{Action, EventKind, EventQuery, FaultRequest, Simulator};
use rand::rngs::StdRng;
use wacore_libsignal::protocol::KeyPair;

use crate::client::{Link, PHONE, linked};
use crate::writing::{message, session_with, text};

const CONTACT: &str = "5511888880001";

async fn happens(simulator: &Simulator, kind: EventKind) {
    let query = EventQuery { kind: Some(kind), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap();
}

fn counters(simulator: &Simulator) -> CountersView {
    simulator.counters(Some(PHONE)).unwrap()
}

async fn fault(simulator: &Simulator, action: Action) -> usize {
    simulator.fault(FaultRequest { target: PHONE.to_owned(), action }).await.unwrap().hit
}

#[tokio::test]
async fn two_connections_at_one_moment_are_seen_and_the_newer_one_wins() {
    let (simulator, client) = linked().await;
    let mut old = client.log_in(&simulator).await;
    let mut new = client.log_in(&simulator).await;
    let error = old.next_tagged("stream:error").await;
    assert_eq!(attr(error.get_optional_child("conflict").unwrap(), "type").as_deref(), Some("replaced"));
    new.ping().await;
    let counts = counters(&simulator);
    assert!(counts.tally.overlapped);
    assert_eq!((counts.tally.peak_concurrent, counts.current), (2, 2), "the old one is not closed by its client yet");

    let ping =
        wacore_binary::builder::NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p").attr("id", "x").build();
    if old.try_send(&ping).await.is_ok() {
        happens(&simulator, EventKind::StaleFrame).await;
        assert_eq!(counters(&simulator).tally.stale_frames, 1);
    }
    assert_eq!(counters(&simulator).tally.pings, 1, "a stale ping is no ping");
}

#[tokio::test]
async fn one_connection_after_the_other_is_no_overlap() {
    let (simulator, client) = linked().await;
    for _ in 0..20 {
        client.log_in(&simulator).await.close().await;
        // A client that is gone without a close frame has closed its connection just as well.
        drop(client.log_in(&simulator).await);
    }
    let mut last = client.log_in(&simulator).await;
    last.ping().await;
    let counts = counters(&simulator);
    assert!(!counts.tally.overlapped);
    assert_eq!((counts.tally.peak_concurrent, counts.current, counts.tally.stale_frames), (1, 1, 0));
    assert_eq!((counts.tally.connects, counts.tally.logins), (42, 41));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_client_said_before_it_left_is_not_held_against_it_however_late_it_is_read() {
    let (simulator, client) = linked().await;
    for _ in 0..30 {
        let mut link = client.log_in(&simulator).await;
        for number in 0..50 {
            let ping = wacore_binary::builder::NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p");
            link.send(&ping.attr("id", number.to_string()).build()).await;
        }
        drop(link);
    }
    client.log_in(&simulator).await.ping().await;
    let counts = counters(&simulator);
    assert_eq!((counts.tally.stale_frames, counts.tally.overlapped), (0, false), "{counts:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_alive_until_its_client_closes_it() {
    let (simulator, client) = linked().await;
    let old = client.log_in(&simulator).await;
    assert_eq!(fault(&simulator, Action::Fin).await, 1);
    let mut new = client.log_in(&simulator).await;
    happens(&simulator, EventKind::Overlap).await;
    new.ping().await;
    assert!(counters(&simulator).tally.overlapped);
    drop(old);
    happens(&simulator, EventKind::Disconnect).await;
}

#[tokio::test]
async fn a_silent_server_says_nothing_and_still_sees_the_client_leave() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    while link.next_within(Duration::from_millis(50)).await.is_some() {}
    assert_eq!(fault(&simulator, Action::Silent).await, 1);
    let ping =
        wacore_binary::builder::NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p").attr("id", "x").build();
    link.send(&ping).await;
    happens(&simulator, EventKind::Ping).await;
    assert!(link.next_within(Duration::from_millis(100)).await.is_none());
    assert_eq!(counters(&simulator).current, 1);

    assert_eq!(fault(&simulator, Action::Clear).await, 1);
    assert_eq!(attr(&link.ping().await, "type").as_deref(), Some("result"), "it can speak again");
    fault(&simulator, Action::Silent).await;
    let before = simulator.last_event();
    drop(link);
    let gone = EventQuery { kind: Some(EventKind::Disconnect), since: Some(before), ..EventQuery::default() };
    simulator.wait(&gone).await.unwrap();
    assert_eq!(counters(&simulator).current, 0);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    assert_eq!(fault(&simulator, Action::Rst).await, 1);
    let error = loop {
        match link.socket.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a reset is not a close"),
        }
    };
    assert!(error.to_string().to_lowercase().contains("reset"), "{error}");
    assert_eq!(counters(&simulator).current, 0);
}

#[tokio::test]
async fn a_login_with_another_noise_key_is_refused_and_counted() {
    let (simulator, mut client) = linked().await;
    client.noise = KeyPair::generate(&mut rand::make_rng::<StdRng>());
    let failure = Link::log_in(&simulator, &client).await.next().await;
    assert_eq!((failure.tag.as_ref(), attr(&failure, "reason").as_deref()), ("failure", Some("401")));
    assert_eq!(counters(&simulator).tally.static_mismatches, 1);
}

#[tokio::test]
async fn a_message_key_used_for_two_messages_is_counted_and_a_repeated_message_is_told_apart() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let rng = &mut rand::make_rng::<StdRng>();
    let (mut signal, contact) = session_with(&mut link, CONTACT).await;
    let mut restored_from_backup = signal.clone();

    let first = signal.seal(&contact, &text("one"), rng).unwrap();
    link.send(&message("M1", &contact, first.kind, &first.bytes)).await;
    link.send(&message("M1", &contact, first.kind, &first.bytes)).await;
    link.ping().await;
    let counts = counters(&simulator);
    assert_eq!((counts.tally.counters_reused, counts.tally.counters_repeated), (0, 1));

    let second = restored_from_backup.seal(&contact, &text("two"), rng).unwrap();
    link.send(&message("M2", &contact, second.kind, &second.bytes)).await;
    link.ping().await;
    let counts = counters(&simulator);
    assert_eq!((counts.tally.counters_reused, counts.tally.counters_repeated), (1, 1));
    assert_eq!(simulator.messages().len(), 1);
}
