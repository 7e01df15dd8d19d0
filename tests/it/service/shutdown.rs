use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use holdfast_sim::{Action, EventKind, EventQuery, FaultRequest, MessageRequest, Options, Simulator};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::harness::engine::{Home, PROMPT};
use crate::harness::eventually::eventually;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";
/// What the goodbye of one socket may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

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
    for second in [Signal::TERM, Signal::HUP] {
        let sim = Simulator::start(Options::default()).await.unwrap();
        // A receiver that never answers keeps the flush busy.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let home = Home::new(sim.ws_url());
        let engine = home.start().await;
        engine.pair(&sim, "shop", SHOP, Some(&url)).await;
        eventually("a delivery that hangs", || async { silent.accept().ok().map(std::mem::forget) }).await;
        engine.signal(Signal::TERM);
        eventually("the flush", || async { home.log().contains("flushing").then_some(()) }).await;
        engine.signal(second);
        assert_eq!(engine.end().await, Some(1));
        let log = home.log();
        assert!(log.contains("a second signal came while flushing"));
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("\"ERROR\"")).collect();
        assert!(errors.len() <= 1, "{errors:#?}");

        // What it left behind is whole.
        let engine = home.start().await;
        engine.reaches("shop", "open").await;
        assert_eq!(engine.send("shop", ANA, "after").await.status, 201);
        let counters = sim.counters(None).unwrap();
        assert_eq!((counters.tally.counters_reused, counters.tally.undecryptable), (0, 0), "{counters:?}");
    }
}

/// One after the other they would take longer than the phase.
#[tokio::test(flavor = "multi_thread")]
async fn s38_closes_that_nobody_answers_are_bounded_and_side_by_side() {
    const INSTANCES: usize = 10;
    let phone = |number: usize| format!("55119997{number:05}");
    let sim = Simulator::start(Options::default()).await.unwrap();
    // Pings must not find it first.
    let home = Home::new(sim.ws_url()).set("HEALTH_CHECK_INTERVAL_SECONDS", "60");
    let engine = home.start().await;
    for number in 0..INSTANCES {
        engine.pair(&sim, &format!("n{number}"), &phone(number), None).await;
    }
    // Nothing is read of them any more, no close frame either.
    let stalled = FaultRequest { target: "open".to_owned(), action: Action::Stall };
    assert_eq!(sim.fault(stalled).await.unwrap().hit, INSTANCES);
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0), "{}", home.log());
    let log = home.log();
    let phases = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let at = |what: &str| {
        let line =
            phases.clone().find(|line| line["fields"]["message"].as_str().is_some_and(|said| said.starts_with(what)));
        line.and_then(|line| line["timestamp"].as_str()?.parse::<DateTime<Utc>>().ok()).expect("a line of the log")
    };
    let drained = (at("Shutting down: flushing") - at("Shutting down: draining")).to_std().unwrap();
    assert!(drained >= CLOSE_WITHIN, "somebody answered: {drained:?}");
    assert!(drained < CLOSE_WITHIN * INSTANCES as u32, "one after the other: {drained:?}");
    println!("{INSTANCES} closes that nobody answered took {drained:?}");
    assert!(log.contains("Stopped cleanly"), "{log}");
}

/// More by `HOLDFAST_INSTANCES`: pairing is what takes the time.
#[tokio::test(flavor = "multi_thread")]
async fn s37_many_instances_of_which_one_is_black_holed_end_cleanly_in_their_time() {
    let instances: usize = std::env::var("HOLDFAST_INSTANCES").map_or(12, |number| number.parse().unwrap());
    let phone = |number: usize| format!("55119998{number:05}");
    let sim = Simulator::start(Options::default()).await.unwrap();
    // Pings must not find the black hole first.
    let home = Home::new(sim.ws_url()).set("HEALTH_CHECK_INTERVAL_SECONDS", "60");
    let engine = home.start().await;
    let pairs = (0..instances).map(|number| {
        let (engine, sim, phone) = (&engine, &sim, phone(number));
        async move {
            let name = format!("n{number}");
            engine.pair(sim, &name, &phone, None).await;
            assert_eq!(engine.send(&name, ANA, &name).await.status, 201);
        }
    });
    futures_util::stream::iter(pairs).buffer_unordered(8).collect::<Vec<()>>().await;
    let hole = FaultRequest { target: phone(0), action: Action::Stall };
    assert_eq!(sim.fault(hole).await.unwrap().hit, 1);

    engine.signal(Signal::TERM);
    let api = engine.api();
    let seen_from_outside = async {
        // Readiness goes before the first close, and the door closes last.
        loop {
            let closed = sim.sessions().len() < instances;
            let Ok(ready) = api.try_call(reqwest::Method::GET, "/health/ready", None).await else { return };
            assert!(ready.status == 503 || !closed, "ready while sessions are closed");
            let live = api.try_call(reqwest::Method::GET, "/health/live", None).await;
            assert!(live.is_err() || live.is_ok_and(|answer| answer.status == 200));
        }
    };
    let (code, ()) = tokio::join!(engine.end(), seen_from_outside);
    assert_eq!(code, Some(0), "{}", home.log());
    let log = home.log();
    let stopped = log.lines().find(|line| line.contains("Stopped cleanly")).expect("a clean end");
    let stopped: serde_json::Value = serde_json::from_str(stopped).unwrap();
    let took = stopped["fields"]["took_ms"].as_u64().or(stopped["took_ms"].as_u64()).expect("how long it took");
    assert!(took < 25_000, "{took} ms");
    println!("{instances} instances ended after {took} ms");
    assert_eq!(log.matches("Session saved").count(), instances, "every one is saved");
    eventually("closes at the simulator", || async { sim.sessions().is_empty().then_some(()) }).await;

    // Rows and credentials are those of the last moment: all come back, and no key is used twice.
    let engine = home.start().await;
    for number in 0..instances {
        engine.reaches(&format!("n{number}"), "open").await;
    }
    assert_eq!(engine.send("n0", ANA, "back").await.status, 201);
    let counters = sim.counters(None).unwrap();
    assert_eq!((counters.tally.counters_reused, counters.tally.undecryptable), (0, 0), "{counters:?}");
}
