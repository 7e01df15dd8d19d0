//! Servers that are there and do not answer, or answer with what nobody can read.

use holdfast_sim::{Action, Options, Simulator};
use serde_json::json;

use crate::client::Baileys;

/// Baileys looks at its clock that often, and allows five seconds more than that for an accident.
const QUICKLY: [&str; 2] = ["--keep-alive-ms", "250"];

#[tokio::test(flavor = "multi_thread")]
async fn baileys_gives_up_a_server_that_does_not_answer() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    // All of them at once, since each takes its five seconds.
    let notices = async |phone: &str, action: Action| {
        let mut baileys = Baileys::linked(&simulator, phone, &QUICKLY).await;
        baileys.talks(&simulator).await;
        baileys.suffers(&simulator, action.clone()).await;
        baileys.next("ending").await;
        // It has given up, and would now wait half a minute for the goodbye of a server that says nothing.
        if action != Action::MutePings {
            baileys.suffers(&simulator, Action::Rst).await;
        }
        assert_eq!(baileys.closes().await, 408, "{action:?}");
        baileys.comes_back(&simulator).await;
        baileys.is_blameless(&simulator, 2);
    };
    tokio::join!(
        notices("5511999990011", Action::Silent),
        notices("5511999990012", Action::Stall),
        notices("5511999990013", Action::MutePings),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_bears_delays_and_silences_that_end() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let phone = "5511999990014";
    let mut baileys = Baileys::linked(&simulator, phone, &[]).await;
    baileys.suffers(&simulator, Action::Delay { ms: 200 }).await;
    baileys.talks(&simulator).await;
    for action in [Action::Silent, Action::Stall, Action::MutePings] {
        baileys.suffers(&simulator, action).await;
        assert_eq!(baileys.suffers_nothing_more(&simulator).await, 1);
        baileys.talks(&simulator).await;
    }
    baileys.is_blameless(&simulator, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decrypted_would_end_the_program_of_baileys_and_is_over_after_a_reconnect() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, "5511999990015", &[]).await;
    baileys.suffers(&simulator, Action::Garbage).await;
    let message = baileys.next("unhandled").await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("authenticate"), "{message}");
    // The counters of the two sides are apart now: nothing can be read any more.
    baileys.tell(json!({ "ping": true })).await;
    baileys.next("unhandled").await;
    baileys.tell(json!({ "drop": true })).await;
    baileys.closed().await;
    baileys.comes_back(&simulator).await;
    baileys.is_blameless(&simulator, 2);
}
