//! Servers that take their time, or say nothing at all, and clients that lose patience.

use std::time::{Duration, Instant};

use holdfast_sim::{EventKind, EventQuery, Rules, Simulator, Slow};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Link, connect, linked};

const LATE: Duration = Duration::from_millis(100);
const FOREVER: u64 = 600_000;

async fn next_event(simulator: &Simulator, since: u64, kind: EventKind) {
    let query = EventQuery { kind: Some(kind), since: Some(since), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap();
}

fn slow(simulator: &Simulator, slow: Slow) {
    simulator.set_rules(Rules { slow, ..Rules::default() }).unwrap();
}

#[tokio::test]
async fn each_step_of_a_login_can_come_late() {
    let (simulator, client) = linked().await;
    for late in [
        Slow { upgrade_ms: 100, ..Slow::default() },
        Slow { hello_ms: 100, ..Slow::default() },
        Slow { success_ms: 100, ..Slow::default() },
    ] {
        slow(&simulator, late);
        let begun = Instant::now();
        let mut link = Link::log_in(&simulator, &client).await;
        assert_eq!(link.next().await.tag, "success");
        assert!(begun.elapsed() >= LATE, "{late:?}");
        link.ping().await;
        link.close().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_its_upgrade_is_noticed_at_once() {
    let (simulator, _) = linked().await;
    slow(&simulator, Slow { upgrade_ms: FOREVER, ..Slow::default() });
    let authority = simulator.ws_url().strip_prefix("ws://").unwrap().strip_suffix("/ws/chat").unwrap();
    let mut tcp = TcpStream::connect(authority).await.unwrap();
    tcp.write_all(b"GET /ws/chat HTTP/1.1\r\n").await.unwrap();
    tcp.shutdown().await.unwrap();
    // The server's half closes, or is reset as it has not read the request.
    let end = tokio::time::timeout(Duration::from_secs(5), tcp.read(&mut [0])).await.expect("noticed");
    assert_eq!(end.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_its_login_is_noticed_at_once() {
    for (late, last) in [
        (Slow { hello_ms: FOREVER, ..Slow::default() }, EventKind::Connect),
        (Slow { success_ms: FOREVER, ..Slow::default() }, EventKind::Login),
    ] {
        let (simulator, client) = linked().await;
        slow(&simulator, late);
        let before = simulator.last_event();
        let login = async {
            let mut link = Link::log_in(&simulator, &client).await;
            link.next().await;
        };
        tokio::select! {
            () = login => panic!("answered too early: {late:?}"),
            () = next_event(&simulator, before, last) => {}
        }
        next_event(&simulator, before, EventKind::Disconnect).await;
    }
}

#[tokio::test]
async fn a_server_that_is_silent_from_the_beginning_accepts_the_upgrade_and_sees_the_client_leave() {
    let (simulator, client) = linked().await;
    simulator.set_rules(Rules { silent_on_connect: true, ..Rules::default() }).unwrap();
    let before = simulator.last_event();
    let socket = connect(&simulator).await;
    let session = simulator.sessions().pop().unwrap();
    assert_eq!((session.state, session.silent, session.faults), ("handshake", true, vec!["silent"]));
    let hello = Link::log_in(&simulator, &client);
    assert!(tokio::time::timeout(LATE, hello).await.is_err(), "no hello");
    drop(socket);
    next_event(&simulator, before, EventKind::Disconnect).await;

    simulator.set_rules(Rules::default()).unwrap();
    client.log_in(&simulator).await.close().await;
}

#[tokio::test]
async fn a_server_that_is_silent_from_the_login_on_says_success_and_serves_nobody() {
    let (simulator, client) = linked().await;
    simulator.set_rules(Rules { silent_on_success: true, ..Rules::default() }).unwrap();
    let mut link = Link::log_in(&simulator, &client).await;
    assert_eq!(link.next().await.tag, "success");
    assert!(tokio::time::timeout(LATE, link.next()).await.is_err(), "nothing more");
    assert!(!simulator.served().pop().unwrap().served);
    drop(link);

    simulator.set_rules(Rules::default()).unwrap();
    let link = client.log_in(&simulator).await;
    assert!(simulator.served().pop().unwrap().served);
    link.close().await;
}
