//! Pairing, texts, the offline queue, logging out.

use holdfast_sim::{Action, EventKind, EventQuery, Options, PairingCodeRequest, Simulator};
use serde_json::json;

use crate::client::{Baileys, PHONE, write};

#[tokio::test(flavor = "multi_thread")]
async fn baileys_pairs_and_talks_in_both_directions() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;
    assert_eq!(baileys.receives(&simulator, "hello from a contact").await, "notify");
    baileys.sends(&simulator, "hello back").await;
    baileys.ask(json!({ "ping": true }), "pong").await;

    // What is written while the client is away comes once it is back, in the same session.
    baileys.suffers(&simulator, Action::Rst).await;
    baileys.closes().await;
    write(&simulator, PHONE, "while you were away").await;
    baileys.tell(json!({ "connect": true })).await;
    let message = baileys.next("message").await;
    assert_eq!((&message["text"], &message["type"]), (&json!("while you were away"), &json!("append")));
    baileys.next("open").await;
    baileys.sends(&simulator, "and so am I").await;
    baileys.is_blameless(&simulator, 2);

    baileys.tell(json!({ "logout": true })).await;
    baileys.closes().await;
    assert!(simulator.accounts()[0].devices.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_pairs_by_a_code_that_is_typed_on_the_phone() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::start(&simulator, PHONE, &["--number", PHONE]);
    let code = baileys.next("code").await["code"].as_str().unwrap().to_owned();
    // Baileys does not wait for the answer to its request.
    let asked = EventQuery { kind: Some(EventKind::CodeRequested), ..EventQuery::default() };
    simulator.wait(&asked).await.unwrap();

    let types = |code: String| PairingCodeRequest { phone: PHONE.to_owned(), code };
    let wrong = if code.starts_with('A') { code.replacen('A', "B", 1) } else { format!("A{}", &code[1..]) };
    let problem = simulator.pairing_code(&types(wrong)).await.unwrap_err();
    assert_eq!(problem.status, 409, "{problem}");
    let linked = simulator.pairing_code(&types(code)).await.unwrap();
    baileys.restarts().await;
    let open = baileys.next("open").await;
    assert_eq!((&open["jid"], &open["lid"]), (&json!(linked.jid), &json!(linked.lid)));
    baileys.talks(&simulator).await;
    assert_eq!(simulator.counters(Some(PHONE)).unwrap().tally.counters_reused, 0);
}
