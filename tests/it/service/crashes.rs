//! Instances that crash in a loop, and how long the commands of another one take meanwhile.

use std::convert::Infallible;
use std::time::Duration;

use holdfast_sim::{Options, Simulator};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::client::Answer;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";

/// `cargo xtask drill crashes` lets fifty crash, and asks more often. The times are printed and not judged here: they depend on what else the
/// machine does.
#[tokio::test(flavor = "multi_thread")]
async fn s27_while_instances_crash_in_a_loop_the_commands_of_another_are_answered() {
    let number = |name: &str, usual: usize| std::env::var(name).map_or(usual, |number| number.parse().unwrap());
    let (instances, rounds) = (number("HOLDFAST_INSTANCES", 6), number("HOLDFAST_ROUNDS", 10));
    let sim = Simulator::start(Options::default()).await.unwrap();
    // With the waits after crashes that users get.
    let home =
        Home::new(sim.ws_url()).set("RUST_LOG", "info").unset("RECONNECT_BASE_MS").unset("RECONNECT_MAX_SECONDS");
    let engine = home.start().await;
    engine.pair(&sim, "quiet", SHOP, None).await;
    // The first of each kind fill what is kept for later ones.
    measure(&engine, &sim, 3).await;
    let without = measure(&engine, &sim, rounds).await;

    // Whoever is started from here on panics at once. The quiet one runs already, and a restart only replaces its connection.
    home.order("instance.started=panic");
    home.obeyed().await;
    let names: Vec<String> = (0..instances).map(|number| format!("loud{number:02}")).collect();
    for name in &names {
        let body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": false });
        engine.api().post("/instance/create", body).await;
    }
    eventually("a crash of each", || async { (crashes(&home) >= instances).then_some(()) }).await;
    let began = crashes(&home);
    let measuring = async {
        let with = measure(&engine, &sim, rounds).await;
        eventually("another crash of each", || async { (crashes(&home) >= began + instances).then_some(()) }).await;
        with
    };
    let with = tokio::select! {
        with = measuring => with,
        never = restart_for_ever(&engine, &names) => match never {},
    };
    let crashed = crashes(&home) - began;

    let mut worst: f64 = 0.0;
    for (kind, (calm, busy)) in KINDS.iter().zip(without.iter().zip(&with)) {
        let ratio = busy.p99().as_secs_f64() / calm.p99().as_secs_f64();
        worst = worst.max(ratio);
        let [(p50, p50_then), (p99, p99_then)] = [(calm.p50(), busy.p50()), (calm.p99(), busy.p99())];
        println!("{kind:16} p50 {p50:>9.1?} -> {p50_then:>9.1?}   p99 {p99:>9.1?} -> {p99_then:>9.1?}   {ratio:.2}");
    }
    println!("{instances} instances crashed {crashed} times beside {rounds} rounds; the worst ratio is {worst:.2}");
    // A few rounds have no hundredth.
    assert!(rounds < 100 || worst <= 2.0, "commands of the others take {worst:.2} times as long");

    // It was left alone: each of its logins was asked for.
    let logins = sim.counters(Some(SHOP)).unwrap().tally.logins;
    assert_eq!(logins, 1 + 3 + 2 * rounds as u64, "no login but those of its restarts");
    engine.reaches("quiet", "open").await;
    assert!(!sim.counters(None).unwrap().tally.overlapped);
}

/// What is measured, in this order.
const KINDS: [&str; 4] = ["connectionState", "sendText", "connect", "restart"];

/// How long the commands of one kind took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, share: f64) -> Duration {
        let mut times = self.0.clone();
        times.sort();
        times[((times.len() - 1) as f64 * share).round() as usize]
    }

    fn p50(&self) -> Duration {
        self.at(0.5)
    }

    fn p99(&self) -> Duration {
        self.at(0.99)
    }

    #[expect(clippy::disallowed_methods, reason = "what is measured, and no decision depends on")]
    async fn take(&mut self, asking: impl Future<Output = Answer>) {
        let asked = Instant::now();
        let answer = asking.await;
        self.0.push(asked.elapsed());
        answer.good();
    }
}

async fn measure(engine: &Engine<'_>, sim: &Simulator, rounds: usize) -> [Times; 4] {
    let mut times: [Times; 4] = Default::default();
    let api = engine.api();
    let logins = || sim.counters(Some(SHOP)).expect("the counters").tally.logins;
    for _ in 0..rounds {
        times[0].take(api.get("/instance/connectionState/quiet")).await;
        times[1].take(api.post("/message/sendText/quiet", json!({ "number": ANA, "text": "hello" }))).await;
        times[2].take(api.get("/instance/connect/quiet")).await;
        let before = logins();
        times[3].take(api.post("/instance/restart/quiet", json!({}))).await;
        eventually("a new login", || async {
            (logins() > before && engine.state("quiet").await["state"] == "open").then_some(())
        })
        .await;
    }
    times
}

/// Lets everybody crash again when half of them have crashed too often.
async fn restart_for_ever(engine: &Engine<'_>, names: &[String]) -> Infallible {
    let api = engine.api();
    loop {
        eventually("half of them to be parked", || async {
            let fleet = api.get("/engine/fleet").await.good();
            let parked = fleet["actors"]["quarantined"].as_u64().expect("a number");
            (parked >= names.len() as u64 / 2).then_some(())
        })
        .await;
        for name in names {
            // Its actor crashes before it can answer.
            api.post(&format!("/instance/restart/{name}"), json!({})).await;
        }
    }
}

fn crashes(home: &Home) -> usize {
    let log = home.log();
    log.lines()
        .filter(|line| line.contains("crashed; it is started again") || line.contains("crashed too often"))
        .count()
}
