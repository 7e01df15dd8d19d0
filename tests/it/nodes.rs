//! Rounds of blows on three engines that share one PostgreSQL: one is killed, frozen, cut from the database or told to stop while all
//! instances talk both ways, or all are renewed one after the other. At the end the books have to balance.
//!
//! `cargo xtask drill nodes --rounds N` runs many, with leases of 75 s; the suite runs one of each kind with short ones.

mod plan;
mod record;
mod report;
mod trio;

use std::sync::Arc;
use std::time::Duration;

use holdfast::ports::clock::Clock;
use holdfast_sim::{Options, Simulator};

use self::plan::Plan;
use self::report::Report;
use self::trio::Trio;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;
use crate::torture::books::Books;

const SEED: u64 = 6;

/// How much, and how long leases hold.
#[derive(Clone, Copy, Debug)]
struct Scale {
    instances: usize,
    rounds: u32,
    lease: Duration,
    renewal: Duration,
    /// How long a session may be dark while all nodes are renewed one after the other.
    longest_dark: Duration,
}

/// That of the suite, where other tests want the machine too.
const QUICK: Scale = Scale {
    instances: 6,
    rounds: 5,
    lease: Duration::from_secs(6),
    renewal: Duration::from_secs(2),
    longest_dark: Duration::from_secs(20),
};
/// That of the command, and what is promised. Its lease is made for nodes that may stand still for two minutes.
const WHOLE: Scale = Scale {
    instances: 60,
    rounds: 10,
    lease: Duration::from_secs(75),
    renewal: Duration::from_secs(15),
    longest_dark: Duration::from_secs(10),
};

#[tokio::test(flavor = "multi_thread")]
async fn s40_s41_three_nodes_on_one_database_lose_no_message_use_no_key_twice_and_never_hold_an_instance_twice() {
    let rounds = asked("HOLDFAST_NODE_ROUNDS");
    let scale = rounds.map_or(QUICK, |rounds| Scale { rounds: rounds as u32, ..WHOLE });
    let seed = asked("HOLDFAST_NODE_SEED").unwrap_or(SEED);
    println!("{} rounds, {} instances, seed {seed}", scale.rounds, scale.instances);

    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let server = Server::start().await.unwrap();
    let (books, clock) = (Arc::new(Books::default()), Clock::start());
    let homes = trio::homes(&sim, &server, &scale).await;
    let mut trio = Trio::paired(&sim, &receiver, &server, &homes, &books, scale, seed).await;
    let mut report = Report::default();
    let mut plan = Plan::new(seed, scale.lease);
    for number in 1..=scale.rounds {
        let round = plan.next();
        let finding = trio.survive(&round).await;
        println!("{} round {number}: {round}; {finding}", clock.wall().format("%H:%M:%S"));
        report.add(round.blow.name(), finding);
    }
    trio.come_to_rest().await;
    books.balance(&sim, &receiver, Duration::from_secs(90)).await;
    let messages = books.result(&sim);
    println!("\n{report}\n\n{messages}");
    let mut wrongs = report.wrongs(&scale);
    if !messages.balances() {
        messages.traces(&sim).iter().for_each(|line| println!("{line}"));
        wrongs.push("the books do not balance".to_owned());
    }
    drop(trio);
    if !wrongs.is_empty() {
        for (home, _cable) in homes {
            println!("the home of a node is kept in {}", home.keep().display());
        }
    }
    assert!(wrongs.is_empty(), "seed {seed}:\n{}", wrongs.join("\n"));
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}
