//! Connections that end, and what Baileys makes of it.

use holdfast_sim::{Action, Options, Simulator};

use crate::client::{Baileys, PHONE};

#[tokio::test(flavor = "multi_thread")]
async fn baileys_tells_the_endings_apart_and_comes_back_after_each_but_the_last() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::linked(&simulator, PHONE, &[]).await;
    let mut logins = 1;
    for (action, code) in [
        (Action::Rst, 428),
        (Action::Fin, 428),
        (Action::WsClose { code: None }, 428),
        (Action::WsClose { code: Some(1011) }, 428),
        (Action::StreamError { code: Some(503), conflict: None, times: None }, 503),
        (Action::StreamError { code: None, conflict: None, times: None }, 500),
        (Action::Replaced, 440),
    ] {
        baileys.suffers(&simulator, action.clone()).await;
        assert_eq!(baileys.closes().await, code, "{action:?}");
        baileys.comes_back(&simulator).await;
        logins += 1;
        baileys.is_blameless(&simulator, logins);
    }

    baileys.suffers(&simulator, Action::StreamError { code: Some(515), conflict: None, times: None }).await;
    baileys.restarts().await;
    baileys.next("open").await;
    baileys.talks(&simulator).await;
    baileys.is_blameless(&simulator, logins + 1);

    baileys.suffers(&simulator, Action::DeviceRemoved).await;
    assert_eq!(baileys.closes().await, 401);
    assert!(simulator.accounts()[0].devices.is_empty());
}
