//! Loads, and runs that repeat themselves.

use holdfast_sim::codec::stanza::attr;
use holdfast_sim::{EventKind, EventQuery, Options, ScanRequest, Simulator, TrafficRequest};
use rand::rngs::StdRng;

use crate::client::{Client, Link};
use crate::writing::{message, session_with, text};

const PHONE: &str = "5511999990001";
const OTHER: &str = "5511999990002";
const CONTACT: &str = "5511888880001";

async fn event(simulator: &Simulator, kind: EventKind, since: u64) -> u64 {
    let query = EventQuery { kind: Some(kind), since: Some(since), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap().seq
}

#[tokio::test]
async fn a_load_writes_to_every_account_and_counts_what_it_wrote() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    for phone in [PHONE, OTHER] {
        Client::new().pair(&simulator, phone).await;
    }
    let request = TrafficRequest { seed: 7, per_second: 1000.0, messages: Some(40), ..TrafficRequest::default() };
    assert!(simulator.start_traffic(&request).unwrap().running);
    let mut seen = 0;
    for _ in 0..40 {
        seen = event(&simulator, EventKind::MessageQueued, seen).await;
    }
    // The load says that it is over right after its last message.
    let over = async {
        while simulator.traffic().running {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, over).await.unwrap();
    let view = simulator.traffic();
    assert_eq!((view.written, view.failed, view.accounts.values().sum::<u64>()), (40, 0, 40));
    let queued = |phone| simulator.counters(Some(phone)).unwrap().queued as u64;
    assert_eq!((queued(PHONE), queued(OTHER)), (view.accounts[PHONE], view.accounts[OTHER]));
}

#[tokio::test]
async fn half_of_a_load_is_written_in_groups_where_that_is_asked_for() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    let request = TrafficRequest { per_second: 1000.0, messages: Some(30), groups: true, ..TrafficRequest::default() };
    simulator.start_traffic(&request).unwrap();
    let mut in_group = 0;
    for _ in 0..30 {
        let from = attr(&link.next_tagged("message").await, "from").unwrap();
        in_group += usize::from(from.ends_with("@g.us"));
    }
    assert!((5..=25).contains(&in_group), "{in_group} of 30");
    let groups = simulator.groups();
    assert_eq!((groups.len(), groups[0].participants.len()), (1, 4));
}

#[tokio::test]
async fn one_load_at_a_time_until_it_is_stopped_and_wrong_numbers_are_refused() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let request = TrafficRequest::default();
    assert_eq!(simulator.start_traffic(&request).unwrap_err().status, 409, "nobody is linked");
    Client::new().pair(&simulator, PHONE).await;
    for wrong in [
        TrafficRequest { per_second: 0.0, ..request.clone() },
        TrafficRequest { per_second: f64::NAN, ..request.clone() },
        TrafficRequest { contacts: 0, ..request.clone() },
        TrafficRequest { messages: Some(u64::MAX), ..request.clone() },
        TrafficRequest { to: Some(vec!["nobody".to_owned()]), ..request.clone() },
    ] {
        assert_eq!(simulator.start_traffic(&wrong).unwrap_err().status, 400, "{wrong:?}");
    }
    simulator.start_traffic(&request).unwrap();
    assert_eq!(simulator.start_traffic(&request).unwrap_err().status, 409);
    assert!(!simulator.stop_traffic().running);
    simulator.start_traffic(&request).unwrap();
}

#[tokio::test]
async fn people_answer_while_a_load_asks_them_to() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    let mut link = client.log_in(&simulator).await;
    let (mut signal, contact) = session_with(&mut link, CONTACT).await;
    let request = TrafficRequest { per_second: 0.001, answers: true, ..TrafficRequest::default() };
    simulator.start_traffic(&request).unwrap();
    // The first message of a load is written at once.
    link.next_tagged("message").await;
    let sealed = signal.seal(&contact, &text("how are you?"), &mut rand::make_rng::<StdRng>()).unwrap();
    link.send(&message("M1", &contact, sealed.kind, &sealed.bytes)).await;
    let answer = link.next_tagged("message").await;
    assert_eq!(attr(&answer, "from").unwrap(), contact.jid().to_string());
}

#[tokio::test]
async fn two_runs_with_one_seed_are_the_same_to_the_last_event() {
    async fn run(seed: u64) -> (String, String) {
        let simulator = Simulator::start(Options { seed: Some(seed), ..Options::default() }).await.unwrap();
        let mut client = Client::new();
        let mut link = Link::register(&simulator, &client).await;
        let qr = client.qr(&link.reference().await);
        let operator = simulator.operator();
        let scan = ScanRequest { qr, ..ScanRequest::default() };
        let scanning = tokio::spawn(async move { operator.scan(&scan).await });
        client.address = Some(link.sign(&client, |_| {}).await);
        let phone = client.address().phone.to_string();
        scanning.await.unwrap().unwrap();
        link.until_closed().await;
        event(&simulator, EventKind::Disconnect, 0).await;
        let mut link = client.log_in(&simulator).await;
        let request = holdfast_sim::MessageRequest {
            from: CONTACT.to_owned(),
            to: phone.clone(),
            text: "hello".to_owned(),
            id: None,
            group: None,
        };
        simulator.message(request).await.unwrap();
        link.next_tagged("message").await;
        let (mut signal, contact) = session_with(&mut link, CONTACT).await;
        let sealed = signal.seal(&contact, &text("hello back"), &mut rand::make_rng::<StdRng>()).unwrap();
        link.send(&message("M1", &contact, sealed.kind, &sealed.bytes)).await;
        link.ping().await;
        let events = simulator.events(&EventQuery::default()).unwrap();
        (
            serde_json::to_string(&events).unwrap() + &serde_json::to_string(&simulator.messages()).unwrap(),
            format!("{} {:?}", simulator.root_public_key(), simulator.accounts()),
        )
    }
    let first = Box::pin(run(42)).await;
    assert_eq!(Box::pin(run(42)).await, first);
    assert_ne!(Box::pin(run(43)).await, first);
}
