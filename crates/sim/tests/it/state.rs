use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{MessageRequest, Options, Simulator, StartError};
use rand::rngs::StdRng;

use crate::client::{Client, Link, static_key_in};
use crate::writing::{message, session_with, text};

const PHONE: &str = "5511999990001";
const CONTACT: &str = "5511888880001";

#[tokio::test]
async fn keys_accounts_queues_and_sessions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let options = || Options { state: Some(state.clone()), ..Options::default() };
    let simulator = Simulator::start(options()).await.unwrap();
    let root = simulator.root_public_key().to_owned();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    let rng = &mut rand::make_rng::<StdRng>();
    let (mut signal, contact) = session_with(&mut link, CONTACT).await;
    let sealed = signal.seal(&contact, &text("before"), rng).unwrap();
    link.send(&message("M1", &contact, sealed.kind, &sealed.bytes)).await;
    link.ping().await;
    link.close().await;
    let request = MessageRequest {
        from: CONTACT.to_owned(),
        to: PHONE.to_owned(),
        text: "waiting".to_owned(),
        id: None,
        group: None,
    };
    let waiting = simulator.message(request).await.unwrap().id;
    simulator.stop().await.unwrap();

    let simulator = Simulator::start(options()).await.unwrap();
    assert_eq!(simulator.root_public_key(), root);
    let mut link =
        Link::log_in_ik(&simulator, &client, static_key_in(&state)).await.expect("the server's key is the same");
    assert_eq!(link.next().await.tag, "success");
    link.activate().await;
    assert_eq!(attr(&link.next_tagged("message").await, "id"), Some(waiting));
    let sealed = signal.seal(&contact, &text("after"), rng).unwrap();
    link.send(&message("M2", &contact, sealed.kind, &sealed.bytes)).await;
    link.ping().await;
    let texts: Vec<_> = simulator.messages().into_iter().filter_map(|message| message.text).collect();
    assert_eq!(texts, ["before", "after"]);
    assert_eq!(simulator.counters(Some(PHONE)).unwrap().tally.logins, 2);
}

#[tokio::test]
async fn a_damaged_state_file_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    std::fs::write(&state, "{\"version\":1}").unwrap();
    let Err(error) = Simulator::start(Options { state: Some(state.clone()), ..Options::default() }).await else {
        panic!("it must not start")
    };
    assert!(matches!(error, StartError::State(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "{\"version\":1}");
}

#[tokio::test]
async fn a_state_file_belongs_to_one_simulator_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { state: Some(folder.path().join("state.json")), ..Options::default() };
    let first = Simulator::start(options()).await.unwrap();
    let Err(error) = Simulator::start(options()).await else { panic!("it must not start") };
    assert!(error.to_string().contains("another simulator uses it"), "{error}");
    first.stop().await.unwrap();
    Simulator::start(options()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn an_address_that_others_could_reach_is_refused() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let Err(error) = Simulator::start(options).await else { panic!("it must not start") };
    assert!(error.to_string().contains("loopback"), "{error}");
}
