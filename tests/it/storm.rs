//! A storm of every fault over instances that talk both ways: what each says of itself is compared with what the server knows, all the time.
//!
//! `cargo xtask faults --instances N --minutes N --seed N` raises a big one; the suite a small one.

mod field;
mod panics;
mod plan;
mod report;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use holdfast::ports::clock::Clock;
use holdfast_sim::{Options, Simulator};

use self::field::Field;
use self::report::Report;
use crate::harness::engine::Home;
use crate::harness::receiver::Receiver;
use crate::torture::books::Books;

const INSTANCES: usize = 10;
const TIME: Duration = Duration::from_secs(16);
const SEED: u64 = 5;

/// The bound of detection is the sum of the first two, in seconds.
#[derive(Clone, Copy, Debug)]
struct Timings {
    interval: u64,
    deadline: u64,
    /// The ceiling of every wait before a redial.
    longest_wait: u64,
    /// From the end of the storm until everybody is connected.
    back_within: Duration,
}

/// Those of the suite, so that it does not consist of waiting.
const QUICK: Timings = Timings { interval: 2, deadline: 2, longest_wait: 2, back_within: Duration::from_secs(60) };
/// Those of the command, and what is promised for them.
const WHOLE: Timings = Timings { interval: 5, deadline: 5, longest_wait: 10, back_within: Duration::from_secs(30) };

/// By how much an engine on a loaded machine may read late what was sent before a connection died.
const SLACK: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_every_fault_leaves_no_false_open_no_second_socket_and_no_lost_message() {
    let instances = asked("HOLDFAST_STORM_INSTANCES").map_or(INSTANCES, |number| number as usize);
    let time = asked("HOLDFAST_STORM_SECONDS").map_or(TIME, Duration::from_secs);
    let seed = asked("HOLDFAST_STORM_SEED").unwrap_or(SEED);
    let timings = if asked("HOLDFAST_STORM_SECONDS").is_some() { WHOLE } else { QUICK };
    println!("{instances} instances, {} s, seed {seed}", time.as_secs());

    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let home = [
        ("CONNECT_TIMEOUT_SECONDS", 5),
        ("LOGIN_TIMEOUT_SECONDS", 10),
        ("HEALTH_CHECK_INTERVAL_SECONDS", timings.interval),
        ("HEALTH_PING_TIMEOUT_SECONDS", timings.deadline),
        ("RECONNECT_MAX_SECONDS", timings.longest_wait),
        ("RECONNECT_STABLE_SECONDS", 10),
        // Panics are spread over the instances, but not evenly.
        ("RESTART_INTENSITY", 20),
    ]
    .into_iter()
    .fold(home, |home, (name, value)| home.set(name, &value.to_string()));
    let home = home.set("RECONNECT_BASE_MS", "250").set("RUST_LOG", "warn,holdfast=info");
    let (books, clock) = (Arc::new(Books::default()), Arc::new(Clock::start()));
    let mut field = Field::paired(&sim, &home, &receiver, &books, &clock, instances, seed).await;
    field.weather(&plan::storm(seed, instances, time)).await;
    let back = field.calm(timings.back_within).await;
    let parked = field.parked().await;
    let disagreements = field.disagreements().await;
    field.come_to_rest().await;
    books.balance(&sim, &receiver, Duration::from_secs(60)).await;

    let (mut log, told) = (field.log(), home.log());
    let report = Report {
        unexplained: log.unexplained(panics::told(&told)),
        log,
        bound: Duration::from_secs(timings.interval + timings.deadline),
        back,
        parked,
        disagreements,
        restarts: told.matches(" crashed; it is started again").count(),
        quarantined: told.matches("crashed too often").count(),
        messages: books.result(&sim),
    };
    println!("\n{report}");
    let wrongs = report.wrongs(SLACK);
    if !wrongs.is_empty() {
        report.messages.traces(&sim).iter().for_each(|line| println!("{line}"));
        drop(field);
        println!("the engine's home is kept in {}", home.keep().display());
    }
    assert!(wrongs.is_empty(), "seed {seed}:\n{}", wrongs.join("\n"));
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}
