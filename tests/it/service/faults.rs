use std::collections::HashSet;

use futures_util::future::join_all;
use holdfast_sim::{Action, FaultRequest, Options, PingRequest, Simulator};

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_mixed_faults_over_twenty_instances_never_leave_two_sockets() {
    const INSTANCES: usize = 20;
    const FAULTS: usize = 200;
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    let names: Vec<String> = (0..INSTANCES).map(|number| format!("n{number}")).collect();
    join_all(names.iter().enumerate().map(|(number, name)| {
        let (engine, sim) = (&engine, &sim);
        async move { engine.pair(sim, name, &phone(number), None).await }
    }))
    .await;

    join_all((0..INSTANCES).map(|number| {
        let (engine, sim, name) = (&engine, &sim, &names[number]);
        async move {
            for round in 0..FAULTS / INSTANCES {
                // Seven and three have no common divisor: every instance meets every fault in another order.
                let action = match (number * 7 + round) % 4 {
                    0 => Action::Silent,
                    1 => Action::Fin,
                    2 => Action::StreamError { code: Some(503), conflict: None, times: None },
                    _ => Action::Rst,
                };
                strike(engine, sim, name, number, action).await;
            }
        }
    }))
    .await;

    for number in 0..INSTANCES {
        let counters = sim.counters(Some(&phone(number))).unwrap();
        assert!(!counters.tally.overlapped, "instance n{number}: {counters:?}");
        assert_eq!(
            (counters.tally.stale_frames, counters.tally.static_mismatches),
            (0, 0),
            "instance n{number}: {counters:?}"
        );
        assert!(counters.tally.logins > 10, "instance n{number} was hardly struck: {counters:?}");
    }
    let links: HashSet<_> = sim.sessions().iter().map(|session| session.jid.clone()).collect();
    assert_eq!((links.len(), sim.sessions().len()), (INSTANCES, INSTANCES), "one socket for each instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_a_removed_device_is_parked_with_its_reason_and_pairs_again() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = crate::harness::receiver::Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), Some(&receiver.url())).await;
    let logins = sim.counters(Some(&phone(0))).unwrap().tally.logins;
    fault(&sim, 0, Action::DeviceRemoved).await;

    let state = engine.reaches("shop", "close").await;
    assert_eq!((&state["code"], &state["userAction"]), (&"wa-logged-out".into(), &"relogin".into()), "{state}");
    receiver.event("logout.instance", serde_json::Value::is_null).await;
    let ended = receiver.event("status.instance", |_| true).await;
    assert_eq!(ended.body["data"]["disconnectionReasonCode"], 401);
    assert_eq!(
        sim.counters(Some(&phone(0))).unwrap().tally.logins,
        logins,
        "a device that was removed does not come back"
    );

    engine.scan(&sim, "shop", &phone(0)).await;
    engine.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_panic_in_the_task_of_a_socket_restarts_one_instance_alone() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        engine.pair(&sim, name, &phone(number), None).await;
    }
    let before = logins(&sim, 0) + logins(&sim, 1);
    // It strikes whose frame comes first; that there is one is seen to.
    home.order("received.session=1*panic");
    home.obeyed().await;
    sim.ping(&PingRequest { target: phone(0) }).unwrap();
    eventually("the struck instance to log in again", || async {
        (logins(&sim, 0) + logins(&sim, 1) > before).then_some(())
    })
    .await;
    for name in ["one", "two"] {
        engine.reaches(name, "open").await;
    }
    assert_eq!(logins(&sim, 0) + logins(&sim, 1), before + 1, "the other instance was left alone");
    let counters = sim.counters(None).unwrap();
    assert_eq!((counters.tally.stale_frames, counters.tally.overlapped), (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_reading_the_state_a_hundred_times_dials_nothing() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.create("new", None).await;
    let api = engine.api();
    for _ in 0..100 {
        for path in ["/instance/connect/new", "/instance/connectionState/new", "/instance/fetchInstances"] {
            api.get(path).await.good();
        }
    }
    assert_eq!(sim.sessions().len(), 1);
    engine.scan(&sim, "new", &phone(0)).await;
    engine.reaches("new", "open").await;
    let connects = sim.counters(Some(&phone(0))).unwrap().tally.connects;
    for _ in 0..100 {
        for path in ["/instance/connect/new", "/instance/connectionState/new", "/instance/fetchInstances"] {
            api.get(path).await.good();
        }
    }
    assert_eq!(sim.counters(Some(&phone(0))).unwrap().tally.connects, connects);
}

/// Strikes an instance and waits until it is open on a new login.
async fn strike(engine: &Engine<'_>, sim: &Simulator, name: &str, number: usize, action: Action) {
    let before = logins(sim, number);
    fault(sim, number, action).await;
    eventually(&format!("instance {name} to be open again"), || async {
        (logins(sim, number) > before && engine.state(name).await["state"] == "open").then_some(())
    })
    .await;
}

async fn fault(sim: &Simulator, number: usize, action: Action) {
    let answer = sim.fault(FaultRequest { target: phone(number), action }).await.expect("the fault strikes");
    assert_eq!(answer.hit, 1);
}

fn logins(sim: &Simulator, number: usize) -> u64 {
    sim.counters(Some(&phone(number))).expect("the phone's counters").tally.logins
}

fn phone(number: usize) -> String {
    format!("55119999{number:05}")
}
