//! Logins that are refused, and servers that cannot be reached.

use std::collections::BTreeMap;

use holdfast_sim::{Action, LoginFailure, Options, RefuseMode, RefuseRequest, Rules, Simulator};
use serde_json::json;

use crate::client::{Baileys, PHONE};

#[tokio::test(flavor = "multi_thread")]
async fn baileys_is_told_why_a_login_is_refused() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;
    baileys.suffers(&simulator, Action::Fin).await;
    assert_eq!(baileys.closes().await, 428);
    for reason in [401, 405, 503] {
        baileys.suffers(&simulator, Action::Failure { reason, times: None }).await;
        baileys.tell(json!({ "connect": true })).await;
        assert_eq!(baileys.closes().await, u64::from(reason));
    }
    baileys.comes_back(&simulator).await;

    let attrs = BTreeMap::from([("code".to_owned(), "102".to_owned()), ("expire".to_owned(), "3600".to_owned())]);
    let banned = LoginFailure { reason: 402, count: Some(1), jid: None, attrs };
    simulator.set_rules(Rules { login_failure: Some(banned), ..Rules::default() }).unwrap();
    baileys.suffers(&simulator, Action::Fin).await;
    assert_eq!(baileys.closes().await, 428);
    baileys.tell(json!({ "connect": true })).await;
    let close = baileys.closed().await;
    assert_eq!(
        (&close["code"], &close["data"]["code"], &close["data"]["expire"]),
        (&json!(402), &json!("102"), &json!("3600"))
    );
    baileys.comes_back(&simulator).await;

    // A ban ends the connection at once, and lasts until it is over or lifted.
    baileys.suffers(&simulator, Action::Ban { seconds: 3600, code: None }).await;
    baileys.closes().await;
    baileys.tell(json!({ "connect": true })).await;
    let close = baileys.closed().await;
    assert_eq!((&close["code"], &close["data"]["expire"]), (&json!(402), &json!("3600")));
    baileys.suffers_nothing_more(&simulator).await;
    baileys.comes_back(&simulator).await;
    baileys.is_blameless(&simulator, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_does_not_mind_a_new_key_of_the_server() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;
    simulator.change_rules(&json!({ "declineIk": true })).unwrap();
    simulator.rotate_static().unwrap();
    baileys.suffers(&simulator, Action::Fin).await;
    baileys.closes().await;
    baileys.comes_back(&simulator).await;
    // It makes the full handshake every time, so neither makes a difference to it.
    assert_eq!(simulator.sessions()[0].handshake, Some("XX"));
    baileys.is_blameless(&simulator, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_cannot_connect_while_newcomers_are_refused_and_can_afterwards() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;
    let refuse = async |mode, seconds| {
        let request = RefuseRequest { mode, seconds, ..RefuseRequest::default() };
        simulator.refuse(&request).await.unwrap();
    };
    baileys.suffers(&simulator, Action::Fin).await;
    baileys.closes().await;
    for (mode, code) in [(RefuseMode::Listen, 408), (RefuseMode::Rst, 408)] {
        refuse(Some(mode), 60.0).await;
        baileys.tell(json!({ "connect": true })).await;
        assert_eq!(baileys.closes().await, code, "{mode:?}");
    }
    // Of these it never says anything, the error of HTTP included: a program needs a limit of its own.
    for mode in [RefuseMode::Http, RefuseMode::Hang] {
        refuse(Some(mode), 60.0).await;
        let before = simulator.counters(None).unwrap().tally.connects;
        baileys.tell(json!({ "connect": true })).await;
        baileys.ask(json!({ "drop": true }), "close").await;
        let connects = simulator.counters(None).unwrap().tally.connects;
        assert_eq!(connects, before, "{mode:?}: nothing became a connection");
    }
    refuse(None, 0.0).await;
    baileys.comes_back(&simulator).await;
    baileys.is_blameless(&simulator, 2);
}
