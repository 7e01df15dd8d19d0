//! How soon the end of a connection is known.

use futures_util::future::join_all;
use holdfast_sim::{Action, Options, RefuseMode, RefuseRequest, Rules, Simulator};

use super::{WINDOW, connects, fault, figure, figures, logins, measured, phone, says};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const ANA: &str = "5511977770001";

#[tokio::test(flavor = "multi_thread")]
async fn s01_s05_s23_every_end_is_known_at_once_or_within_interval_and_deadline() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    let at_once = [Action::Rst, Action::Fin, Action::WsClose { code: Some(1011) }];
    let silent = [Action::Silent, Action::Stall, Action::MutePings, Action::Garbage];
    let faults: Vec<Action> = at_once.iter().chain(&silent).cloned().collect();
    join_all((0..faults.len()).map(|number| {
        let (engine, sim, url) = (&engine, &sim, receiver.url());
        async move { engine.pair(sim, &format!("n{number}"), &phone(number), Some(&url)).await }
    }))
    .await;
    // Fresh proof, so that a ping in flight is not what is measured.
    for (number, action) in faults.iter().enumerate() {
        let before = logins(&sim, number);
        fault(&sim, number, action.clone()).await;
        let name = format!("n{number}");
        eventually(&format!("{name} to be open again after {action:?}"), || async {
            (logins(&sim, number) > before && engine.state(&name).await["state"] == "open").then_some(())
        })
        .await;
        // What was open on the old connection is sent over the new one.
        let sent = engine.send(&name, ANA, "still here").await;
        assert_eq!(sent.status, 201, "{sent:?}");
    }
    let told = figures(&engine).await;
    let sum = |why: &str| figure(&told, &format!(r#"holdfast_detection_seconds_sum{{reason="{why}"}}"#));
    let count = |why: &str| figure(&told, &format!(r#"holdfast_detection_seconds_count{{reason="{why}"}}"#));
    assert_eq!((count("net-lost"), count("net-silent")), (at_once.len() as f64, silent.len() as f64), "{told}");
    // A silent end is known exactly one interval and one deadline after the last proof; half a second is the machine's.
    assert!(sum("net-silent") <= (WINDOW + 0.5) * silent.len() as f64, "{told}");
    assert!(figure(&told, "holdfast_recovery_seconds_count") >= faults.len() as f64, "{told}");
    assert_eq!(super::count(&told, "holdfast_state_mismatches_corrected_total"), 0, "{told}");
    for (number, action) in at_once.iter().enumerate() {
        let name = format!("n{number}");
        let lost = |data: &serde_json::Value| data["instance"] == name.as_str() && data["code"] == "net-lost";
        let event = receiver.event("connection.update", lost).await;
        assert_eq!(event.body["data"]["state"], "connecting");
        if matches!(action, Action::WsClose { .. }) {
            assert_eq!(event.body["data"]["closeCode"], 1011, "{event:?}");
        }
        let of = |state: &str| {
            let all = receiver.all();
            let mine = all.iter().filter(|one| one.taken && one.event() == "connection.update");
            let data = mine.map(|one| &one.body["data"]).filter(|data| data["instance"] == name.as_str());
            data.filter(|data| data["state"] == state).count()
        };
        eventually("both opens to be told", || async { (of("open") == 2).then_some(()) }).await;
        let lost = receiver.all().iter().filter(|one| one.taken && lost(&one.body["data"])).count();
        assert_eq!(lost, 1, "one loss is one event");
    }
    let tally = sim.counters(None).unwrap().tally;
    assert_eq!((tally.overlapped, tally.stale_frames, tally.counters_reused), (false, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_login_whose_requests_stay_unanswered_is_never_open() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = measured(sim.ws_url()).set("LOGIN_TIMEOUT_SECONDS", "3");
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), Some(&receiver.url())).await;
    let opens = || {
        let all = receiver.all();
        all.iter().filter(|one| one.event() == "connection.update" && one.body["data"]["state"] == "open").count()
    };
    eventually("the first open", || async { (opens() == 1).then_some(()) }).await;
    sim.set_rules(Rules { silent_on_success: true, ..Rules::default() }).unwrap();
    let before = logins(&sim, 0);
    fault(&sim, 0, Action::Rst).await;
    // Each login is accepted and nothing more is said: a failure that is followed by another dial.
    eventually("three such logins", || async { (logins(&sim, 0) >= before + 3).then_some(()) }).await;
    assert_eq!(opens(), 1, "nothing was told of being open");
    assert_ne!(engine.state("shop").await["state"], "open");
    sim.set_rules(Rules::default()).unwrap();
    engine.reaches("shop", "open").await;
    eventually("the second open", || async { (opens() >= 2).then_some(()) }).await;
    assert_eq!(opens(), 2, "one after the pairing, one when a request was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_s03_a_dial_that_leads_nowhere_ends_in_its_time_and_is_followed_by_another() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = measured(sim.ws_url()).set("CONNECT_TIMEOUT_SECONDS", "1");
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), None).await;
    let refuse = |mode, seconds| {
        let request = RefuseRequest { seconds, mode, status: None };
        let sim = &sim;
        async move { sim.refuse(&request).await.unwrap() }
    };
    refuse(Some(RefuseMode::Http), 600.0).await;
    fault(&sim, 0, Action::Rst).await;
    let said = says(&engine, "shop", "net-upgrade-refused").await;
    assert_eq!((&said["state"], &said["httpStatus"]), (&"connecting".into(), &503.into()), "{said}");
    // Nothing is said on the TCP connection; then the upgrade is accepted and nothing more comes.
    refuse(Some(RefuseMode::Hang), 600.0).await;
    let dials = |code: &'static str| {
        let engine = &engine;
        async move {
            let told = figures(engine).await;
            ["wa-login-timeout", "net-unreachable", "wa-handshake", code]
                .iter()
                .map(|code| figure(&told, &format!(r#"holdfast_dials_total{{reason="{code}"}}"#)))
                .sum::<f64>()
        }
    };
    eventually("two dials that hang", || async { (dials("").await >= 2.0).then_some(()) }).await;
    sim.set_rules(Rules { silent_on_connect: true, ..Rules::default() }).unwrap();
    refuse(None, 0.0).await;
    let before = dials("").await;
    eventually("two handshakes that do not finish", || async { (dials("").await >= before + 2.0).then_some(()) }).await;
    assert_eq!(engine.state("shop").await["state"], "connecting");
    sim.set_rules(Rules::default()).unwrap();
    engine.reaches("shop", "open").await;
    eventually("no other connection", || async { (sim.sessions().len() == 1).then_some(()) }).await;
    assert!(!sim.counters(None).unwrap().tally.overlapped);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_pings_now_and_a_dead_connection_is_found_by_it() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = measured(sim.ws_url()).set("HEALTH_CHECK_INTERVAL_SECONDS", "600");
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), None).await;
    let verify = || async { engine.api().get("/instance/connectionState/shop?verify=true").await.good() };
    let proven = engine.state("shop").await["lastProofAt"].clone();
    let before = connects(&sim);
    // The login's own ping is an answer for a second.
    let flood = eventually("a newer proof than that of the login", || async {
        let flood = join_all((0..100).map(|_| verify())).await;
        (engine.state("shop").await["lastProofAt"].as_str() > proven.as_str()).then_some(flood)
    })
    .await;
    for said in flood {
        assert_eq!(
            (&said["instance"]["verified"], &said["instance"]["state"]),
            (&true.into(), &"open".into()),
            "{said}"
        );
        assert!(said["instance"]["rttMs"].is_u64(), "{said}");
    }
    let told = figures(&engine).await;
    let pings = figure(&told, "holdfast_ping_seconds_count");
    // One belongs to the login, one to the question; a slow machine may have taken more than a second for all of them.
    assert!((2.0..=6.0).contains(&pings), "{pings} pings for a hundred questions");
    assert_eq!(connects(&sim), before, "a question dials nothing");

    fault(&sim, 0, Action::Silent).await;
    assert_eq!(engine.state("shop").await["state"], "open", "nobody could know");
    let said = eventually("the result of a new ping", || async {
        let said = verify().await;
        (said["instance"]["verified"] == false).then_some(said)
    })
    .await;
    assert_ne!(said["instance"]["state"], "open", "{said}");
    assert_eq!(said["instance"]["code"], "net-silent", "{said}");
    engine.reaches("shop", "open").await;
    let wrong = engine.api().get("/instance/connectionState/shop?verify=perhaps").await;
    assert_eq!((wrong.status, &wrong.body["response"]["code"]), (400, &"request-invalid".into()));
}
