//! A server that refuses new connections for a while.

use std::io::ErrorKind;
use std::time::Duration;

use holdfast_sim::{EventKind, EventQuery, Options, RefuseMode, RefuseRequest, Simulator};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

use crate::client::{Client, connect};

const PHONE: &str = "5511999990001";
const LONG: f64 = 60.0;

fn authority(simulator: &Simulator) -> &str {
    simulator.ws_url().strip_prefix("ws://").unwrap().strip_suffix("/ws/chat").unwrap()
}

async fn refuse(simulator: &Simulator, seconds: f64, mode: RefuseMode, status: Option<u16>) {
    let answer = simulator.refuse(&RefuseRequest { seconds, mode: Some(mode), status }).await.unwrap();
    assert_eq!(answer.refusing, Some(mode));
}

async fn accept(simulator: &Simulator) {
    let answer = simulator.refuse(&RefuseRequest::default()).await.unwrap();
    assert_eq!(answer.refusing, None);
}

async fn status(simulator: &Simulator) -> Result<(), u16> {
    match tokio_tungstenite::connect_async(simulator.ws_url()).await {
        Ok(_) => Ok(()),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_closed_port_is_refused_by_the_system_and_opens_again_while_connections_live_on() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    for _ in 0..3 {
        refuse(&simulator, LONG, RefuseMode::Listen, None).await;
        let error = TcpStream::connect(authority(&simulator)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        link.ping().await;
        accept(&simulator).await;
        drop(connect(&simulator).await);
    }
    link.ping().await;
}

#[tokio::test]
async fn an_upgrade_is_refused_with_the_status_that_was_asked_for() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    refuse(&simulator, LONG, RefuseMode::Http, None).await;
    assert_eq!(status(&simulator).await, Err(503));
    refuse(&simulator, LONG, RefuseMode::Http, Some(429)).await;
    assert_eq!(status(&simulator).await, Err(429));
    accept(&simulator).await;
    assert_eq!(status(&simulator).await, Ok(()));
}

#[tokio::test]
async fn a_newcomer_is_reset() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    refuse(&simulator, LONG, RefuseMode::Rst, None).await;
    let mut tcp = TcpStream::connect(authority(&simulator)).await.unwrap();
    assert_eq!(tcp.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_newcomer_is_left_hanging_until_it_leaves() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    refuse(&simulator, LONG, RefuseMode::Hang, None).await;
    let upgrade = tokio_tungstenite::connect_async(simulator.ws_url());
    assert!(tokio::time::timeout(Duration::from_millis(100), upgrade).await.is_err());
    let mut tcp = TcpStream::connect(authority(&simulator)).await.unwrap();
    tcp.shutdown().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(5), tcp.read(&mut [0])).await.expect("noticed").unwrap();
    assert_eq!(end, 0);
}

#[tokio::test]
async fn a_refusal_ends_by_itself_and_both_ends_of_it_are_in_the_log() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    refuse(&simulator, LONG, RefuseMode::Http, None).await;
    refuse(&simulator, 0.05, RefuseMode::Listen, None).await;
    let ended = EventQuery { kind: Some(EventKind::Accepting), ..EventQuery::default() };
    simulator.wait(&ended).await.unwrap();
    assert_eq!(status(&simulator).await, Ok(()));
    let begun = EventQuery { kind: Some(EventKind::Refusing), ..EventQuery::default() };
    let modes: Vec<_> =
        simulator.events(&begun).unwrap().into_iter().map(|event| event.detail["mode"].clone()).collect();
    assert_eq!(modes, ["http", "listen"]);
    accept(&simulator).await;
    assert_eq!(simulator.events(&ended).unwrap().len(), 1, "what is open is not opened");
}
