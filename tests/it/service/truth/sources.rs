//! Every source says the same.

use std::time::Duration;

use holdfast_sim::{Action, Options, RefuseMode, RefuseRequest, Simulator};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::endings::stored_state;
use super::{fault, figure, figures, logins, measured, phone};
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

/// How long two sources may differ.
const AGREE_WITHIN: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_millis(40);

/// What each source says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    read: String,
    fetched: String,
    figure: String,
    row: String,
    event: String,
}

impl Sample {
    async fn take(home: &Home, engine: &Engine<'_>, receiver: &Receiver, name: &str) -> Self {
        let api = engine.api();
        let fetched = api.get(&format!("/instance/fetchInstances?instanceName={name}")).await.good();
        let told = figures(engine).await;
        let state_of = |state: &str| {
            let labels = format!(r#"instance="{name}",integration="WHATSAPP-BAILEYS",state="{state}""#);
            figure(&told, &format!("evolution_instance_state{{{labels}}}")) > 0.0
        };
        let figure = ["open", "connecting", "close"].into_iter().find(|state| state_of(state));
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let told = receiver.all();
        let event = told.iter().rev().find(|one| one.taken && one.event() == "connection.update");
        Self {
            read: word(&engine.state(name).await["state"]),
            fetched: word(&fetched[0]["connectionStatus"]),
            figure: figure.unwrap_or_default().to_owned(),
            row: stored_state(home, name).unwrap_or_default(),
            event: event.map(|event| word(&event.body["data"]["state"])).unwrap_or_default(),
        }
    }

    fn agrees(&self) -> bool {
        [&self.fetched, &self.figure, &self.row, &self.event].iter().all(|one| **one == self.read)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test that measures how long sources differ")]
async fn s20_every_source_says_the_same_under_faults() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), Some(&receiver.url())).await;
    let storm = async {
        for action in [
            Action::Rst,
            Action::Silent,
            Action::StreamError { code: Some(503), conflict: None, times: None },
            Action::Stall,
        ] {
            let before = logins(&sim, 0);
            fault(&sim, 0, action).await;
            eventually("another login", || async {
                (logins(&sim, 0) > before && engine.state("shop").await["state"] == "open").then_some(())
            })
            .await;
        }
        fault(&sim, 0, Action::Replaced).await;
        engine.reaches("shop", "close").await;
        // Long enough to be sampled.
        for _ in 0..10 {
            eventually("every source to say close", || async {
                let sample = Sample::take(&home, &engine, &receiver, "shop").await;
                (sample.read == "close" && sample.agrees()).then_some(())
            })
            .await;
        }
        engine.api().get("/instance/connect/shop").await.good();
        engine.reaches("shop", "open").await;
    };
    let mut samples: Vec<(Instant, Sample)> = Vec::new();
    let sampling = async {
        loop {
            samples.push((Instant::now(), Sample::take(&home, &engine, &receiver, "shop").await));
            sleep(SAMPLE_EVERY).await;
        }
    };
    tokio::select! {
        () = storm => {}
        () = sampling => {}
    }
    let mut since: Option<Instant> = None;
    for (at, sample) in &samples {
        if sample.agrees() {
            since = None;
        } else {
            let began = *since.get_or_insert(*at);
            assert!(*at - began <= AGREE_WITHIN, "for {:?} the sources differ: {sample:?}", *at - began);
        }
    }
    for state in ["open", "connecting", "close"] {
        assert!(samples.iter().any(|(_, sample)| sample.read == state && sample.agrees()), "{state} was never seen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_no_row_claims_to_be_open_after_a_stop_or_a_kill() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), None).await;
    eventually("the row to be open", || async { (stored_state(&home, "shop")? == "open").then_some(()) }).await;
    engine.kill_9().await;
    assert_eq!(stored_state(&home, "shop").as_deref(), Some("open"), "nobody was left to write it");
    // Nobody answers: it cannot be open, and the row says so as soon as there is an engine again.
    let refusal = RefuseRequest { seconds: 600.0, mode: Some(RefuseMode::Http), status: None };
    sim.refuse(&refusal).await.unwrap();
    let engine = home.start().await;
    eventually("the row to be connecting", || async { (stored_state(&home, "shop")? == "connecting").then_some(()) })
        .await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    assert_eq!(stored_state(&home, "shop").as_deref(), Some("close"));
}
