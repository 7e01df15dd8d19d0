//! Tasks of a link that panic, and clients that do not come to an end: one instance pays for it, and comes back.

use futures_util::future::join_all;
use holdfast_sim::{Action, FaultRequest, Options, Simulator};
use reqwest::Method;
use rustix::process::Signal;
use tokio::time::timeout;

use crate::harness::engine::{Engine, Home, PROMPT};
use crate::harness::eventually::eventually;

const ANA: &str = "5511977770001";
const NAMES: [&str; 2] = ["one", "two"];

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_panic_while_pinging_restarts_one_instance_alone() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = two(&home, &sim).await;
    let before = all_logins(&sim);
    // It strikes whose ping is due first.
    home.order("link.ping=1*panic");
    home.obeyed().await;
    eventually("the struck instance to log in again", || async { (all_logins(&sim) > before).then_some(()) }).await;
    both_open(&engine).await;
    assert_eq!(all_logins(&sim), before + 1, "the other instance was left alone");
    assert_eq!(count(&home, "panicked while pinging"), 1);
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_panic_while_sending_restarts_one_instance_and_nobody_calls_the_message_unsent() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = two(&home, &sim).await;
    let (own, others) = (logins(&sim, 0), logins(&sim, 1));
    home.order("send.given=1*panic");
    home.obeyed().await;
    let answer = engine.send("one", ANA, "hello").await;
    let said = &answer.body["response"];
    assert_eq!((answer.status, &said["code"]), (400, &"message-unconfirmed".into()), "{answer:?}");
    eventually("the message, which had left", || async { (sim.messages().len() == 1).then_some(()) }).await;
    assert_eq!(said["messageId"], sim.messages()[0].id.as_str());
    eventually("another login", || async { (logins(&sim, 0) > own).then_some(()) }).await;
    both_open(&engine).await;
    assert_eq!(engine.send("one", ANA, "again").await.status, 201);
    assert_eq!(logins(&sim, 1), others, "the other instance was left alone");
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_panic_while_logging_out_costs_whatsapp_the_word_and_nobody_else_anything() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = two(&home, &sim).await;
    let others = logins(&sim, 1);
    home.order("link.log-out=1*panic");
    home.obeyed().await;
    engine.api().call(Method::DELETE, "/instance/logout/one", None).await.good();
    assert_eq!(engine.reaches("one", "close").await["code"], serde_json::Value::Null);
    assert_eq!(count(&home, "panicked while logging out"), 1);
    // The wish was carried out here all the same, and it can be paired anew.
    engine.scan(&sim, "one", &phone(0)).await;
    both_open(&engine).await;
    assert_eq!(logins(&sim, 1), others, "the other instance was left alone");
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_panic_while_saving_is_reported_and_holds_no_shutdown_up() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = two(&home, &sim).await;
    home.order("save.before=1*panic");
    home.obeyed().await;
    engine.signal(Signal::TERM);
    let code = timeout(PROMPT, engine.end()).await.expect("a prompt end");
    assert_eq!(code, Some(1), "it was not clean");
    assert_eq!(count(&home, "panicked while saving"), 1);
    assert_eq!((count(&home, "Session saved"), count(&home, "The session could not be saved")), (1, 1));
    assert!(home.log().contains("was cut before it was saved and closed"));
    assert!(sim.sessions().is_empty());

    let engine = home.start().await;
    both_open(&engine).await;
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_client_that_does_not_come_to_an_end_is_left_behind_and_the_next_one_connects() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    // It is given the store's grace, twice, and five seconds.
    let home = Home::new(sim.ws_url()).set("STORE_GRACE_SECONDS", "1");
    let engine = home.start().await;
    for (number, name) in ["lost", "restarted", "quiet"].into_iter().enumerate() {
        engine.pair(&sim, name, &phone(number), None).await;
    }
    let before: Vec<u64> = (0..3).map(|number| logins(&sim, number)).collect();
    home.order("run.return=2*return");
    home.obeyed().await;
    // One loses its connection, the other one's is given up by an operator.
    let fault = FaultRequest { target: phone(0), action: Action::Rst };
    assert_eq!(sim.fault(fault).await.unwrap().hit, 1);
    engine.api().post("/instance/restart/restarted", serde_json::json!({})).await.good();
    join_all((0..2).map(|number| {
        let (sim, before) = (&sim, before[number]);
        async move {
            let what = format!("instance {number} to log in again");
            eventually(&what, || async { (logins(sim, number) > before).then_some(()) }).await;
        }
    }))
    .await;
    for name in ["lost", "restarted", "quiet"] {
        engine.reaches(name, "open").await;
        assert_eq!(engine.send(name, ANA, name).await.status, 201);
    }
    assert_eq!(count(&home, "has not come to an end though its dial is over"), 2);
    assert_eq!(count(&home, "The session could not be saved"), 2, "what it had in memory may be lost");
    assert_eq!(logins(&sim, 2), before[2], "the third was left alone");
    eventually("one connection for each", || async { (sim.sessions().len() == 3).then_some(()) }).await;
    assert_harmless(&sim);

    // What was left behind holds no shutdown up.
    engine.signal(Signal::TERM);
    assert_eq!(timeout(PROMPT, engine.end()).await.expect("a prompt end"), Some(0));
}

async fn two<'a>(home: &'a Home, sim: &Simulator) -> Engine<'a> {
    let engine = home.start().await;
    for (number, name) in NAMES.into_iter().enumerate() {
        engine.pair(sim, name, &phone(number), None).await;
    }
    engine
}

async fn both_open(engine: &Engine<'_>) {
    for name in NAMES {
        engine.reaches(name, "open").await;
    }
}

/// How many lines of the log say this.
fn count(home: &Home, what: &str) -> usize {
    home.log().lines().filter(|line| line.contains(what)).count()
}

fn assert_harmless(sim: &Simulator) {
    let tally = sim.counters(None).expect("the counters").tally;
    assert_eq!((tally.overlapped, tally.stale_frames, tally.counters_reused), (false, 0, 0), "{tally:?}");
}

fn all_logins(sim: &Simulator) -> u64 {
    (0..NAMES.len()).map(|number| logins(sim, number)).sum()
}

fn logins(sim: &Simulator, number: usize) -> u64 {
    sim.counters(Some(&phone(number))).expect("the phone's counters").tally.logins
}

fn phone(number: usize) -> String {
    format!("55119996{number:05}")
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_without_an_actor_on_which_everything_rests_the_service_stops_and_comes_back_whole() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home =
        Home::new(sim.ws_url()).set("HEALTH_CHECK_INTERVAL_SECONDS", "2").set("HEALTH_PING_TIMEOUT_SECONDS", "1");
    let mut engine = two(&home, &sim).await;
    for (fault, name) in [
        ("health.passes", "the HealthActor has crashed"),
        ("supervisor.passes", "the SupervisorActor has crashed"),
        ("dispatcher.passes", "the DispatcherActor has crashed"),
    ] {
        home.order(&format!("{fault}=1*panic"));
        home.obeyed().await;
        // The supervisor passes when it is told something; the others by themselves.
        let _interrupted = engine.api().try_call(Method::POST, "/instance/restart/two", None).await;
        assert_eq!(timeout(PROMPT, engine.end()).await.expect("it ends by itself"), Some(1), "{fault}");
        assert!(home.log().contains(name), "{fault}: {}", home.log());
        engine = home.start().await;
        both_open(&engine).await;
        assert_eq!(engine.send("one", ANA, fault).await.status, 201);
    }
    assert_harmless(&sim);
}
