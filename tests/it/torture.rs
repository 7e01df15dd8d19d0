//! Rounds of torture: twenty instances talk both ways while their engine is killed, suspended, stopped and starved of its database and
//! its network at random moments, and what it stands on is killed too. At the end the books have to balance, and nobody has scanned again.
//!
//! `cargo xtask torture --rounds N --seed S [--postgres]` runs many; the suite runs a few.

pub(crate) mod books;
mod fleet;
mod places;
pub(crate) mod plan;
pub(crate) mod talk;

use std::sync::Arc;
use std::time::Duration;

use holdfast::ports::clock::Clock;
use holdfast_sim::{Options, Simulator};

use self::books::Books;
use self::fleet::Fleet;
use self::places::Places;
use self::plan::{Dice, Round};
use crate::harness::engine::Home;
use crate::harness::receiver::Receiver;

const ROUNDS: u32 = 4;
const SEED: u64 = 3;

/// Shorter than the defaults, so that a round does not consist of waiting; long enough for a machine that is busy with other tests.
const SETTINGS: &[(&str, &str)] = &[
    ("STORE_GRACE_SECONDS", "3"),
    ("CONNECT_TIMEOUT_SECONDS", "5"),
    ("HEALTH_PING_TIMEOUT_SECONDS", "4"),
    ("RUST_LOG", "warn,holdfast=info"),
];

#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_torture_lose_no_message_and_use_no_key_twice() {
    let rounds = asked("HOLDFAST_TORTURE_ROUNDS").map_or(ROUNDS, |rounds| rounds as u32);
    let seed = asked("HOLDFAST_TORTURE_SEED").unwrap_or(SEED);
    println!("{rounds} rounds, seed {seed}");

    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let places = Places::new(asked("HOLDFAST_TORTURE_POSTGRES").is_some()).await;
    let home = SETTINGS.iter().fold(Home::new(sim.ws_url()), |home, (name, value)| home.set(name, value));
    let home = places.under(home);
    let books = Arc::new(Books::default());
    let mut fleet = Fleet::paired(&sim, (&home, &places), &receiver, &books, seed).await;
    let (mut dice, clock) = (Dice::new(seed), Clock::start());
    for number in 1..=rounds {
        let round = Round::roll(&mut dice, places.has_server());
        let recovered = fleet.survive(&round, number).await;
        books.update(&sim, &receiver);
        let at = clock.wall().format("%H:%M:%S");
        println!("{at} round {number}: {round}; all open again after {:.1} s", recovered.as_secs_f64());
    }
    fleet.come_to_rest().await;
    books.balance(&sim, &receiver, Duration::from_secs(90)).await;
    let result = books.result(&sim);
    let gone = home.log().matches("is gone; the phone is asked for it").count();
    println!("\n{result}\nasked the phone for, as gone       {gone:>6}");
    if !result.is_good() {
        for line in result.traces(&sim) {
            println!("{line}");
        }
        drop(fleet);
        println!("the engine's home is kept in {}", home.keep().display());
    }
    assert!(result.is_good(), "seed {seed}: the books do not balance");
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}
