use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{Action, EventKind, EventQuery, FaultRequest, Options, ScanRequest, Simulator};
use wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Link, static_key_in};

const PHONE: &str = "5511999990001";

async fn simulator() -> Simulator {
    Simulator::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn a_client_pairs_by_qr_code_and_logs_in() {
    let simulator = simulator().await;
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = Link::log_in(&simulator, &client).await;
    let success = link.next().await;
    assert_eq!(success.tag, "success");
    assert_eq!(attr(&success, "lid"), Some(client.address().lid_jid().to_string()));
    assert!(attr(&success, "t").is_some());
    link.activate().await;
    let offline = link.next_tagged("ib").await;
    assert_eq!(attr(offline.get_optional_child("offline").unwrap(), "count").as_deref(), Some("0"));
    assert_eq!(simulator.sessions()[0].state, "open");
}

#[tokio::test]
async fn a_second_device_of_the_same_phone_gets_a_number_of_its_own() {
    let simulator = simulator().await;
    let (mut first, mut second) = (Client::new(), Client::new());
    first.pair(&simulator, PHONE).await;
    second.pair(&simulator, PHONE).await;
    assert_eq!((first.address().device, second.address().device), (1, 2));
    assert_eq!(simulator.accounts()[0].devices.len(), 2);
}

#[tokio::test]
async fn a_device_that_signs_wrongly_is_refused_and_counted() {
    let simulator = simulator().await;
    let client = Client::new();
    let mut link = Link::register(&simulator, &client).await;
    let reference = link.reference().await;
    let (operator, qr) = (simulator.operator(), client.qr(&reference));
    let scanning = tokio::spawn(async move { operator.scan(&ScanRequest { qr, ..ScanRequest::default() }).await });
    link.sign(&client, |statement| statement.device_signature = Some(vec![1; 64])).await;
    assert_eq!(link.next().await.tag, "stream:error");
    let problem = scanning.await.unwrap().unwrap_err();
    assert_eq!(problem.status, 409);
    assert!(problem.sentence.contains("signature"), "{problem}");
    assert_eq!(simulator.counters(None).unwrap().tally.pairings_refused, 1);
    assert!(simulator.accounts()[0].devices.is_empty());
}

#[tokio::test]
async fn a_qr_code_is_good_once_and_only_for_the_client_that_shows_it() {
    let simulator = simulator().await;
    let (mut client, stranger) = (Client::new(), Client::new());
    let mut link = Link::register(&simulator, &client).await;
    let reference = link.reference().await;
    let scan = |qr: String| ScanRequest { qr, phone: Some(PHONE.to_owned()), ..ScanRequest::default() };
    assert_eq!(simulator.scan(&scan("nonsense".to_owned())).await.unwrap_err().status, 400);
    assert_eq!(simulator.scan(&scan(client.qr("2@never-given"))).await.unwrap_err().status, 404);
    assert_eq!(simulator.scan(&scan(stranger.qr(&reference))).await.unwrap_err().status, 400);
    link.close().await;
    let gone = EventQuery { kind: Some(EventKind::Disconnect), ..EventQuery::default() };
    simulator.wait(&gone).await.unwrap();
    assert_eq!(simulator.scan(&scan(client.qr(&reference))).await.unwrap_err().status, 404);
    client.pair(&simulator, PHONE).await;
}

#[tokio::test]
async fn a_known_static_key_shortens_the_handshake_and_a_stale_one_falls_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let simulator = Simulator::start(Options { state: Some(state.clone()), ..Options::default() }).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = Link::log_in_ik(&simulator, &client, static_key_in(&state)).await.unwrap();
    assert_eq!(link.next().await.tag, "success");
    let session = &simulator.sessions()[0];
    assert_eq!((session.handshake, session.edge_routing), (Some("IK"), true));
    assert!(Link::log_in_ik(&simulator, &client, [9; 32]).await.is_none());
}

#[tokio::test]
async fn an_unlinked_device_is_told_so_whether_it_is_connected_or_not() {
    let simulator = simulator().await;
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    let removed = || FaultRequest { target: PHONE.to_owned(), action: Action::DeviceRemoved };
    assert_eq!(simulator.fault(removed()).await.unwrap().hit, 1);
    let error = link.next_tagged("stream:error").await;
    assert_eq!(attr(&error, "code").as_deref(), Some("401"));
    assert_eq!(attr(error.get_optional_child("conflict").unwrap(), "type").as_deref(), Some("device_removed"));
    assert_eq!(simulator.fault(removed()).await.unwrap().hit, 0);
    let failure = Link::log_in(&simulator, &client).await.next().await;
    assert_eq!((failure.tag.as_ref(), attr(&failure, "reason").as_deref()), ("failure", Some("401")));

    client.pair(&simulator, PHONE).await;
    assert_eq!(simulator.fault(removed()).await.unwrap().hit, 1, "the device is not connected");
    assert_eq!(Link::log_in(&simulator, &client).await.next().await.tag, "failure");
}

#[tokio::test]
async fn a_client_that_logs_out_is_gone() {
    let simulator = simulator().await;
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    let remove = NodeBuilder::new("remove-companion-device")
        .attr("jid", client.address().jid())
        .attr("reason", "user_initiated")
        .build();
    let answer = link.ask(NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "md").children([remove])).await;
    assert_eq!(attr(&answer, "type").as_deref(), Some("result"));
    assert_eq!(
        link.next_tagged("stream:error")
            .await
            .get_optional_child("conflict")
            .and_then(|conflict| attr(conflict, "type"))
            .as_deref(),
        Some("device_removed")
    );
    assert_eq!(Link::log_in(&simulator, &client).await.next().await.tag, "failure");
}

#[tokio::test]
async fn the_next_login_fails_with_the_reason_that_was_asked_for_and_only_that_one() {
    let simulator = simulator().await;
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let fault =
        FaultRequest { target: client.address().to_string(), action: Action::Failure { reason: 503, times: None } };
    assert_eq!(simulator.fault(fault).await.unwrap().hit, 1);
    let failure = Link::log_in(&simulator, &client).await.next().await;
    assert_eq!((failure.tag.as_ref(), attr(&failure, "reason").as_deref()), ("failure", Some("503")));
    assert_eq!(Link::log_in(&simulator, &client).await.next().await.tag, "success");
}
