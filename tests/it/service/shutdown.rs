use holdfast_sim::{EventKind, EventQuery, MessageRequest, Options, Simulator};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::harness::engine::{Home, PROMPT};
use crate::harness::eventually::eventually;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_saves_then_closes_then_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let sim = Simulator::start(Options::default()).await.unwrap();
        let home = Home::new(sim.ws_url());
        let engine = home.start().await;
        engine.pair(&sim, "shop", SHOP, None).await;
        // A message leaves key material in memory that only a save makes durable.
        assert_eq!(engine.send("shop", ANA, "before").await.status, 201);

        engine.signal(signal);
        let code = timeout(PROMPT, engine.end()).await.expect("a prompt end");
        assert_eq!(code, Some(0), "{}", home.log());

        let log = home.log();
        let log = &log[log.find("Shutting down").expect("the shutdown is logged")..];
        let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what:?} is not in the log:\n{log}"));
        assert!(at("Session saved") < at("is down: requested"), "{log}");
        assert!(at("is down: requested") < at("Stopped cleanly"), "{log}");
        let closed = EventQuery { kind: Some(EventKind::Disconnect), ..EventQuery::default() };
        let ends = sim.events(&closed).unwrap();
        assert_eq!(
            ends.last().map(|end| end.detail["how"].clone()),
            Some("fin".into()),
            "the socket was not closed: {ends:?}"
        );
        assert!(sim.sessions().is_empty());

        // What was saved goes on: no scan, and no key is used twice.
        let engine = home.start().await;
        engine.reaches("shop", "open").await;
        assert_eq!(engine.send("shop", ANA, "after").await.status, 201);
        eventually("both texts", || async { (sim.messages().len() == 2).then_some(()) }).await;
        let counters = sim.counters(None).unwrap();
        assert_eq!((counters.tally.counters_reused, counters.tally.undecryptable), (0, 0), "{counters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_messages_stream_in_loses_none_of_them() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = crate::harness::receiver::Receiver::start();
    let home = Home::new(sim.ws_url());
    let mut engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    let expected: Vec<String> = (0..60).map(|number| format!("m{number}")).collect();
    for (number, text) in expected.iter().enumerate() {
        let request =
            MessageRequest { from: ANA.to_owned(), to: SHOP.to_owned(), text: text.clone(), id: None, group: None };
        sim.message(request).await.unwrap();
        if number % 20 == 10 {
            engine.signal(Signal::TERM);
            assert_eq!(engine.end().await, Some(0));
            engine = home.start().await;
        }
    }
    receiver.message("m59").await;
    let mut texts = receiver.texts();
    texts.dedup();
    assert_eq!(texts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn s39_a_second_signal_forces_and_the_exit_code_says_so() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    // A receiver that never answers keeps the flush busy.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.create("shop", Some(&url)).await;
    eventually("a delivery that hangs", || async {
        silent.set_nonblocking(true).unwrap();
        silent.accept().ok().map(std::mem::forget)
    })
    .await;
    engine.signal(Signal::TERM);
    eventually("the flush", || async { home.log().contains("flushing").then_some(()) }).await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(1));
    assert!(home.log().contains("a second signal came while flushing"));
}
