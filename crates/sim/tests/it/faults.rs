//! Faults of a single connection, and that the server still sees what its client does.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{Action, EventKind, EventQuery, FaultRequest, Options, Simulator};
use tokio_tungstenite::tungstenite::Message;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Link};

const PHONE: &str = "5511999990001";

async fn logged_in() -> (Simulator, Client, Link) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    // Everything that follows a login has come when this is answered.
    link.ping().await;
    (simulator, client, link)
}

async fn fault(simulator: &Simulator, action: Action) -> usize {
    simulator.fault(FaultRequest { target: PHONE.to_owned(), action }).await.unwrap().hit
}

async fn next_event(simulator: &Simulator, since: u64, kind: EventKind) {
    let query = EventQuery { kind: Some(kind), since: Some(since), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap();
}

fn ping(id: &str) -> Node {
    NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p").attr("id", id).build()
}

fn lasting(simulator: &Simulator) -> Vec<&'static str> {
    simulator.sessions().pop().unwrap().faults
}

fn pings(simulator: &Simulator) -> u64 {
    simulator.counters(Some(PHONE)).unwrap().tally.pings
}

#[tokio::test]
async fn a_stream_error_is_told_as_often_as_was_asked_for() {
    for (asked, times) in [(None, 1), (Some(35), 35)] {
        let (simulator, _, mut link) = logged_in().await;
        let error = Action::StreamError { code: Some(503), conflict: None, times: asked };
        assert_eq!(fault(&simulator, error).await, 1);
        for _ in 0..times {
            assert_eq!(attr(&link.next_tagged("stream:error").await, "code").as_deref(), Some("503"));
        }
        link.until_closed().await;
    }
}

#[tokio::test]
async fn a_websocket_close_has_the_code_that_was_asked_for() {
    for (asked, seen) in [(None, 1000_u16), (Some(1012), 1012), (Some(4001), 4001)] {
        let (simulator, _, mut link) = logged_in().await;
        let before = simulator.last_event();
        assert_eq!(fault(&simulator, Action::WsClose { code: asked }).await, 1);
        let code = loop {
            if let Message::Close(frame) = link.socket.next().await.unwrap().unwrap() {
                break u16::from(frame.unwrap().code);
            }
        };
        assert_eq!(code, seen);
        link.until_closed().await;
        next_event(&simulator, before, EventKind::Disconnect).await;
    }
}

#[tokio::test]
async fn a_stalled_server_reads_nothing_and_still_sees_its_client_leave() {
    let (simulator, _, mut link) = logged_in().await;
    assert_eq!(fault(&simulator, Action::Stall).await, 1);
    assert_eq!(lasting(&simulator), ["stall"]);
    let before = simulator.last_event();
    for number in 0..10 {
        link.send(&ping(&number.to_string())).await;
    }
    drop(link);
    next_event(&simulator, before, EventKind::Disconnect).await;
    assert_eq!((pings(&simulator), simulator.counters(Some(PHONE)).unwrap().current), (1, 0));
}

#[tokio::test]
async fn a_stalled_server_sees_a_reset() {
    let (simulator, _, mut link) = logged_in().await;
    fault(&simulator, Action::Stall).await;
    let before = simulator.last_event();
    link.send(&ping("x")).await;
    let tokio_tungstenite::MaybeTlsStream::Plain(tcp) = link.socket.get_ref() else { unreachable!() };
    tcp.set_zero_linger().unwrap();
    drop(link);
    let query = EventQuery { kind: Some(EventKind::Disconnect), since: Some(before), ..EventQuery::default() };
    assert_eq!(simulator.wait(&query).await.unwrap().detail["how"], "rst");
}

#[tokio::test]
async fn a_server_that_stalls_no_more_reads_what_was_sent_meanwhile() {
    let (simulator, _, mut link) = logged_in().await;
    fault(&simulator, Action::Stall).await;
    link.send(&ping("meanwhile")).await;
    assert!(link.next_within(Duration::from_millis(50)).await.is_none());
    assert_eq!(pings(&simulator), 1);
    assert_eq!(fault(&simulator, Action::Clear).await, 1);
    assert_eq!(attr(&link.next().await, "id").as_deref(), Some("meanwhile"));
    assert!(lasting(&simulator).is_empty());
}

#[tokio::test]
async fn a_stalled_connection_accuses_only_a_client_that_keeps_it() {
    let (simulator, client, mut old) = logged_in().await;
    fault(&simulator, Action::Stall).await;
    old.send(&ping("unread")).await;
    drop(old);
    let next = client.log_in(&simulator).await;
    assert!(!simulator.counters(Some(PHONE)).unwrap().tally.overlapped);

    fault(&simulator, Action::Stall).await;
    let before = simulator.last_event();
    let _third = client.log_in(&simulator).await;
    next_event(&simulator, before, EventKind::Overlap).await;
    drop(next);
    next_event(&simulator, before, EventKind::Disconnect).await;
}

#[tokio::test]
async fn a_stalled_connection_can_be_reset_and_is_closed_once_the_server_reads_again() {
    let (simulator, client, mut link) = logged_in().await;
    fault(&simulator, Action::Stall).await;
    fault(&simulator, Action::Rst).await;
    assert!(link.next_within(Duration::from_secs(5)).await.is_none());
    let mut link = client.log_in(&simulator).await;
    fault(&simulator, Action::Stall).await;
    fault(&simulator, Action::WsClose { code: None }).await;
    fault(&simulator, Action::Clear).await;
    while let Some(Ok(_)) = link.socket.next().await {}
}

#[tokio::test]
async fn muted_pings_are_counted_and_everything_else_is_answered() {
    let (simulator, _, mut link) = logged_in().await;
    assert_eq!(fault(&simulator, Action::MutePings).await, 1);
    assert_eq!(lasting(&simulator), ["mute-pings"]);
    link.send(&ping("muted")).await;
    link.send(&NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "abt").attr("id", "other").build()).await;
    assert_eq!(attr(&link.next().await, "id").as_deref(), Some("other"));
    assert_eq!(pings(&simulator), 2);
    fault(&simulator, Action::Clear).await;
    assert_eq!(attr(&link.ping().await, "type").as_deref(), Some("result"));
}

#[tokio::test]
async fn everything_comes_late_and_in_order_until_that_is_taken_back() {
    const LATE: Duration = Duration::from_millis(100);
    let (simulator, _, mut link) = logged_in().await;
    assert_eq!(fault(&simulator, Action::Delay { ms: 100 }).await, 1);
    assert_eq!(lasting(&simulator), ["delay"]);
    let sent = Instant::now();
    link.send(&ping("one")).await;
    link.send(&ping("two")).await;
    assert_eq!(attr(&link.next().await, "id").as_deref(), Some("one"));
    assert!(sent.elapsed() >= LATE);
    assert_eq!(attr(&link.next().await, "id").as_deref(), Some("two"));

    fault(&simulator, Action::Delay { ms: 600_000 }).await;
    link.send(&ping("held")).await;
    let before = simulator.last_event();
    link.send(&ping("held too")).await;
    next_event(&simulator, before, EventKind::Ping).await;
    fault(&simulator, Action::Clear).await;
    assert_eq!(attr(&link.next().await, "id").as_deref(), Some("held"));
    assert_eq!(attr(&link.next().await, "id").as_deref(), Some("held too"));

    fault(&simulator, Action::Delay { ms: 600_000 }).await;
    let before = simulator.last_event();
    drop(link);
    next_event(&simulator, before, EventKind::Disconnect).await;
}

#[tokio::test]
async fn garbage_cannot_be_decrypted_and_does_not_count() {
    let (simulator, _, mut link) = logged_in().await;
    assert_eq!(fault(&simulator, Action::Garbage).await, 1);
    link.next_garbage().await;
    assert_eq!(attr(&link.ping().await, "type").as_deref(), Some("result"));
}

#[tokio::test]
async fn faults_that_make_no_sense_are_refused_and_change_nothing() {
    let (simulator, _, mut link) = logged_in().await;
    let before = simulator.last_event();
    let mut wrong: Vec<Action> =
        [0, 999, 1004, 1005, 1006, 1015, 2000, 5000].map(|code| Action::WsClose { code: Some(code) }).into();
    wrong.push(Action::Delay { ms: 600_001 });
    for action in wrong {
        let request = FaultRequest { target: PHONE.to_owned(), action };
        let problem = simulator.fault(request.clone()).await.unwrap_err();
        assert!(problem.status == 400 && problem.sentence.len() > 20, "{request:?}: {problem}");
    }
    assert_eq!(simulator.last_event(), before);
    assert_eq!(attr(&link.ping().await, "type").as_deref(), Some("result"));
}

#[tokio::test]
async fn a_device_counts_as_served_until_it_is_not_answered_any_more() {
    let served = |simulator: &Simulator| simulator.served().pop().map(|one| (one.served, one.since)).unwrap();
    for action in [Action::Silent, Action::Stall, Action::Garbage, Action::Rst, Action::Fin, Action::DeviceRemoved] {
        let (simulator, _client, _link) = logged_in().await;
        let (before, since) = served(&simulator);
        assert!(before);
        fault(&simulator, action.clone()).await;
        let (after, ended) = served(&simulator);
        assert!(!after && ended >= since, "{action:?}");
    }
    let (simulator, _client, _link) = logged_in().await;
    for action in [Action::Delay { ms: 50 }, Action::MutePings, Action::Silent, Action::Clear] {
        fault(&simulator, action.clone()).await;
        assert_eq!(served(&simulator).0, action != Action::Silent, "{action:?}");
    }
}
