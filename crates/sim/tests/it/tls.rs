//! The same server beneath TLS.

use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{Action, EventKind, EventQuery, FaultRequest, Options, RefuseMode, RefuseRequest, Simulator};
use tempfile::TempDir;
use tokio::net::TcpStream;
use wacore_binary::builder::NodeBuilder;

use crate::client::{Client, trusting};

const PHONE: &str = "5511999990001";

async fn start() -> (TempDir, Simulator) {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(folder.path().join("authority.pem"));
    let simulator = Simulator::start(Options { tls, ..Options::default() }).await.unwrap();
    (folder, simulator)
}

async fn fault(simulator: &Simulator, action: Action) {
    let request = FaultRequest { target: PHONE.to_owned(), action };
    assert_eq!(simulator.fault(request).await.unwrap().hit, 1);
}

async fn gone(simulator: &Simulator, since: u64) -> String {
    let query = EventQuery { kind: Some(EventKind::Disconnect), since: Some(since), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap().detail["how"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_pairs_and_logs_in_and_others_do_not_get_in() {
    let (folder, simulator) = start().await;
    let health = simulator.health();
    assert!(health.ws.starts_with("wss://127.0.0.1:") && health.media.starts_with("https://127.0.0.1:"), "{health:?}");
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    assert_eq!(attr(&link.ping().await, "type").as_deref(), Some("result"));
    let written = std::fs::read_to_string(folder.path().join("authority.pem")).unwrap();
    assert!(written.contains("BEGIN CERTIFICATE") && !written.contains("PRIVATE KEY"), "{written}");

    // Another simulator's authority is another one.
    let (other, _other) = start().await;
    let connector = tokio_tungstenite::Connector::Rustls(trusting(&other.path().join("authority.pem")));
    let refused =
        tokio_tungstenite::connect_async_tls_with_config(simulator.ws_url(), None, false, Some(connector)).await;
    assert!(refused.unwrap_err().to_string().contains("certificate"));
}

#[tokio::test]
async fn faults_strike_and_endings_are_seen_beneath_tls_too() {
    let (_folder, simulator) = start().await;
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let before = simulator.last_event();
    drop(client.log_in(&simulator).await);
    assert_eq!(gone(&simulator, before).await, "fin");

    let mut link = client.log_in(&simulator).await;
    fault(&simulator, Action::Silent).await;
    link.send(&NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p").attr("id", "x").build()).await;
    let ping = EventQuery { kind: Some(EventKind::Ping), ..EventQuery::default() };
    simulator.wait(&ping).await.unwrap();
    fault(&simulator, Action::Clear).await;
    link.ping().await;
    let before = simulator.last_event();
    fault(&simulator, Action::Stall).await;
    drop(link);
    gone(&simulator, before).await;

    let link = client.log_in(&simulator).await;
    let before = simulator.last_event();
    fault(&simulator, Action::Fin).await;
    link.until_closed().await;
    assert_eq!(gone(&simulator, before).await, "fin");

    // One after the other, and never two at a moment.
    let link = client.log_in(&simulator).await;
    let before = simulator.last_event();
    fault(&simulator, Action::Rst).await;
    link.until_closed().await;
    assert_eq!(gone(&simulator, before).await, "reset");
    link_again(&simulator, &client).await;
    let counts = simulator.counters(Some(PHONE)).unwrap();
    assert!(!counts.tally.overlapped && counts.tally.stale_frames == 0);
}

async fn link_again(simulator: &Simulator, client: &Client) {
    client.log_in(simulator).await.ping().await;
}

#[tokio::test]
async fn a_client_that_never_speaks_holds_nobody_up_and_a_refusal_is_said_beneath_tls() {
    let (_folder, simulator) = start().await;
    let address = simulator.ws_url().trim_start_matches("wss://").trim_end_matches("/ws/chat").to_owned();
    let _mute = TcpStream::connect(&address).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let request = RefuseRequest { seconds: 60.0, mode: Some(RefuseMode::Http), status: Some(502) };
    simulator.refuse(&request).await.unwrap();
    let file = simulator.health().authority.clone().unwrap();
    let connector = tokio_tungstenite::Connector::Rustls(trusting(std::path::Path::new(&file)));
    let refused =
        tokio_tungstenite::connect_async_tls_with_config(simulator.ws_url(), None, false, Some(connector)).await;
    assert!(refused.unwrap_err().to_string().contains("502"));
}
