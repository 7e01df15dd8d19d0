//! What the engine says of its connections, under every fault, measured against what really is.

mod detection;
mod endings;
mod metrics;
mod sources;

use holdfast_sim::{Action, FaultRequest, Simulator};
use serde_json::Value;

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;

/// The settings of `Home`: a ping is due after two seconds, and may take one.
const WINDOW: f64 = 3.0;

fn phone(number: usize) -> String {
    format!("55119777{number:05}")
}

async fn fault(sim: &Simulator, number: usize, action: Action) {
    let answer = sim.fault(FaultRequest { target: phone(number), action }).await.expect("the fault strikes");
    assert_eq!(answer.hit, 1);
}

fn logins(sim: &Simulator, number: usize) -> u64 {
    sim.counters(Some(&phone(number))).expect("the phone's counters").tally.logins
}

fn connects(sim: &Simulator) -> u64 {
    sim.counters(None).expect("the counters of everybody").tally.connects
}

fn measured(url: &str) -> Home {
    Home::new(url).set("PROMETHEUS_METRICS", "true")
}

async fn figures(engine: &Engine<'_>) -> String {
    engine.api().get("/metrics").await.good().as_str().expect("a text").to_owned()
}

/// One figure, 0 if there is no such series.
fn figure(figures: &str, series: &str) -> f64 {
    let line = figures.lines().find_map(|line| line.strip_prefix(series).and_then(|rest| rest.strip_prefix(' ')));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// One count, 0 if there is no such series.
fn count(figures: &str, series: &str) -> u64 {
    figure(figures, series) as u64
}

/// Waits until an instance says that this keeps it from being open.
async fn says(engine: &Engine<'_>, name: &str, code: &str) -> Value {
    eventually(&format!("instance {name} to say {code}"), || async {
        let said = engine.state(name).await;
        (said["code"] == code).then_some(said)
    })
    .await
}
